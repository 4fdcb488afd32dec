//! Keys and tokens of an issuer that shares no code with us.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{NOW, setup, with_token};
use crate::kit::{FakeUpstream, foreign_part};

#[test]
fn tokens_and_keys_of_a_foreign_issuer_are_understood() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identity/issuer.py");
    let mut command = Command::new(foreign_part("PORTOLAN_TEST_PYTHON"));
    let output = command.arg(script).arg(NOW.to_string()).output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let issued: Value = serde_json::from_slice(&output.stdout).unwrap();

    let upstream = FakeUpstream::echo();
    // Its third key is of a kind that is passed over.
    let gateway = setup(&upstream, "").file("keys.json", &issued["keys"].to_string()).start();
    let good = issued["good"].as_array().unwrap();
    for token in good {
        with_token(&gateway, token.as_str().unwrap()).assert_status(200);
    }
    assert_eq!((good.len(), upstream.count()), (5, 5));
    for (reason, token) in issued["bad"].as_object().unwrap() {
        let code = if reason == "token_expired" { "credentials_expired" } else { "credentials_invalid" };
        let problem = with_token(&gateway, token.as_str().unwrap()).assert_problem(401, code);
        assert_eq!(problem["reason"], *reason);
    }
    let problem = with_token(&gateway, issued["pss"].as_str().unwrap()).assert_problem(401, "credentials_invalid");
    assert_eq!(problem["reason"], "algorithm_not_allowed");
}
