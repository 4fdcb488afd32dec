//! It makes no difference in how many pieces a message arrives.

use proptest::prelude::*;

use crate::table::{Case, cases};

/// Longer ones are cut at some places only: all would take the square of their length.
const ALL_CUTS: usize = 400;

fn cut_in_two(case: &Case) -> impl Iterator<Item = usize> + use<> {
    let length = case.bytes.len();
    // Around the bounds of lines and heads, and at a few places between.
    let near = |place: usize| place.saturating_sub(8)..place + 8;
    let places: Vec<usize> = if length <= ALL_CUTS {
        (0..=length).collect()
    } else {
        let bounds = [0, 256, 8192, 16384, 32768, length];
        bounds.into_iter().flat_map(near).chain((0..length).step_by(length / 24)).collect()
    };
    places.into_iter().filter(move |place| *place <= length)
}

#[test]
fn every_cut_of_a_message_of_the_table_gives_the_same() {
    for case in cases() {
        let whole = case.told([case.bytes.as_slice()]);
        for place in cut_in_two(&case) {
            let (first, second) = case.bytes.split_at(place);
            assert_eq!(case.told([first, second]), whole, "{}, cut at {place}", case.name);
        }
    }
}

#[test]
fn a_message_of_the_table_that_arrives_byte_by_byte_gives_the_same() {
    for case in cases() {
        let whole = case.told([case.bytes.as_slice()]);
        assert_eq!(case.told(case.bytes.chunks(1)), whole, "{}", case.name);
    }
}

fn arbitrary_bytes() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&str; 24] = [
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.0\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 \r\n",
        "Host: a\r\n",
        "\r\n",
        "\r",
        "\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "0\r\n",
        "3\r\nabc\r\n",
        "a",
        ": ",
        " ",
        "\t",
        ";a=\"b\"",
        "abc",
        "\0",
        "é",
        "Expect: 100-continue\r\n",
        "HTTP/1.1",
        "http://a",
    ];
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..14).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_the_same_however_they_are_cut(bytes in arbitrary_bytes(), server: bool, mut cuts: Vec<prop::sample::Index>) {
        let sender = if server { crate::table::sender("get head upgrade get") } else { crate::table::sender("trace") };
        let case = Case { name: String::new(), sender, bytes, end: crate::table::End::Closed, expected: Vec::new() };
        let whole = case.told([case.bytes.as_slice()]);
        prop_assert_eq!(&case.told(case.bytes.chunks(1)), &whole);
        cuts.truncate(5);
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(case.bytes.len() + 1)).collect();
        places.extend([0, case.bytes.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &case.bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&case.told(pieces), &whole);
    }
}
