//! The key of a client, in sixteen bytes.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

/// Key of a client, which a limit per key counts.
///
/// It takes sixteen bytes. Addresses, numbers, UUIDs and names of up to fifteen bytes stay readable
/// in logs and in [`top`](crate::per_key::PerKeyLimiter::top). Anything else, and every
/// [secret](ClientKey::secret), is a hash of 120 bits with a key that is random in each process: it
/// cannot be reversed, and differs after a restart.
///
/// ```
/// use tower_throttle::key::ClientKey;
///
/// assert_eq!(ClientKey::from(42).to_string(), "42");
/// assert_eq!(ClientKey::from("acme").to_string(), "acme");
/// let user = "0198c0de-7d2b-7c3a-9f11-2b1f0a5d6e77";
/// assert_eq!(ClientKey::from(user).to_string(), user);
/// let key = ClientKey::secret(b"sk-live-1234");
/// assert_eq!(key, ClientKey::secret(b"sk-live-1234"));
/// assert!(!key.to_string().contains("1234"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey([u8; ClientKey::BYTES + 1]);

/// The kind of a key, in its last byte. From [`kind::TEXT`] on it is a text, whose length is added;
/// from [`kind::UUID`] on it is a UUID.
mod kind {
    pub(super) const EVERYONE: u8 = 0;
    pub(super) const HASH: u8 = 1;
    pub(super) const V4: u8 = 2;
    pub(super) const V6: u8 = 3;
    pub(super) const NUMBER: u8 = 4;
    pub(super) const TEXT: u8 = 16;
    /// The six lower bits of this one are the first of the UUID's.
    pub(super) const UUID: u8 = 64;
}

/// Where the two bits of a UUID's variant are.
const VARIANT_AT: u32 = 62;
const VARIANT: u128 = 0b10;
const AFTER_VARIANT: u128 = (1 << VARIANT_AT) - 1;

// ===== impl ClientKey =====

impl ClientKey {
    const BYTES: usize = 15;

    /// The key of all requests that are counted together.
    pub const EVERYONE: Self = Self([kind::EVERYONE; Self::BYTES + 1]);

    /// Returns the key of a secret, such as an API key: a hash, whatever the secret looks like.
    #[must_use]
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self::hashed(b's', secret.as_ref())
    }

    /// Returns the key of a name, which is readable if it is short or a UUID. For secrets, use
    /// [`secret`](Self::secret).
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        if let Some(key) = Self::uuid(name) {
            return key;
        }
        // A name that can't be printed is not readable.
        if name.len() > Self::BYTES || !name.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Self::hashed(b'n', name);
        }
        Self::of(kind::TEXT + name.len() as u8, name)
    }

    /// Returns the key of all addresses that share the first `prefix` bits with this one.
    ///
    /// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) counts as the IPv4 address, with all of its
    /// 32 bits. A prefix that is longer than the address means all of it.
    #[must_use]
    pub fn network(address: IpAddr, prefix: u8) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) => Self::v4(v4, 32),
            (_, IpAddr::V4(v4)) => Self::v4(v4, prefix.min(32)),
            (_, IpAddr::V6(v6)) => Self::v6(v6, prefix.min(128)),
        }
    }

    /// Returns the key of all of these together.
    #[must_use]
    pub fn joined(keys: &[Self]) -> Self {
        let all: Vec<u8> = keys.iter().flat_map(|key| key.0).collect();
        Self::hashed(b'j', &all)
    }

    /// Packs a UUID in lower case without the two bits of its variant, which are the same in all of
    /// them (RFC 9562).
    fn uuid(name: &[u8]) -> Option<Self> {
        if name.len() != 36 {
            return None;
        }
        let mut bits = 0_u128;
        for (at, byte) in name.iter().enumerate() {
            let digit = match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => continue,
                (8 | 13 | 18 | 23, _) => return None,
                (_, b'0'..=b'9') => byte - b'0',
                (_, b'a'..=b'f') => byte - b'a' + 10,
                _ => return None,
            };
            bits = bits << 4 | u128::from(digit);
        }
        if (bits >> VARIANT_AT) & 0b11 != VARIANT {
            return None;
        }
        let packed = (bits >> 64) << VARIANT_AT | bits & AFTER_VARIANT;
        let [first, rest @ ..] = packed.to_be_bytes();
        Some(Self::of(kind::UUID | first, &rest))
    }

    fn to_uuid(self) -> Option<u128> {
        let first = self.kind().checked_sub(kind::UUID)?;
        let rest = self.0[..Self::BYTES].iter();
        let packed = rest.fold(u128::from(first), |bits, byte| {
            bits << 8 | u128::from(*byte)
        });
        let variant = VARIANT << VARIANT_AT;
        Some((packed >> VARIANT_AT) << 64 | variant | packed & AFTER_VARIANT)
    }

    /// Returns all of it, for the hash of a table.
    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES + 1] {
        &self.0
    }

    fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let mut bytes = [0; 5];
        bytes[..4].copy_from_slice(&(u32::from(address) & mask).to_be_bytes());
        bytes[4] = prefix;
        Self::of(kind::V4, &bytes)
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        let network = (u128::from(address) & mask).to_be_bytes();
        let mut bytes = [0; Self::BYTES];
        bytes[14] = prefix;
        if prefix > 112 {
            // There is no room for the last two bytes.
            return Self::hashed(prefix | 0x80, &network);
        }
        bytes[..14].copy_from_slice(&network[..14]);
        Self::of(kind::V6, &bytes)
    }

    /// `what` it is comes first, so that a name is never taken for a key that reads the same.
    fn hashed(what: u8, secret: &[u8]) -> Self {
        static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();
        let (first, second) = KEYS.get_or_init(Default::default);
        let hash = |keys: &RandomState| {
            let mut hasher = keys.build_hasher();
            hasher.write_u8(what);
            hasher.write(secret);
            hasher.finish().to_be_bytes()
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&hash(first));
        bytes[8..].copy_from_slice(&hash(second));
        Self::of(kind::HASH, &bytes[..Self::BYTES])
    }

    fn of(kind: u8, used: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES + 1];
        bytes[..used.len()].copy_from_slice(used);
        bytes[Self::BYTES] = kind;
        Self(bytes)
    }

    fn kind(&self) -> u8 {
        self.0[Self::BYTES]
    }

    fn address(&self) -> Option<(IpAddr, u8)> {
        let b = &self.0;
        match self.kind() {
            kind::V4 => Some((Ipv4Addr::new(b[0], b[1], b[2], b[3]).into(), b[4])),
            kind::V6 => {
                let mut octets = [0; 16];
                octets[..14].copy_from_slice(&b[..14]);
                Some((Ipv6Addr::from(octets).into(), b[14]))
            }
            _ => None,
        }
    }
}

impl From<u64> for ClientKey {
    fn from(number: u64) -> Self {
        Self::of(kind::NUMBER, &number.to_be_bytes())
    }
}

impl From<&str> for ClientKey {
    fn from(name: &str) -> Self {
        Self::name(name)
    }
}

impl From<String> for ClientKey {
    fn from(name: String) -> Self {
        Self::name(name)
    }
}

/// IPv6 addresses by their /64, the smallest network of a client; see [`ClientKey::network`].
impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        Self::network(address, if address.is_ipv4() { 32 } else { 64 })
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((address, prefix)) = self.address() {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            return match prefix < whole {
                true => write!(f, "{address}/{prefix}"),
                false => write!(f, "{address}"),
            };
        }
        if let Some(uuid) = self.to_uuid() {
            let hex = format!("{uuid:032x}");
            let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
            return write!(f, "{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..]);
        }
        match self.kind() {
            kind::EVERYONE => f.write_str("everyone"),
            kind::NUMBER => {
                let number = self.0.first_chunk().copied().map(u64::from_be_bytes);
                write!(f, "{}", number.unwrap_or_default())
            }
            kind::HASH => {
                f.write_str("#")?;
                self.0[..Self::BYTES]
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            text => {
                let length = usize::from(text - kind::TEXT);
                f.write_str(&String::from_utf8_lossy(&self.0[..length]))
            }
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_only_looks_like_a_uuid_is_a_hash() {
        for name in [
            "0198C0DE-7d2b-7c3a-9f11-2b1f0a5d6e77",
            "0198c0de-7d2b-7c3a-cf11-2b1f0a5d6e77",
            "0198c0de07d2b-7c3a-9f11-2b1f0a5d6e77",
            "0198c0de-7d2b-7c3a-9f11-2b1f0a5d6e7g",
            "0198c0de-7d2b-7c3a-9f11-2b1f0a5d6e7",
        ] {
            assert!(ClientKey::name(name).to_string().starts_with('#'), "{name}");
        }
        let uuid = "0198c0de-7d2b-7c3a-9f11-2b1f0a5d6e77";
        assert!(ClientKey::secret(uuid).to_string().starts_with('#'));
    }

    proptest! {
        #[test]
        fn a_uuid_is_read_back(
            uuid in "[0-9a-f]{8}(-[0-9a-f]{4}){2}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        ) {
            prop_assert_eq!(ClientKey::name(&uuid).to_string(), uuid);
        }
    }
}
