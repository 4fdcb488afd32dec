//! What holds for every input: the cuts do not matter, nothing panics, memory stays within its bound.

use proptest::prelude::*;

use super::*;
use crate::frame::{Opcode, close_payload, masked};

const LIMITS: Limits = Limits { max_frame: 400, max_message: 700 };

type Outcome = (Vec<Message>, Option<Breach>);

/// Feeds the pieces one after the other, checking the bound after each.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut messages) = (Decoder::new(Role::Server, LIMITS), Vec::new());
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(breach) => return (messages, Some(breach)),
            }
        }
        assert!(piece.is_empty(), "all that was given is taken");
        // A vector may grow to twice what it holds, and its first growth takes eight bytes.
        assert!(decoder.held() <= 2 * (LIMITS.max_message + CONTROL_MAX) + 16, "{} bytes held", decoder.held());
    }
    (messages, None)
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        4 => "[a-zäß€😀]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    let start = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    (start, payload, any::<[u8; 4]>()).prop_map(|(start, payload, mask)| {
        let mut frame = masked(Opcode::Text, &payload, mask).to_vec();
        frame[0] = start;
        frame
    })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => prop::collection::vec(frame(), 0..8).prop_map(|frames| frames.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_outcome(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let whole = feed([bytes.as_slice()]);
        prop_assert_eq!(&feed(at.windows(2).map(|cut| &bytes[cut[0]..cut[1]])), &whole);
        prop_assert_eq!(&feed(bytes.chunks(1)), &whole);
    }

    #[test]
    fn what_a_client_builds_is_what_a_server_reads(text in ".{0,200}", mask in any::<[u8; 4]>(), code in 1000_u16..1004) {
        let close = close_payload(Code(code), "done");
        let bytes = [masked(Opcode::Text, text.as_bytes(), mask), masked(Opcode::Binary, text.as_bytes(), mask), masked(Opcode::Close, &close, mask)].concat();
        let expected = if text.len() > LIMITS.max_frame {
            (vec![], Some(Breach::TooBig))
        } else {
            let close = Message::Close(Close { code: Some(Code(code)), reason: Bytes::from_static(b"done") });
            (vec![Message::Text(text.clone().into()), Message::Binary(text.into()), close], None)
        };
        prop_assert_eq!(feed([bytes.as_slice()]), expected);
    }
}
