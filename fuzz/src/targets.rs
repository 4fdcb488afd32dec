//! All that is fuzzed, in the order of a request's way: framing, HTTP, JSON, the protocols, then what operators write.

mod config;
mod edge;
mod events;
mod exchange;
mod graphql;
mod http1;
mod identity;
mod planted;
mod rest;
mod websocket;

use crate::target::{Memory, Target};

/// The targets.
pub const ALL: &[Target] = &[
    http1::REQUESTS,
    http1::RESPONSES,
    edge::PROXY_HEADER,
    edge::CLIENT,
    websocket::FRAMES,
    websocket::HANDSHAKE,
    exchange::FIELDS,
    exchange::JSON,
    exchange::TYPED_JSON,
    exchange::SCALARS,
    identity::TOKEN,
    graphql::REQUEST,
    graphql::DOCUMENT,
    graphql::VARIABLES,
    events::COMMANDS,
    events::SESSION,
    rest::REQUEST,
    config::TREE,
    config::LOAD,
    identity::KEY_SET,
    rest::CONTRACT,
    events::CONTRACT,
    graphql::SCHEMA,
];

/// The target of this name, the planted ones included.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().chain(planted::ALL).find(|target| target.name == name)
}

/// What short inputs may take in any target, for the checks around the parser.
const FREE: u64 = 1 << 20;

/// A bound for parsers that keep nothing large: `per_byte` in all and half of it at one time.
const fn linear(per_byte: u64) -> Memory {
    Memory { total_per_byte: per_byte, peak_per_byte: per_byte / 2, free: FREE }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_target_has_a_name_of_its_own_and_seeds_of_its_own() {
        let names: HashSet<_> = ALL.iter().chain(planted::ALL).map(|target| target.name).collect();
        assert_eq!(names.len(), ALL.len() + planted::ALL.len());
        for target in ALL {
            let seeds = crate::corpus::seeds(target).unwrap();
            assert!(seeds.len() >= 4, "{} has {} seeds", target.name, seeds.len());
            for borrowed in target.seeds {
                assert!(crate::corpus::home().join("..").join(borrowed).exists(), "{borrowed} has moved");
            }
        }
    }
}
