//! A network: an address and the number of bits of it that count (RFC 4632, RFC 4291 section 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network. IPv4 and the IPv4-mapped addresses of IPv6 (RFC 4291, section 2.5.5.2) are the same to it, because a
/// socket that listens for both tells the one as the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    // In IPv6's width: one mask and one comparison for either family.
    network: u128,
    mask: u128,
}

/// How many bits stand before the IPv4 address in one that is mapped.
const MAPPED: u8 = 96;

impl Cidr {
    /// The network of an address and its first `bits`; what comes after them is cleared, and more bits than the
    /// address has are all of them.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let (address, bits) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), MAPPED.saturating_add(bits)),
            IpAddr::V6(v6) => (v6, bits),
        };
        let rest = 128 - u32::from(bits.min(128));
        let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
        Self { network: address.to_bits() & mask, mask }
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        bits & self.mask == self.network
    }

    /// Its first address; IPv4 as such, mapped or not.
    pub fn address(&self) -> IpAddr {
        let address = Ipv6Addr::from_bits(self.network);
        match address.to_ipv4_mapped() {
            Some(v4) if self.mask.leading_ones() >= u32::from(MAPPED) => v4.into(),
            _ => address.into(),
        }
    }

    /// How many bits of its address count.
    pub fn bits(&self) -> u8 {
        let ones = self.mask.leading_ones() as u8;
        if self.address().is_ipv4() { ones - MAPPED } else { ones }
    }

    /// Whether it holds every address of a family.
    pub fn is_everything(&self) -> bool {
        self.bits() == 0
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.bits())
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, bits: u8) -> Cidr {
        Cidr::new(address.parse().unwrap(), bits)
    }

    #[test]
    fn an_address_lies_in_the_networks_that_share_its_first_bits() {
        for (address, bits, inside, outside) in [
            (
                "10.0.0.0",
                8,
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["11.0.0.0", "::a00:1", "::1"][..],
            ),
            ("10.1.2.3", 32, &["10.1.2.3"], &["10.1.2.2", "10.1.2.4"]),
            ("0.0.0.0", 0, &["1.2.3.4", "::ffff:1.2.3.4"], &["::", "2001:db8::1"]),
            ("2001:db8::", 32, &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "10.0.0.1"]),
            ("fe80::", 10, &["fe80::1", "febf::1"], &["fec0::1"]),
            ("::ffff:10.0.0.0", 104, &["10.9.9.9", "::ffff:10.0.0.1"], &["11.0.0.1"]),
            ("::1", 128, &["::1"], &["::2", "0.0.0.1"]),
            ("::", 0, &["::1", "10.0.0.1", "ffff::"], &[]),
        ] {
            let network = network(address, bits);
            for address in inside {
                assert!(network.contains(address.parse().unwrap()), "{address} is not in {network}");
            }
            for address in outside {
                assert!(!network.contains(address.parse().unwrap()), "{address} is in {network}");
            }
        }
    }

    #[test]
    fn a_network_is_shown_as_its_first_address_and_its_bits() {
        for (address, bits, shown) in [
            ("10.1.2.3", 8, "10.0.0.0/8"),
            ("0.0.0.0", 0, "0.0.0.0/0"),
            ("10.1.2.3", 32, "10.1.2.3/32"),
            ("10.1.2.3", 99, "10.1.2.3/32"),
            ("2001:db8:1::1", 32, "2001:db8::/32"),
            ("::ffff:10.1.2.3", 128, "10.1.2.3/32"),
            ("::", 0, "::/0"),
        ] {
            assert_eq!(network(address, bits).to_string(), shown);
        }
    }
}
