//! References to the environment in a text: `${env:NAME}` and `${env:NAME:-default}`.

use std::borrow::Cow;

/// How an environment is asked.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What stands for the signs of a reference while YAML is parsed, so that `{ hash: ${env:HASH} }` is one mapping with
/// one text in it. Unicode keeps these characters from ever having a meaning; each stands for one, so columns hold.
const VEILS: [(char, char); 5] =
    [('{', '\u{fdd0}'), ('}', '\u{fdd1}'), (',', '\u{fdd2}'), ('[', '\u{fdd3}'), (']', '\u{fdd4}')];

/// Veils every reference in a text.
pub(crate) fn veil(text: &str) -> Cow<'_, str> {
    if !text.contains("${") {
        return Cow::Borrowed(text);
    }
    let mut veiled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((at, length)) = find(rest) {
        veiled.push_str(&rest[..at]);
        veiled.extend(rest[at..at + length].chars().map(|c| swap(c, |(plain, veil)| (plain, veil))));
        rest = &rest[at + length..];
    }
    veiled.push_str(rest);
    Cow::Owned(veiled)
}

/// Takes the veils off again.
pub(crate) fn unveil(text: &str) -> String {
    text.chars().map(|c| swap(c, |(plain, veil)| (veil, plain))).collect()
}

fn swap(c: char, direction: impl Fn((char, char)) -> (char, char)) -> char {
    VEILS.iter().map(|&pair| direction(pair)).find(|&(from, _)| from == c).map_or(c, |(_, to)| to)
}

/// Where the first reference begins and how many bytes it has; it ends in its line.
fn find(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let end = text[at..].find(['}', '\n'])?;
        if text.as_bytes()[at + end] == b'}' {
            return Some((at, end + 1));
        }
        // Nothing that begins on this line is closed on it: looking at each would take the square of its length.
        from = at + end + 1;
    }
    None
}

/// Puts values in place of references. `$${` is a literal `${`.
///
/// # Errors
/// A sentence and a hint for each reference that has no value or no sense.
pub(crate) fn substitute<'t>(text: &'t str, env: &Env<'_>) -> Result<Cow<'t, str>, Vec<(String, String)>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut result = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = after;
            continue;
        }
        result.push_str(before);
        let Some((body, after)) = after.split_once('}') else {
            problems.push(("`${` is never closed".to_owned(), "write `$${` for the signs themselves".to_owned()));
            rest = "";
            break;
        };
        match value(body, env) {
            Ok(value) => result.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = after;
    }
    result.push_str(rest);
    if problems.is_empty() { Ok(Cow::Owned(result)) } else { Err(problems) }
}

fn value(body: &str, env: &Env<'_>) -> Result<String, (String, String)> {
    let Some(reference) = body.strip_prefix("env:") else {
        let sentence = format!("`${{{body}}}` refers to nothing known");
        return Err((
            sentence,
            "write `${env:NAME}` or `${env:NAME:-default}`, and `$${` for the signs themselves".into(),
        ));
    };
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err((format!("`{name}` cannot be the name of a variable"), "letters, digits and `_`".into()));
    }
    match (env(name), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment has no variable `{name}`"),
            format!("set it, or give a default: `${{env:{name}:-…}}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_closed_on_its_line_is_no_reference() {
        assert_eq!(find("${ab}c"), Some((0, 5)));
        assert_eq!(find("${a${b\nx ${c}"), Some((9, 4)));
        assert_eq!(find("${a"), None);
        // A megabyte of beginnings is looked at once, not half a billion times.
        assert_eq!(find(&"${".repeat(500_000)), None);
    }

    fn env(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn references_are_replaced_wherever_they_stand() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${env:HOME}/x/${env:NONE:-a:b}", "/root/x/a:b"),
            ("${env:NONE:-}", ""),
            ("$${env:HOME} $5 $", "${env:HOME} $5 $"),
        ] {
            assert_eq!(substitute(text, &env).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn every_reference_without_value_or_sense_is_told() {
        let problems = substitute("${env:NONE} ${file:x} ${env:a-b} ${env:HOME", &env).unwrap_err();
        let sentences: Vec<_> = problems.iter().map(|(sentence, _)| sentence.as_str()).collect();
        assert_eq!(
            sentences,
            [
                "the environment has no variable `NONE`",
                "`${file:x}` refers to nothing known",
                "`a-b` cannot be the name of a variable",
                "`${` is never closed",
            ]
        );
    }

    #[test]
    fn a_veil_keeps_the_length_in_characters_and_comes_off_again() {
        let text = "keys: [ { hash: ${env:A:-x,[y]} } ] # ${ open\n$ { }\n";
        let veiled = veil(text);
        assert_eq!(veiled.chars().count(), text.chars().count());
        assert!(veiled.contains("hash: $\u{fdd0}env:A:-x\u{fdd2}\u{fdd3}y\u{fdd4}\u{fdd1} }"));
        assert_eq!(unveil(&veiled), text);
    }
}
