//! Defects planted on purpose, by which the tests of this crate see that the fuzzer finds what it is to find. `run` never
//! takes them unless they are named.

use crate::signature::Signature;
use crate::target::Target;

use super::linear;

/// The planted defects.
pub(super) const ALL: &[Target] = &[PANIC, TOWER, LOOP, HOARD];

/// Blind chance would need some 2^40 inputs: only one that keeps what is new gets there.
const PANIC: Target = Target {
    name: "planted-panic",
    about: "panics behind five steps, each of which shows in the signature",
    run: |input| {
        const SECRET: &[u8] = b"north";
        let right = input.iter().zip(SECRET).take_while(|(byte, secret)| byte == secret).count();
        assert!(right < SECRET.len(), "planted");
        Signature::of("north").size("right", 1 << right)
    },
    words: &[],
    seeds: &[],
    longest: 64,
    memory: linear(64),
};

const TOWER: Target = Target {
    name: "planted-tower",
    about: "goes one call deeper for each opening bracket, without an end",
    run: |input| Signature::of("tower").size("height", climb(input)),
    words: &[],
    seeds: &[],
    longest: 64 * 1024,
    memory: linear(64),
};

fn climb(input: &[u8]) -> usize {
    // A frame as large as that of a real parser.
    let frame = std::hint::black_box([0_u8; 1024]);
    match input {
        [b'[', rest @ ..] => climb(rest) + 1 + usize::from(frame[input.len() % 1024]),
        [_, rest @ ..] if rest.contains(&b'[') => {
            climb(&rest[rest.iter().position(|byte| *byte == b'[').unwrap_or(0)..])
        }
        _ => 0,
    }
}

const LOOP: Target = Target {
    name: "planted-loop",
    about: "never ends once an input holds a certain word",
    run: |input| {
        while std::hint::black_box(input).windows(4).any(|word| word == b"spin") {}
        Signature::of("ended")
    },
    words: &["spin"],
    seeds: &[],
    longest: 64,
    memory: linear(64),
};

const HOARD: Target = Target {
    name: "planted-hoard",
    about: "takes memory by the square of its input",
    run: |input| {
        let hoard: Vec<Vec<u8>> = input.iter().map(|_| input.to_vec()).collect();
        Signature::of("hoarded").size("bytes", hoard.len())
    },
    words: &[],
    seeds: &[],
    // Whose square is still little to the machine.
    longest: 4 * 1024,
    memory: linear(64),
};
