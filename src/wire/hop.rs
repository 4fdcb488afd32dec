//! Removes what belongs to one hop only (RFC 9110, section 7.6.1).

use portolan_exchange::Fields;

/// Fields that speak of the connection they came on.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The lengths of their names, as bits: most other names have another.
const LENGTHS: u64 = {
    let mut lengths = 0;
    let mut at = 0;
    while at < HOP_BY_HOP.len() {
        lengths |= 1 << HOP_BY_HOP[at].len();
        at += 1;
    }
    lengths
};

/// What becomes of the fields by which an upgrade is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrades {
    /// They go: nobody here upgrades.
    Strip,
    /// `Upgrade` stays for whoever judges the upgrade, and of `Connection` the word of it: the list would take away once more
    /// what stands in the fields by then.
    Keep,
}

/// Removes the fields of one hop, and those that `Connection` names.
pub fn strip_hop(fields: &mut Fields, upgrades: Upgrades) {
    let named = Named::of(fields);
    let stays = |name: &[u8]| upgrades == Upgrades::Keep && name.eq_ignore_ascii_case(b"upgrade");
    fields.retain(|name, _| stays(name) || !(is_of_one_hop(name) || named.holds(name)));
    if upgrades == Upgrades::Keep && named.holds(b"upgrade") {
        fields.push(b"connection", b"upgrade");
    }
}

/// Whether fields of this name always speak of the connection they came on.
#[inline]
pub fn is_of_one_hop(name: &[u8]) -> bool {
    name.len() < 64
        && LENGTHS & (1 << name.len()) != 0
        && HOP_BY_HOP.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The fields that `Connection` names: they speak of it as well.
pub struct Named(Vec<Vec<u8>>);

impl Named {
    /// What is named in these fields. Most heads name nothing.
    pub fn of(fields: &Fields) -> Self {
        if !fields.contains("connection") {
            return Self(Vec::new());
        }
        let tokens = fields.get_all("connection").flat_map(|value| value.split(|byte| *byte == b','));
        Self(tokens.map(|token| token.trim_ascii().to_vec()).filter(|token| !token.is_empty()).collect())
    }

    /// Whether this one is.
    #[inline]
    pub fn holds(&self, name: &[u8]) -> bool {
        self.0.iter().any(|token| name.eq_ignore_ascii_case(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade_request() -> Fields {
        let mut fields = Fields::new();
        let all = [
            ("Connection", "upgrade, X-Secret"),
            ("X-Secret", "1"),
            ("TE", "trailers"),
            ("Accept", "a"),
            ("Upgrade", "b"),
        ];
        for (name, value) in all {
            fields.add(name, value).unwrap();
        }
        fields
    }

    fn names(fields: &Fields) -> Vec<&[u8]> {
        fields.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn fields_of_one_hop_and_those_connection_names_do_not_go_on() {
        let mut fields = upgrade_request();
        strip_hop(&mut fields, Upgrades::Strip);
        assert_eq!(names(&fields), [b"Accept"]);
    }

    #[test]
    fn an_upgrade_keeps_the_fields_that_ask_for_it() {
        let mut fields = upgrade_request();
        strip_hop(&mut fields, Upgrades::Keep);
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [(&b"Accept"[..], &b"a"[..]), (b"Upgrade", b"b"), (b"connection", b"upgrade")]);
    }
}
