//! What is fuzzed: a function over bytes, and what is known about its input.

use crate::signature::Signature;

/// A parser under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: the folder of its seeds and regressions.
    pub name: &'static str,
    /// What it feeds and what it checks, in a sentence.
    pub about: &'static str,
    /// Takes one input. A broken promise is a panic.
    pub run: fn(&[u8]) -> Signature,
    /// Words that mean something to the parser, beside those of the seeds.
    pub words: &'static [&'static str],
    /// Files and folders of seeds beside its corpus, from the root of the tree: other crates' cases.
    pub seeds: &'static [&'static str],
    /// The longest input in bytes that is tried.
    pub longest: usize,
    /// How much one input may make it allocate.
    pub memory: Memory,
}

/// A bound on allocations that is linear in the length of the input: a cost that no busy machine can blur. What the
/// target itself needs for its checks counts too.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes allowed for each byte of the input, all allocations added up, those given back included.
    pub total_per_byte: u64,
    /// Bytes allowed for each byte of the input at one time.
    pub peak_per_byte: u64,
    /// Bytes that are allowed besides, in both.
    pub free: u64,
}

impl Memory {
    /// What is too much, in a sentence.
    pub fn exceeded(&self, length: usize, total: u64, peak: u64) -> Option<String> {
        let allowed = |each: u64| each.saturating_mul(length as u64).saturating_add(self.free);
        let (most_total, most_peak) = (allowed(self.total_per_byte), allowed(self.peak_per_byte));
        if peak > most_peak {
            return Some(format!("{peak} bytes allocated at one time for an input of {length}, {most_peak} allowed"));
        }
        (total > most_total)
            .then(|| format!("{total} bytes allocated in all for an input of {length}, {most_total} allowed"))
    }
}
