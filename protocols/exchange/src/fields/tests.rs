//! What a list of fields holds and shows, however it came to be.

use super::*;

fn received(head: &'static str) -> Fields {
    let (mut spans, mut at) = (Spans::new(), 0);
    for line in head.split_inclusive('\n') {
        let colon = line.find(": ").unwrap();
        spans.push(Name::of(&line.as_bytes()[..colon]), at..at + colon, at + colon + 2..at + line.trim_end().len());
        at += line.len();
    }
    Fields::received(head.as_bytes(), spans)
}

fn lines(fields: &Fields) -> Vec<String> {
    fields.iter().map(|(n, v)| format!("{}={}", String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect()
}

/// As a reader of HTTP/1 would note them.
fn lines_of(head: &'static str) -> Fields {
    let mut spans = Spans::new();
    let mut at = 0;
    for line in head.split_inclusive("\r\n") {
        let colon = at + line.find(':').unwrap();
        let end = at + line.trim_end().len();
        let name = Name::of(&head.as_bytes()[at..colon]);
        if line.contains(": ") {
            spans.push_line(name, at..end, colon);
        } else {
            spans.push(name, at..colon, colon + 1..end);
        }
        at += line.len();
    }
    Fields::received(head.as_bytes(), spans)
}

#[test]
fn lines_leave_as_they_came_with_what_was_laid_over_them_in_its_place() {
    let mut fields = lines_of("A: 1\r\nB: 2\r\nVia:3\r\nTE: 4\r\nE: 5\r\n");
    let written = |fields: &Fields, without: &[Name]| {
        let mut out = b"-".to_vec();
        fields.write_lines(&mut out, Names::of(without));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(&fields, &[]), "-A: 1\r\nB: 2\r\nVia: 3\r\nTE: 4\r\nE: 5\r\n");
    assert_eq!(written(&fields, &[Name::Te]), "-A: 1\r\nB: 2\r\nVia: 3\r\nE: 5\r\n");
    fields.set("b", "9").unwrap();
    fields.remove("a");
    fields.add("F", "").unwrap();
    assert_eq!(written(&fields, &[Name::Via]), "-b: 9\r\nTE: 4\r\nE: 5\r\nF: \r\n");
    assert_eq!(written(&Fields::new(), &[]), "-");
}

#[test]
fn fields_are_found_and_removed_by_what_their_names_say() {
    let mut fields = received("Host: a\nX-Forwarded-For: b\nAccept: c\nx_y: d\n");
    fields.add("x-forwarded-host", "e").unwrap();
    assert!(fields.may_hold(Names::of(&[Name::Via, Name::Host])));
    assert!(!fields.may_hold(Names::of(&[Name::Via, Name::Te])));
    assert_eq!(fields.get("X-FORWARDED-HOST"), Some(&b"e"[..]));
    fields.remove_those(Names::of(&[Name::XForwarded, Name::Underscored, Name::Via]));
    assert_eq!(lines(&fields), ["Host=a", "Accept=c"]);
    fields.append(&received("via: f\n"));
    assert!(fields.contains("via") && !fields.contains("x_y"));
}

#[test]
fn a_name_is_found_whatever_its_case() {
    let fields = received("Host: a\nAccept: x\naccept: y\n");
    assert_eq!(fields.get("ACCEPT"), Some(&b"x"[..]));
    assert_eq!(fields.get_all("accept").collect::<Vec<_>>(), [b"x", b"y"]);
    assert_eq!(fields.get("cookie"), None);
}

#[test]
fn edits_lie_over_what_was_received_and_keep_its_order() {
    let mut fields = received("A: 1\nB: 2\na: 3\nC: 4\n");
    fields.set("a", "9").unwrap();
    fields.add("d", "5").unwrap();
    assert_eq!(fields.remove("b"), 1);
    assert_eq!(lines(&fields), ["a=9", "C=4", "d=5"]);
}

#[test]
fn a_list_laid_over_another_takes_the_place_of_its_names() {
    let mut fields = received("A: 1\nB: 2\na: 3\n");
    fields.lay_over(&received("a: 7\nA: 8\n"));
    assert_eq!(lines(&fields), ["B=2", "a=7", "A=8"]);
}

#[test]
fn a_line_break_cannot_be_smuggled_into_a_head() {
    let mut fields = Fields::new();
    assert_eq!(fields.set("a", "1\r\nb: 2"), Err(InvalidField::Value));
    assert_eq!(fields.add("a b", "1"), Err(InvalidField::Name));
    assert_eq!(fields.add("", "1"), Err(InvalidField::Name));
    assert!(fields.is_empty());
}

#[test]
fn a_listed_token_is_found_among_others() {
    let fields = received("Connection: keep-alive, Upgrade\n");
    assert!(fields.lists("connection", "upgrade"));
    assert!(!fields.lists("connection", "close"));
}

#[test]
fn debug_output_hides_values() {
    let fields = received("Authorization: secret\n");
    assert!(!format!("{fields:?}").contains("secret"));
}
