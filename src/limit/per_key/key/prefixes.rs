//! How much of an address makes a caller.

use std::net::IpAddr;

use super::ClientKey;

/// The bits that addresses share which are one caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// The two setters of a key by address, whose field `prefixes` they set.
macro_rules! setters {
    () => {
        /// Counts IPv4 addresses together that share so many bits; 32 unless told.
        #[must_use]
        pub fn ipv4_prefix(mut self, bits: u8) -> Self {
            self.prefixes.v4 = bits;
            self
        }

        /// Counts IPv6 addresses together that share so many bits; 64 unless told.
        #[must_use]
        pub fn ipv6_prefix(mut self, bits: u8) -> Self {
            self.prefixes.v6 = bits;
            self
        }
    };
}

pub(super) use setters;

// ===== impl Prefixes =====

impl Prefixes {
    pub(super) fn caller(self, address: IpAddr) -> ClientKey {
        let bits = if address.is_ipv4() { self.v4 } else { self.v6 };
        ClientKey::network(address, bits)
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}
