//! Changes inputs: blindly, by words that mean something, and along what texts have in common (lines, words, numbers,
//! brackets).

use std::collections::BTreeSet;
use std::ops::Range;

use crate::random::Random;

/// Numbers at the borders of what programs count with.
const NUMBERS: [&str; 34] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "7",
    "10",
    "31",
    "32",
    "63",
    "64",
    "65",
    "100",
    "127",
    "128",
    "255",
    "256",
    "1000",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0.1",
    "1e308",
    "1e400",
    "123456789012345678901234567890.12345678901234567890",
];

/// What texts trip over: bytes that are no UTF-8, characters without width, marks, ends of lines.
const ODDITIES: [&[u8]; 20] = [
    b"\0",
    b"\x7f",
    b"\r",
    b"\r\n",
    b"\t",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\xe2\x80\x8b",
    b"\xcc\x81",
    b"\xf0\x9f\x98\x80",
    b"\\u0000",
    b"\\uD83D",
    b"%00",
    b"%",
];

/// How long an input may become unless it is blown up on purpose: short ones are quick and tell as much.
const ORDINARY: usize = 4 * 1024;

/// Once in so many times an input is blown up to the longest that its target takes.
const BLOWN_UP_ONCE_IN: usize = 300;

/// Changes inputs of one target.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    words: Vec<Vec<u8>>,
    longest: usize,
}

impl Mutator {
    /// A mutator that knows the words of the target and those that stand in its seeds.
    pub fn new<'s>(seed: u64, words: &[&str], seeds: impl Iterator<Item = &'s [u8]>, longest: usize) -> Self {
        /// More would only make each of them rare.
        const MOST_WORDS: usize = 2_000;
        let mut all: BTreeSet<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        for seed in seeds {
            let found = pieces(seed, is_of_word).map(|range| seed[range].to_vec());
            all.extend(found.filter(|word| (2..=40).contains(&word.len())));
        }
        Self { random: Random::new(seed), words: all.into_iter().take(MOST_WORDS).collect(), longest }
    }

    /// A new input, made from those in the pool, the newest of which stand last.
    pub fn next(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.choose(pool).to_vec();
        let changes = 1 + self.random.below(4);
        for _ in 0..changes {
            self.change(&mut input, pool);
        }
        if self.random.once_in(BLOWN_UP_ONCE_IN) {
            self.blow_up(&mut input);
        } else {
            input.truncate(self.longest.min(ORDINARY.max(input.len() / 2)));
        }
        input
    }

    /// An input of the pool: any, or one of the newest, which led somewhere that is hardly explored.
    fn choose<'p>(&mut self, pool: &'p [Vec<u8>]) -> &'p [u8] {
        const NEWEST: usize = 32;
        let newest = &pool[pool.len().saturating_sub(NEWEST)..];
        let from = if self.random.once_in(2) { pool } else { newest };
        self.random.one(from).map_or(&[], Vec::as_slice)
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        match self.random.below(20) {
            0 => self.flip(input),
            1 => self.replace_byte(input),
            2 => self.insert_bytes(input),
            3 | 4 => self.delete(input),
            5 => self.duplicate(input),
            6 => self.cut(input),
            7 | 8 => self.splice(input, pool),
            9 | 10 => self.insert_word(input),
            11 | 12 => self.replace_word(input),
            13 | 14 => self.replace_number(input),
            15 => self.insert_oddity(input),
            16 => self.change_line(input),
            17 => self.swap(input),
            18 => self.change_brackets(input),
            _ => self.nest(input),
        }
    }

    fn flip(&mut self, input: &mut [u8]) {
        let (at, bit) = (self.random.below(input.len()), self.random.below(8));
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn replace_byte(&mut self, input: &mut [u8]) {
        let (at, new) = (self.random.below(input.len()), self.byte());
        if let Some(byte) = input.get_mut(at) {
            *byte = new;
        }
    }

    fn insert_bytes(&mut self, input: &mut Vec<u8>) {
        let bytes: Vec<u8> = (0..1 + self.random.below(4)).map(|_| self.byte()).collect();
        self.insert(input, &bytes);
    }

    /// Any byte, a sign that means something in most languages, or a letter or digit.
    fn byte(&mut self) -> u8 {
        const SIGNS: &[u8] = b"{}[]()<>\"'`:;,.!?=+-*/\\|&#@$%^~_ \n\t\x00\x7d\x7e\x7f\x80\xff";
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let some = match self.random.below(3) {
            0 => return self.random.number().to_le_bytes()[0],
            1 => SIGNS,
            _ => LETTERS,
        };
        *self.random.one(some).expect("there are some")
    }

    fn insert(&mut self, input: &mut Vec<u8>, what: &[u8]) {
        let at = self.random.below(input.len() + 1);
        input.splice(at..at, what.iter().copied());
    }

    fn delete(&mut self, input: &mut Vec<u8>) {
        let range = self.random.range(input.len());
        input.drain(range);
    }

    fn duplicate(&mut self, input: &mut Vec<u8>) {
        let range = self.random.range(input.len());
        let copy = input[range.clone()].repeat(1 + self.random.below(4));
        // Beside itself, or anywhere.
        match self.random.once_in(2) {
            true => drop(input.splice(range.end..range.end, copy)),
            false => self.insert(input, &copy),
        }
    }

    fn cut(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        input.truncate(at);
    }

    fn splice(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let Some(other) = self.random.one(pool) else { return };
        let part = other[self.random.range(other.len())].to_vec();
        match self.random.once_in(2) {
            true => self.insert(input, &part),
            false => {
                let range = self.random.range(input.len());
                input.splice(range, part);
            }
        }
    }

    fn word(&mut self) -> Vec<u8> {
        self.random.one(&self.words).cloned().unwrap_or_default()
    }

    fn insert_word(&mut self, input: &mut Vec<u8>) {
        let word = self.word();
        self.insert(input, &word);
    }

    fn replace_word(&mut self, input: &mut Vec<u8>) {
        let word = self.word();
        self.replace_piece(input, is_of_word, &word);
    }

    fn replace_number(&mut self, input: &mut Vec<u8>) {
        let number = *self.random.one(&NUMBERS).expect("there are numbers");
        self.replace_piece(input, is_of_number, number.as_bytes());
    }

    fn replace_piece(&mut self, input: &mut Vec<u8>, is_of: fn(u8) -> bool, new: &[u8]) {
        // From a random place on, so that not every piece of a long input must be looked at.
        let from = self.random.below(input.len());
        let nth = self.random.below(8);
        let found = pieces(&input[from..], is_of).take(nth + 1).last();
        if let Some(range) = found {
            input.splice(from + range.start..from + range.end, new.iter().copied());
        }
    }

    fn insert_oddity(&mut self, input: &mut Vec<u8>) {
        let oddity = *self.random.one(&ODDITIES).expect("there are oddities");
        self.insert(input, oddity);
    }

    /// Doubles, drops, moves or indents a line.
    fn change_line(&mut self, input: &mut Vec<u8>) {
        let lines: Vec<Range<usize>> = lines(input);
        let (Some(line), Some(other)) = (self.random.one(&lines).cloned(), self.random.one(&lines).cloned()) else {
            return;
        };
        let text = input[line.clone()].to_vec();
        match self.random.below(4) {
            0 => drop(input.drain(line)),
            1 => drop(input.splice(other.start..other.start, text)),
            2 => drop(input.splice(line.start..line.start, *b"  ")),
            _ => {
                let indent = text.iter().take_while(|byte| **byte == b' ').count().min(2);
                input.drain(line.start..line.start + indent);
            }
        }
    }

    fn swap(&mut self, input: &mut Vec<u8>) {
        let (one, other) = (self.random.range(input.len()), self.random.range(input.len()));
        let (first, second) = if one.start <= other.start { (one, other) } else { (other, one) };
        if first.end > second.start {
            return;
        }
        let (left, right) = (input[first.clone()].to_vec(), input[second.clone()].to_vec());
        input.splice(second, left);
        input.splice(first, right);
    }

    /// Doubles or drops what stands between two brackets, or puts it elsewhere.
    fn change_brackets(&mut self, input: &mut Vec<u8>) {
        let Some(range) = self.bracketed(input) else { return };
        let part = input[range.clone()].to_vec();
        match self.random.below(3) {
            0 => drop(input.drain(range)),
            1 => drop(input.splice(range.end..range.end, part)),
            _ => match self.bracketed(input) {
                Some(other) => drop(input.splice(other, part)),
                None => self.insert(input, &part),
            },
        }
    }

    /// A range from an opening bracket to the one that closes it.
    fn bracketed(&mut self, input: &[u8]) -> Option<Range<usize>> {
        let from = self.random.below(input.len());
        let start = from + input[from..].iter().position(|byte| b"{[(".contains(byte))?;
        let mut depth = 0_usize;
        for (at, byte) in input.iter().enumerate().skip(start) {
            match byte {
                b'{' | b'[' | b'(' => depth += 1,
                b'}' | b']' | b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(start..at + 1);
            }
        }
        None
    }

    /// Puts a piece into brackets, often or very often.
    fn nest(&mut self, input: &mut Vec<u8>) {
        const PAIRS: [(&[u8], &[u8]); 7] = [
            (b"[", b"]"),
            (b"{", b"}"),
            (b"(", b")"),
            (b"{\"a\":", b"}"),
            (b"- ", b""),
            (b"{a ", b"}"),
            (b"[[", b"]]"),
        ];
        let (open, close) = *self.random.one(&PAIRS).expect("there are pairs");
        let times = match self.random.below(4) {
            0 => 1 + self.random.below(200),
            _ => 1 + self.random.below(3),
        };
        let range = self.bracketed(input).unwrap_or_else(|| self.random.range(input.len()));
        let inner = input[range.clone()].to_vec();
        input.splice(range, [open.repeat(times), inner, close.repeat(times)].concat());
    }

    /// Repeats a piece until the input is as long as it may be: what grows faster than its input shows here.
    fn blow_up(&mut self, input: &mut Vec<u8>) {
        let range = match self.random.once_in(2) {
            true => self.random.range(input.len()),
            false => lines(input).get(self.random.below(16)).cloned().unwrap_or(0..0),
        };
        if range.is_empty() || input.len() >= self.longest {
            return input.truncate(self.longest);
        }
        let times = (self.longest - input.len()) / range.len();
        let copies = input[range.clone()].repeat(times);
        input.splice(range.end..range.end, copies);
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$' | b'@')
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// The places of the longest runs of bytes that belong together.
fn pieces(input: &[u8], is_of: fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + input[at..].iter().position(|byte| is_of(*byte))?;
        let length = input[start..].iter().position(|byte| !is_of(*byte)).unwrap_or(input.len() - start);
        at = start + length;
        Some(start..at)
    })
}

/// The places of the lines, each with its line feed.
fn lines(input: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    input
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end;
            range
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Vec<Vec<u8>> {
        [&b"{\"a\": [1, 22], \"b\": \"word\"}\n"[..], b"", b"GET /orders/{id}?limit=10\nx: y\n", b"\xff\x00"]
            .map(<[u8]>::to_vec)
            .to_vec()
    }

    fn some(seed: u64, longest: usize) -> Vec<Vec<u8>> {
        let pool = pool();
        let mut mutator = Mutator::new(seed, &["known"], pool.iter().map(Vec::as_slice), longest);
        (0..20_000).map(|_| mutator.next(&pool)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_inputs_again() {
        assert_eq!(some(3, 1_000), some(3, 1_000));
        assert_ne!(some(3, 1_000), some(4, 1_000));
    }

    #[test]
    fn no_input_is_longer_than_the_target_takes_and_some_are_nearly_as_long() {
        let lengths: Vec<usize> = some(5, 20_000).iter().map(Vec::len).collect();
        assert!(lengths.iter().all(|length| *length <= 20_000));
        assert!(lengths.iter().any(|length| *length > 19_000), "inputs are blown up");
    }

    #[test]
    fn words_of_the_target_and_numbers_at_borders_find_their_way_into_inputs() {
        let inputs = some(6, 1_000);
        let has = |word: &[u8]| inputs.iter().any(|input| input.windows(word.len()).any(|part| part == word));
        assert!(has(b"known") && has(b"18446744073709551616") && has(b"[[[[[[[["));
    }

    #[test]
    fn pieces_and_lines_are_found_where_they_stand() {
        assert_eq!(pieces(b"a1, bc", is_of_word).collect::<Vec<_>>(), [0..2, 4..6]);
        assert_eq!(lines(b"a\n\nbc"), [0..2, 2..3, 3..5]);
    }
}
