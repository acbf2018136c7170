//! Who a request is counted for, in sixteen bytes.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::OnceLock,
};

/// A caller, as a limit by caller knows it.
///
/// Sixteen bytes, whatever it is made of: an address, a number, or a name of up to fifteen bytes is kept as it is, so that an
/// operator can read it. All else, and every [secret](ClientKey::secret), is kept as a hash of 120 bits under keys that are
/// random in each process, from which nobody gets it back. So two callers are as good as never taken for each other, and
/// hashes mean nothing after a restart.
///
/// ```
/// use tower_throttle::key::ClientKey;
///
/// assert_eq!(ClientKey::from(42).to_string(), "42");
/// assert_eq!(ClientKey::from("acme").to_string(), "acme");
/// let key = ClientKey::secret(b"sk-live-1234");
/// assert_eq!(key, ClientKey::secret(b"sk-live-1234"));
/// assert!(!key.to_string().contains("1234"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey([u8; ClientKey::BYTES + 1]);

/// What the last byte says that the others are; kinds from [`kind::TEXT`] on are a text whose length comes on top.
mod kind {
    pub(super) const EVERYONE: u8 = 0;
    pub(super) const HASH: u8 = 1;
    pub(super) const V4: u8 = 2;
    pub(super) const V6: u8 = 3;
    pub(super) const NUMBER: u8 = 4;
    pub(super) const TEXT: u8 = 16;
}

// ===== impl ClientKey =====

impl ClientKey {
    const BYTES: usize = 15;

    /// The one caller that all requests are counted for where nothing tells them apart.
    pub const EVERYONE: Self = Self([kind::EVERYONE; Self::BYTES + 1]);

    /// A caller by something that must not be kept, such as an API key: a hash of it is.
    #[must_use]
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self::hashed(b's', secret.as_ref())
    }

    /// A caller by the bytes of its name.
    #[must_use]
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        // What can't be printed is no name to read.
        if name.len() > Self::BYTES || !name.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Self::hashed(b'n', name);
        }
        Self::of(kind::TEXT + name.len() as u8, name)
    }

    /// All addresses that share the first `prefix` bits with this one.
    ///
    /// An IPv6 address that is an IPv4 address in disguise (`::ffff:192.0.2.1`) counts as that, with all of its 32 bits; a
    /// prefix that is longer than the address is all of it.
    #[must_use]
    pub fn network(address: IpAddr, prefix: u8) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) => Self::v4(v4, 32),
            (_, IpAddr::V4(v4)) => Self::v4(v4, prefix.min(32)),
            (_, IpAddr::V6(v6)) => Self::v6(v6, prefix.min(128)),
        }
    }

    /// A caller that is all of these together.
    #[must_use]
    pub fn joined(callers: &[Self]) -> Self {
        let all: Vec<u8> = callers.iter().flat_map(|caller| caller.0).collect();
        Self::hashed(b'j', &all)
    }

    /// All that it is, to be hashed.
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
            // The last two bytes find no room.
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

/// IPv6 addresses by their /64, which is the least that one caller has; see [`ClientKey::network`].
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
