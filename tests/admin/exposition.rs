//! A strict reader of the Prometheus text format, version 0.0.4: what it takes, every scraper takes.

use std::collections::{BTreeMap, BTreeSet};

/// One metric: what it is, and its samples.
pub struct Family {
    pub name: String,
    pub kind: String,
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = Vec<(String, String)>;

impl Family {
    /// The names of its labels, `le` of a histogram left out.
    pub fn labels(&self) -> Vec<String> {
        let mut all = self.samples.keys().map(|(_, labels)| {
            labels.iter().map(|(name, _)| name.clone()).filter(|name| name != "le").collect::<Vec<_>>()
        });
        let first = all.next().unwrap_or_else(|| panic!("{} has no sample", self.name));
        assert!(all.all(|other| other == first), "the samples of {} differ in their labels", self.name);
        first
    }

    /// The value of one sample.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// What a histogram promises: its buckets grow, the last has all, and there are sum and count beside them.
    fn check_histogram(&self) {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.samples {
            if *name == format!("{}_bucket", self.name) {
                let (le, others): (Labels, Labels) = labels.iter().cloned().partition(|(name, _)| name == "le");
                let [(_, le)] = &le[..] else { panic!("a bucket of {} without its bound", self.name) };
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().expect("a bound is a number") };
                series.entry(others).or_default().push((bound, *value));
            }
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by_key(|(_, count)| *count), "buckets of {} shrink: {buckets:?}", self.name);
            let (last, all) = buckets[buckets.len() - 1];
            assert_eq!(last, f64::INFINITY, "the last bucket of {} has a bound", self.name);
            let beside = |suffix: &str| self.samples.get(&(format!("{}_{suffix}", self.name), labels.clone()));
            assert_eq!(beside("count"), Some(&all), "{} of {labels:?}", self.name);
            assert!(beside("sum").is_some_and(|sum| sum.is_finite() && *sum >= 0.0), "{} of {labels:?}", self.name);
        }
    }
}

/// Reads all families, and panics at the first line that is not right.
pub fn parse(text: &str) -> Vec<Family> {
    assert!(text.ends_with('\n'), "the last line is ended");
    let mut families: Vec<Family> = Vec::new();
    let mut known = BTreeSet::new();
    let mut helped = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("no words: {line}"));
            assert!(known.insert(name.to_owned()), "{name} comes twice");
            assert!(is_name(name) && !words.trim().is_empty(), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(helped.take().as_deref(), Some(name), "a type stands behind its help: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(
                kind == "counter",
                name.ends_with("_total"),
                "counters, and they alone, end in `_total`: {line}"
            );
            families.push(Family { name: name.into(), kind: kind.into(), samples: BTreeMap::new() });
        } else {
            assert!(helped.is_none(), "a sample between help and type: {line}");
            let family = families.last_mut().unwrap_or_else(|| panic!("a sample before any family: {line}"));
            let (name, labels, value) = sample(line);
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(
                suffixes.iter().any(|suffix| name == format!("{}{suffix}", family.name)),
                "among {}: {line}",
                family.name
            );
            assert!(family.kind == "gauge" || value >= 0.0, "{line}");
            assert!(family.samples.insert((name, labels), value).is_none(), "a sample comes twice: {line}");
        }
    }
    for family in &families {
        if family.kind == "histogram" {
            family.check_histogram();
        }
    }
    families
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, behind) = quoted(behind, line);
            assert!(labels.iter().all(|(known, _)| known != label), "a label comes twice: {line}");
            labels.push((label.to_owned(), value));
            rest = behind;
            match rest.strip_prefix(',') {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("labels do not end: {line}"));
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(value.is_finite(), "{line}");
    (name.to_owned(), labels, value)
}

/// A label's value up to its closing quote, and what comes behind it.
fn quoted<'t>(text: &'t str, line: &str) -> (String, &'t str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => panic!("no such escape: {line}"),
            },
            other => value.push(other),
        }
    }
    panic!("a value does not end: {line}")
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_' || first == b':')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}
