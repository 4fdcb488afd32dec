//! Guesses which known word an unknown one was meant to be.

/// The nearest of `known` that is near enough to be worth a question: within a third of the word's length, and within
/// one change for the shortest.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A name longer than any of ours is not a slip, and the distance costs the product of the lengths.
    let length = word.chars().count();
    if length > 64 {
        return None;
    }
    let allowed = (length / 3).max(1);
    let distances = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    distances.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word the other, case aside (optimal
/// string alignment).
fn distance(from: &str, to: &str) -> usize {
    let letters = |word: &str| word.to_lowercase().chars().collect::<Vec<_>>();
    let (from, to) = (letters(from), letters(to));
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=to.len()).collect();
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["rate_limit", "upstream", "path", "per"];
        for (word, guess) in [
            ("rate_limt", Some("rate_limit")),
            ("rate-limit", Some("rate_limit")),
            ("ratelimit", Some("rate_limit")),
            ("upstraem", Some("upstream")),
            ("Path", Some("path")),
            ("pre", Some("per")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), guess, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
