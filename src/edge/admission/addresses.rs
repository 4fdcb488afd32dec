//! Counts connections by address. The table is bounded by the connections themselves: an address without one is not in it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of the table, each behind a lock that is held for one look-up, when a connection comes or goes.
const SHARDS: usize = 16;

#[derive(Debug)]
pub(super) struct Addresses {
    max: usize,
    // Its keys are random: nobody can choose addresses that fall into one shard, or one bucket of it.
    hasher: RandomState,
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

impl Addresses {
    /// At most `max` connections of one address.
    pub(super) fn new(max: usize) -> Self {
        Self { max, hasher: RandomState::new(), shards: Default::default() }
    }

    /// Counts a connection; whether there was room for it.
    pub(super) fn enter(&self, address: IpAddr) -> bool {
        let network = network(address);
        let mut shard = self.shard(network);
        let open = shard.entry(network).or_default();
        if *open >= self.max {
            return false;
        }
        *open += 1;
        true
    }

    /// Takes a connection off that was counted.
    pub(super) fn leave(&self, address: IpAddr) {
        let network = network(address);
        let mut shard = self.shard(network);
        if let Entry::Occupied(mut open) = shard.entry(network) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// Addresses with a connection.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, network: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let hash = self.hasher.hash_one(network);
        lock(&self.shards[hash as usize % SHARDS])
    }
}

// A panic cannot leave a count half changed, so poisoning carries no news.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for: an IPv6 client has a network of 64 bits to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}
