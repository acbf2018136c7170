//! How many bits of an address make a key.

use std::net::IpAddr;

use super::ClientKey;

/// The number of bits that addresses of one key share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prefixes {
    pub(super) ipv4: u8,
    pub(super) ipv6: u8,
}

// ===== impl Prefixes =====

impl Prefixes {
    pub(super) fn key(self, address: IpAddr) -> ClientKey {
        let bits = if address.is_ipv4() {
            self.ipv4
        } else {
            self.ipv6
        };
        ClientKey::network(address, bits)
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { ipv4: 32, ipv6: 64 }
    }
}
