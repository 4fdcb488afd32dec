//! Every message of the table is read as the table says, or refused as it says.

use std::collections::HashSet;

use crate::table::{Sender, cases};

#[test]
fn every_message_of_the_table_is_read_or_refused_as_it_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut told = case.told([case.bytes.as_slice()]);
        if matches!(case.sender, Sender::Server(_)) {
            // What a refused response is answered with is not decided by how it was refused.
            told.iter_mut().filter(|line| line.starts_with("refused ")).for_each(|line| line.truncate(line.len() - 4));
        }
        if told != case.expected {
            wrong.push(format!("{}\n  expected {:#?}\n  and not {told:#?}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_names_of_its_own_and_enough_that_is_hostile() {
    let all = cases();
    let names: HashSet<_> = all.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), all.len());
    let refused = all.iter().filter(|case| case.expected.iter().any(|line| line.starts_with("refused "))).count();
    assert!(refused >= 300, "{refused} of {} are refused", all.len());
}
