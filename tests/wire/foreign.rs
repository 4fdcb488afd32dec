//! Between parties that are not ours: curl and Python's client before the gateway, nginx behind it.

use serde_json::{Value, json};

use super::{pattern, plain};
use crate::kit::foreign::{PythonClient, curl};
use crate::kit::nginx::Nginx;
use crate::kit::{FaultProxy, TestGateway, Way};

/// What nginx serves here.
const LOCATIONS: &str = "
    location /made { return 201 made; }
    location /empty { return 204; }
    location /moved { return 302 /elsewhere; }
    location /up { dav_methods PUT; client_max_body_size 64m; }
    location /small-only { client_max_body_size 1k; dav_methods PUT; }
    location /chunks { gzip on; gzip_types text/plain; default_type text/plain; gzip_min_length 1; }
    location /closing { keepalive_timeout 0; return 200 closing; }
";

/// nginx with some files, and a gateway before it.
fn before_nginx() -> (Nginx, TestGateway) {
    let nginx = Nginx::start(LOCATIONS);
    nginx.file("small", "a small file\n");
    nginx.file("chunks", "text that is easy to compress ".repeat(1_000));
    nginx.file("large", large());
    let gateway = plain(&nginx.url());
    (nginx, gateway)
}

fn large() -> Vec<u8> {
    pattern(8 << 20)
}

/// The same request by curl, straight to nginx and through the gateway.
fn both_ways(nginx: &Nginx, gateway: &TestGateway, path: &str, arguments: &[&str]) -> [Vec<u8>; 2] {
    [nginx.address(), gateway.address()].map(|address| {
        let url = format!("http://{address}{path}");
        let said = curl(&[arguments, &[&url]].concat());
        assert_eq!(said.code, Some(0), "{path}: {}", said.stderr);
        said.stdout
    })
}

#[test]
fn curl_gets_through_the_gateway_what_it_gets_from_nginx() {
    let (nginx, gateway) = before_nginx();
    let status = ["--output", "/dev/null", "--write-out", "%{http_code} %{size_download} %{redirect_url}"];
    for (path, arguments) in [
        ("/small", &[][..]),
        ("/large", &[]),
        ("/made", &[]),
        ("/chunks", &["--compressed"]),
        ("/large", &["--range", "1000000-1000099"]),
        ("/small", &["--http1.0"]),
        (
            "/small",
            &["--head", "--output", "/dev/null", "--write-out", "%{http_code} %header{content-length} %header{etag}"],
        ),
        ("/empty", &status[..]),
        ("/missing", &status),
        ("/closing", &status),
    ] {
        let [direct, through] = both_ways(&nginx, &gateway, path, arguments);
        assert!(direct == through, "{path} {arguments:?}: {} bytes, not {}", through.len(), direct.len());
    }
}

#[test]
fn curl_uploads_with_a_length_and_in_chunks_asking_first_and_not() {
    let (nginx, gateway) = before_nginx();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, large()).unwrap();
    let file = file.to_str().unwrap();
    let url = format!("http://{}/up", gateway.address());
    for arguments in [
        &["--header", "expect:"][..],
        &["--header", "expect: 100-continue"],
        &["--header", "transfer-encoding: chunked"],
        &["--header", "transfer-encoding: chunked", "--header", "expect: 100-continue"],
    ] {
        nginx.file("up", "");
        let status = ["--output", "/dev/null", "--write-out", "%{http_code}", "--upload-file", file, &url];
        assert_eq!(curl(&[arguments, &status].concat()).text(), "204", "{arguments:?}");
        assert!(nginx.read("up") == large(), "{arguments:?}: {} bytes arrived", nginx.read("up").len());
    }
}

#[test]
fn curl_keeps_its_connection_over_answers_of_all_kinds() {
    let (_nginx, gateway) = before_nginx();
    let base = format!("http://{}", gateway.address());
    let urls = ["/small", "/empty", "/made", "/chunks", "/missing", "/moved", "/closing", "/small"]
        .map(|path| base.clone() + path);
    let mut arguments = vec!["--write-out", "%{http_code}:%{num_connects}\n"];
    for url in &urls {
        arguments.extend(["--output", "/dev/null", url]);
    }
    assert_eq!(curl(&arguments).text(), "200:1\n204:0\n201:0\n200:0\n404:0\n302:0\n200:0\n200:0\n");
}

#[test]
fn what_nginx_refuses_before_it_has_read_it_is_told_to_curl() {
    let (_nginx, gateway) = before_nginx();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, large()).unwrap();
    let url = format!("http://{}/small-only", gateway.address());
    // curl asks first, so that the refusal comes before the body.
    let arguments =
        ["--output", "/dev/null", "--write-out", "%{http_code}", "--header", "expect: 100-continue", "--upload-file"];
    let said = curl(&[&arguments[..], &[file.to_str().unwrap(), &url]].concat());
    assert_eq!(String::from_utf8_lossy(&said.stdout), "413", "{said:?}");
}

#[test]
fn pythons_client_speaks_on_one_connection() {
    let (nginx, gateway) = before_nginx();
    let mut client = PythonClient::connect(gateway.address());
    let told = |answer: &Value| json!([answer["status"], answer["body"], answer["new_connection"]]);
    let small = client.ask(json!({ "method": "GET", "target": "/small" }));
    assert_eq!(told(&small), json!([200, "a small file\n", true]));
    let head = client.ask(json!({ "method": "HEAD", "target": "/small" }));
    assert_eq!(told(&head), json!([200, "", false]));
    let chunks = client.ask(json!({ "method": "GET", "target": "/chunks" }));
    assert_eq!(told(&chunks), json!([200, "text that is easy to compress ".repeat(1_000), false]));
    for (request, whole) in [
        (json!({ "method": "PUT", "target": "/up", "body": "with a length" }), "with a length"),
        (json!({ "method": "PUT", "target": "/up", "chunks": ["in ", "chunks"] }), "in chunks"),
        (json!({ "method": "PUT", "target": "/up", "chunks": [] }), ""),
    ] {
        let status = client.ask(request)["status"].take();
        assert!(status == 201 || status == 204, "{status}");
        assert_eq!(nginx.read("up"), whole.as_bytes());
    }
    assert_eq!(told(&client.ask(json!({ "method": "GET", "target": "/empty" }))), json!([204, "", false]));
}

#[test]
fn a_shaky_way_to_nginx_changes_nothing_but_the_time() {
    let nginx = Nginx::start(LOCATIONS);
    nginx.file("large", large());
    let proxy = FaultProxy::to(nginx.address());
    let gateway = plain(&proxy.url());
    proxy.hold(Way::Back);
    let pending = gateway.call("GET", "/large").start();
    // Drop by drop at first, then in pieces that fall on no border.
    let mut allowed = 0;
    for piece in (0..64).map(|_| 7).chain((0..64).map(|at| 1_009 * at)) {
        allowed += piece;
        proxy.allow(Way::Back, piece);
        proxy.wait_for_passed(Way::Back, allowed);
    }
    proxy.pass(Way::Back);
    let answer = pending.answer().assert_status(200);
    assert!(answer.body == large(), "{} bytes came", answer.body.len());
}
