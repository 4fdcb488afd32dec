//! Every message of the table is read as the table says, or refused as it says.

use std::collections::{HashMap, HashSet};

use crate::table::{End, Sender, cases};

#[test]
fn every_message_of_the_table_is_read_or_refused_as_it_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut told = case.told([case.bytes.as_slice()]);
        if matches!(case.sender, Sender::Server(_)) {
            told.iter_mut().filter(|line| line.starts_with("refused ")).for_each(|line| line.truncate(line.len() - 4));
        }
        if told != case.expected {
            wrong.push(format!("{}\n  expected {:#?}\n  and not {told:#?}", case.name, case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_entry_twice_and_enough_that_is_hostile_of_clients_and_of_servers() {
    let all = cases();
    let names: HashSet<_> = all.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), all.len());
    let mut seen: HashMap<_, &str> = HashMap::new();
    let mut hostile = [0, 0];
    for case in &all {
        let is_refused = case.expected.iter().any(|line| line.starts_with("refused "));
        hostile[usize::from(matches!(case.sender, Sender::Server(_)))] += usize::from(is_refused);
        let message = (format!("{:?}", case.sender), &case.bytes, case.end == End::Closed);
        if let Some(before) = seen.insert(message, &case.name) {
            panic!("`{before}` and `{}` are the same message", case.name);
        }
    }
    let [clients, servers] = hostile;
    assert!(clients >= 450 && servers >= 350, "{clients} of clients, {servers} of servers");
}
