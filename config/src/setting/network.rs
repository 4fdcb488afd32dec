//! Networks: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::reader::{Reader, Setting};
use crate::schema::Schemas;
use crate::snapshot::Cidr;
use crate::tree::Node;

/// A network, or one address.
pub(crate) struct Network;

impl Setting for Network {
    type Value = Cidr;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Cidr> {
        let word = reader.text(node)?;
        let hint = "an IP address and the number of bits that count: `10.0.0.0/8`, `2001:db8::/32`";
        let (address, bits) = match word.text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (word.text.as_str(), None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return reader.wrong(node, format!("`{}` is not a network", word.shown), hint);
        };
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => Some(widest),
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().ok().filter(|bits| *bits <= widest),
            Some(_) => None,
        };
        let Some(bits) = bits else {
            return reader.wrong(node, format!("`{}` is not a network", word.shown), hint);
        };
        let network = Cidr::new(address, bits);
        if network.address() != address.to_canonical() {
            let message = format!("`{}` says more than its {bits} bits", word.shown);
            return reader.wrong(node, message, &format!("`{network}`, or `{address}` for the one address"));
        }
        Some(network)
    }

    fn blank() -> Cidr {
        Cidr::new(IpAddr::from([127, 0, 0, 1]), 32)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let pattern = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$";
        schemas.scalar(json!({ "type": "string", "pattern": pattern, "$comment": "network or IP address" }))
    }
}
