//! Events as lines that can be read and compared.

use portolan_exchange::{Fields, Version};
use portolan_http1::Event;

/// One line for each event; bytes that came in several pieces are one.
pub fn told(events: &[Event]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for event in events {
        match (event, lines.last_mut()) {
            (Event::Data(bytes), Some(last)) if last.starts_with("data ") => last.push_str(&escaped(bytes)),
            (Event::Tunnel(bytes), Some(last)) if last.starts_with("tunnel ") => last.push_str(&escaped(bytes)),
            _ => lines.push(line(event)),
        }
    }
    lines
}

fn line(event: &Event) -> String {
    match event {
        Event::Request(head) => {
            let host = if head.authority.is_empty() { "nobody" } else { &head.authority };
            let expects = if head.expects_continue { ", expects" } else { "" };
            let upgrade = head.upgrade.as_deref().map(|to| format!(", upgrade {to}")).unwrap_or_default();
            format!(
                "{} {} {} of {host}, {:?}, {:?}{expects}{upgrade} {}",
                head.method,
                head.target.as_str(),
                version(head.version),
                head.framing,
                head.persistence,
                fields(&head.fields)
            )
        }
        Event::Response(head) => format!(
            "{} {}, {:?}, {:?} {}",
            head.status,
            version(head.version),
            head.framing,
            head.persistence,
            fields(&head.fields)
        ),
        Event::Data(data) => format!("data {}", escaped(data)),
        Event::Trailers(trailers) => format!("trailers {}", fields(trailers)),
        Event::End => "end".into(),
        Event::Tunnel(data) => format!("tunnel {}", escaped(data)),
        Event::Refused(refusal) => format!("refused {refusal:?} {}", refusal.status()),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn fields(fields: &Fields) -> String {
    let all: Vec<_> = fields.iter().map(|(name, value)| escaped(name) + ": " + &escaped(value)).collect();
    format!("[{}]", all.join("|"))
}

/// As bytes are written in the table.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}
