//! Removes what belongs to one hop only (RFC 9110, section 7.6.1).

use portolan_exchange::Fields;
use portolan_exchange::fields::{Name, Names};

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
    let stays = match upgrades {
        Upgrades::Keep => Names::of(&[Name::Upgrade]),
        Upgrades::Strip => Names::NONE,
    };
    fields.remove_those(Names::OF_ONE_HOP.without(stays));
    named.remove_from(fields, stays);
    if upgrades == Upgrades::Keep && named.holds(b"upgrade") {
        fields.push(b"connection", b"upgrade");
    }
}

/// The fields that `Connection` names: they speak of it as well.
pub struct Named(Vec<Vec<u8>>);

impl Named {
    /// What is named in these fields. Most heads name nothing.
    pub fn of(fields: &Fields) -> Self {
        if !fields.may_hold(Names::of(&[Name::Connection])) {
            return Self(Vec::new());
        }
        let tokens = fields.get_all("connection").flat_map(|value| value.split(|byte| *byte == b','));
        Self(tokens.map(|token| token.trim_ascii().to_vec()).filter(|token| !token.is_empty()).collect())
    }

    /// Removes what is named, but names that say one of these.
    pub fn remove_from(&self, fields: &mut Fields, stays: Names) {
        if !self.0.is_empty() {
            fields.retain(|name, _| stays.has(Name::of(name)) || !self.holds(name));
        }
    }

    /// Whether this one is.
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
