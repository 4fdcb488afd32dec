//! What callers are told of their limits: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and the
//! older `X-RateLimit-*` of the limit that has least left, its reset in seconds from now.

use std::ops::Range;

use portolan_config::snapshot::RateLimit;
use portolan_exchange::Fields;
use portolan_exchange::limits::Level;

use super::whole_seconds;

/// What is told of one limit, but for the numbers that change.
pub(super) struct Told {
    /// Its item in the list of `RateLimit`, behind another one and up to the first number: `, "default";r=`.
    item: Box<[u8]>,
    /// The line about its number, and what goes before and behind it where this limit has least left.
    limit: Box<[u8]>,
}

/// What is told of all the limits that an exchange is held to before the first number that changes: the line of
/// `RateLimit-Policy`, and that of `RateLimit` up to there.
pub(super) struct Beginning {
    text: Box<[u8]>,
    policy: Range<usize>,
    /// Where the list of `RateLimit` begins.
    list: usize,
    /// Room for all lines, with numbers of any length.
    room: usize,
}

const POLICY: &str = "ratelimit-policy";
const STATE: &str = "ratelimit";
const LIMIT: &str = "x-ratelimit-limit";
const REMAINING: &str = "x-ratelimit-remaining";
const RESET: &str = "x-ratelimit-reset";

/// Between a name and a value, and between two fields.
const COLON: &str = ": ";
const END: &str = "\r\n";

/// Between what is left of a limit and when it is full again.
const BETWEEN_NUMBERS: &str = ";t=";

/// Before the last number.
const BEFORE_RESET: &str = "\r\nx-ratelimit-reset: ";

/// The digits of the longest number.
const LONGEST: usize = 20;

impl Told {
    /// Of this limit. Names are made of letters, digits and `-_.`, so nothing is escaped (RFC 9651, section 3.3.3).
    pub(super) fn of(settings: &RateLimit) -> Self {
        let RateLimit { name, limit, .. } = settings;
        Self {
            item: format!(", \"{name}\";r=").into_bytes().into(),
            limit: format!("{END}{LIMIT}{COLON}{limit}{END}{REMAINING}{COLON}").into_bytes().into(),
        }
    }

    /// Where its number stands in what goes before and behind it.
    fn most(&self) -> Range<usize> {
        END.len() + LIMIT.len() + COLON.len()..self.limit.len() - COLON.len() - REMAINING.len() - END.len()
    }
}

impl Beginning {
    /// Of these limits, in the order in which they are told.
    pub(super) fn of<'a>(limits: impl Iterator<Item = (&'a RateLimit, &'a Told)>) -> Self {
        let mut text = format!("{POLICY}{COLON}");
        let from = text.len();
        let (mut first, mut room) = (String::new(), 0);
        for (settings, told) in limits {
            if text.len() > from {
                text.push_str(", ");
            } else {
                first = format!("\"{}\";r=", settings.name);
            }
            let RateLimit { name, limit, every, .. } = settings;
            text.push_str(&format!("\"{name}\";q={limit};w={}", whole_seconds(*every).max(1)));
            room += told.item.len() + told.limit.len() + BETWEEN_NUMBERS.len() + 2 * LONGEST;
        }
        let policy = from..text.len();
        text.push_str(&format!("{END}{STATE}{COLON}"));
        let list = text.len();
        text.push_str(&first);
        room += text.len() + BEFORE_RESET.len() + 2 * LONGEST + END.len();
        Self { text: text.into_bytes().into(), policy, list, room }
    }

    /// Tells the caller how it stands with these limits: there is one at least.
    pub(super) fn tell<'a>(&self, fields: &mut Fields, limits: impl Iterator<Item = (&'a Told, &'a Level)>) {
        fields.push_lines(self.room, |text| {
            let at = text.len();
            text.extend_from_slice(&self.text);
            let begin = text.len();
            let mut tightest: Option<(_, u64, _, _)> = None;
            for (told, level) in limits {
                if text.len() > begin {
                    text.extend_from_slice(&told.item);
                }
                let remaining = number(text, level.remaining);
                text.extend_from_slice(BETWEEN_NUMBERS.as_bytes());
                let reset = number(text, whole_seconds(level.reset));
                if tightest.as_ref().is_none_or(|(_, least, ..)| level.remaining < *least) {
                    tightest = Some((told, level.remaining, remaining, reset));
                }
            }
            let (told, _, remaining, reset) = tightest.expect("there is a limit, and its level");
            let limit = text.len();
            text.extend_from_slice(&told.limit);
            let remaining = again(text, remaining);
            text.extend_from_slice(BEFORE_RESET.as_bytes());
            let reset = again(text, reset);
            text.extend_from_slice(END.as_bytes());
            let most = told.most();
            [
                place(POLICY, at + self.policy.start..at + self.policy.end),
                place(STATE, at + self.list..limit),
                place(LIMIT, limit + most.start..limit + most.end),
                place(REMAINING, remaining),
                place(RESET, reset),
            ]
        });
    }
}

/// Where a field's name stands whose value stands there, and the value.
fn place(name: &str, value: Range<usize>) -> (Range<usize>, Range<usize>) {
    let end = value.start - COLON.len();
    (end - name.len()..end, value)
}

/// Adds a number; where it stands.
fn number(text: &mut Vec<u8>, number: u64) -> Range<usize> {
    let from = text.len();
    match u8::try_from(number) {
        // As the time of a reset often is.
        Ok(digit @ ..10) => text.push(b'0' + digit),
        _ => text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
    from..text.len()
}

/// Adds what stands there once more; where it stands now.
fn again(text: &mut Vec<u8>, there: Range<usize>) -> Range<usize> {
    let from = text.len();
    text.extend_from_within(there);
    from..text.len()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_config::snapshot::{Counts, Per};
    use portolan_exchange::fields::Names;

    use super::*;

    #[test]
    fn all_limits_are_told_and_the_one_with_least_left_once_more() {
        let limit = |name: &str, limit, every| RateLimit {
            name: name.into(),
            per: Per::Consumer,
            counts: Counts::Requests,
            limit,
            every: Duration::from_millis(every),
            burst: limit,
            weight: 1,
        };
        let limits = [limit("default", 1_000, 60_000), limit("by-cost", 5, 1_500), limit("last", 7, 10)];
        let told = limits.each_ref().map(Told::of);
        let beginning = Beginning::of(limits.iter().zip(&told));
        let level = |remaining, reset| Level { remaining, reset: Duration::from_millis(reset) };
        let lines = |levels: [Level; 3]| {
            let mut fields = Fields::new();
            fields.push(b"vary", b"Origin");
            beginning.tell(&mut fields, told.iter().zip(&levels));
            let mut text = Vec::new();
            fields.write_lines(&mut text, Names::NONE);
            assert_eq!(fields.len(), 6);
            assert_eq!(
                fields.get_str("x-ratelimit-remaining"),
                Some(&*levels.map(|level| level.remaining).into_iter().min().unwrap().to_string())
            );
            String::from_utf8(text).unwrap()
        };
        let policy = "\"default\";q=1000;w=60, \"by-cost\";q=5;w=2, \"last\";q=7;w=1";
        assert_eq!(
            lines([level(999, 60), level(3, 900), level(3, 0)]),
            format!(
                "vary: Origin\r\nratelimit-policy: {policy}\r\n\
                 ratelimit: \"default\";r=999;t=1, \"by-cost\";r=3;t=1, \"last\";r=3;t=0\r\n\
                 x-ratelimit-limit: 5\r\nx-ratelimit-remaining: 3\r\nx-ratelimit-reset: 1\r\n"
            )
        );
        let huge = level(u64::MAX, 0);
        assert!(lines([huge, huge, huge]).ends_with(&format!(
            "x-ratelimit-limit: 1000\r\nx-ratelimit-remaining: {}\r\nx-ratelimit-reset: 0\r\n",
            u64::MAX
        )));
    }
}
