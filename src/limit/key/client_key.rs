//! The key of a client, in sixteen bytes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

use blake3::{
    Hasher,
    hazmat::{ContextKey, HasherExt, hash_derive_key_context},
};

/// Key of a client, which a limit per key counts.
///
/// It takes sixteen bytes, and is the same in all processes, on all platforms and in all versions.
/// Addresses, numbers, UUIDs and names of up to fifteen bytes stay readable in logs and in
/// [`top`](crate::per_key::PerKeyLimiter::top). Anything else, and every
/// [secret](ClientKey::secret), is a BLAKE3 hash of 120 bits.
///
/// A hash of a random API key cannot be reversed. One of a short name, an e-mail address or a PIN
/// can be guessed from the hash: [`ApiKey::keyed`](super::ApiKey::keyed) prevents that.
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
// Fifteen bytes and the kind. Numbers and addresses are big-endian; the rest is zero.
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
    #[cfg(feature = "redis")]
    pub(super) const NEWCOMERS: u8 = 5;
    pub(super) const TEXT: u8 = 16;
    /// The six lower bits of this one are the first of the UUID's.
    pub(super) const UUID: u8 = 64;
}

/// What all hashes are derived from. Another text would be another client in each other process.
const CONTEXT: &str = "tower-throttle 2026-11-29 client key";

/// What the key of keyed hashes is derived from.
const SECRET_CONTEXT: &str = "tower-throttle 2026-11-29 secret of client keys";

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

    /// Returns the key of a secret, as a hash that is keyed.
    pub(super) fn keyed(key: &[u8; 32], secret: &[u8]) -> Self {
        Self::hash(Hasher::new_keyed(key), b's', [secret])
    }

    /// Returns the key of keyed hashes that belongs to `secret`.
    pub(super) fn hash_key(secret: &[u8]) -> [u8; 32] {
        blake3::derive_key(SECRET_CONTEXT, secret)
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
        Self::hash(hasher(), b'j', keys.iter().map(|key| &key.0[..]))
    }

    /// Returns the key of the clients that share a limit, in one of several parts of a table.
    #[cfg(feature = "redis")]
    pub(crate) fn newcomers(part: u64) -> Self {
        Self::of(kind::NEWCOMERS, &part.to_be_bytes())
    }

    /// Returns the digest by which a store knows the client of a limit.
    #[cfg(feature = "redis")]
    pub(crate) fn digest(&self, limit: &str) -> [u8; 16] {
        let mut hasher = Hasher::new();
        hasher.update(limit.as_bytes()).update(&self.0);
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
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
        let packed = u128::from(first) << 120 | self.bits() >> 8;
        let variant = VARIANT << VARIANT_AT;
        Some((packed >> VARIANT_AT) << 64 | variant | packed & AFTER_VARIANT)
    }

    /// Returns all of it, for the hash of a table.
    pub(crate) fn bytes(&self) -> &[u8; Self::BYTES + 1] {
        &self.0
    }

    fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let [a, b, c, d] = (u32::from(address) & mask).to_be_bytes();
        Self::of(kind::V4, &[a, b, c, d, prefix])
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        let network = u128::from(address) & mask;
        if prefix > 112 {
            // There is no room for the last two bytes.
            return Self::hashed(prefix | 0x80, &network.to_be_bytes());
        }
        let last = u128::from(prefix) << 8 | u128::from(kind::V6);
        Self((network | last).to_be_bytes())
    }

    fn hashed(what: u8, bytes: &[u8]) -> Self {
        Self::hash(hasher(), what, [bytes])
    }

    /// Returns the first bytes of a hash of `what` it is, one byte, and of all `parts` after it. So
    /// a name is never taken for a key that reads the same.
    fn hash<'a>(mut hasher: Hasher, what: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        hasher.update(&[what]);
        for part in parts {
            hasher.update(part);
        }
        Self::of(kind::HASH, &hasher.finalize().as_bytes()[..Self::BYTES])
    }

    fn of(kind: u8, used: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES + 1];
        bytes[..used.len()].copy_from_slice(used);
        bytes[Self::BYTES] = kind;
        Self(bytes)
    }

    fn bits(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    fn kind(&self) -> u8 {
        self.0[Self::BYTES]
    }

    fn address(&self) -> Option<(IpAddr, u8)> {
        let b = &self.0;
        match self.kind() {
            kind::V4 => Some((Ipv4Addr::new(b[0], b[1], b[2], b[3]).into(), b[4])),
            kind::V6 => Some((Ipv6Addr::from(self.bits() >> 16 << 16).into(), b[14])),
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
            #[cfg(feature = "redis")]
            kind::NEWCOMERS => f.write_str("newcomers"),
            kind::NUMBER => write!(f, "{}", self.bits() >> 64),
            kind::HASH => write!(f, "#{:030x}", self.bits() >> 8),
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

/// Returns a hasher like `Hasher::new_derive_key(CONTEXT)`, in half the time.
fn hasher() -> Hasher {
    static KEY: OnceLock<ContextKey> = OnceLock::new();
    let key = KEY.get_or_init(|| hash_derive_key_context(CONTEXT));
    Hasher::new_from_context_key(key)
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

    #[test]
    fn a_key_is_the_same_in_all_versions() {
        let hex = |key: ClientKey| -> String { key.0.map(|byte| format!("{byte:02x}")).concat() };
        let v6 = "2001:db8::1".parse().unwrap();
        let hash_key = ClientKey::hash_key(b"pepper");
        let joined = ClientKey::joined(&[ClientKey::from(1), ClientKey::from("b")]);
        // In Redis they are the keys of states, so a change resets the limits of all clients.
        let vectors = [
            (ClientKey::EVERYONE, "00000000000000000000000000000000"),
            (ClientKey::from(42), "000000000000002a0000000000000004"),
            (ClientKey::from("acme"), "61636d65000000000000000000000014"),
            (
                ClientKey::from("0198c0de-7d2b-7c3a-9f11-2b1f0a5d6e77"),
                "6630379f4adf0e9f112b1f0a5d6e7740",
            ),
            (
                ClientKey::network([192, 0, 2, 1].into(), 24),
                "c0000200180000000000000000000002",
            ),
            (
                ClientKey::network(v6, 64),
                "20010db8000000000000000000004003",
            ),
            (
                ClientKey::network(v6, 128),
                "3d84c1a4719e6e0140e5ed56a85f3401",
            ),
            (
                ClientKey::from("ann@example.com and bob"),
                "4c4815401e2c454188890c1c8cb5e401",
            ),
            (
                ClientKey::secret("sk-live-1234"),
                "131d134036dca976e5d01f635268de01",
            ),
            (
                ClientKey::keyed(&hash_key, b"sk-live-1234"),
                "95d371883efa17d6535bdf3732a0e801",
            ),
            (joined, "78be6b746beaa65cfa494d6b41be5201"),
        ];
        for (key, expected) in vectors {
            assert_eq!(hex(key), expected, "{key}");
        }
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_digest_is_the_same_in_all_versions() {
        let digest = ClientKey::from("acme").digest("api");
        let hex = digest.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex, "ae57411dc5bb9dd0861c1afebccc73ac");
    }

    #[test]
    fn a_hash_is_the_derived_key() {
        let derived = blake3::derive_key(CONTEXT, b"ssk-live-1234");
        let key = ClientKey::secret("sk-live-1234");
        assert_eq!(key.0[..ClientKey::BYTES], derived[..ClientKey::BYTES]);
        assert_eq!(key.kind(), kind::HASH);
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
