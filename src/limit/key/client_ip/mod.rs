//! Keys by the address of the client, behind proxies.

mod forwarded;
mod hop;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::{HeaderMap, Request};

pub use self::forwarded::ForwardedBy;
use super::{
    ClientKey, InvalidNetwork, Key, Networks,
    peer_ip::{PeerIp, peer},
};

/// No chain of proxies is longer. More entries than this only keep the server busy.
const MAX_HOPS: usize = 64;

/// Key by the address of the client, which the proxies in front of the server write into a header.
///
/// ```
/// use tower_throttle::key::{ClientIp, PeerAddr};
///
/// let key = ClientIp::trusting(["10.0.0.0/8"])?;
/// let mut request = http::Request::builder()
///     // The client claims to be 198.51.100.1; the proxy says who it was that connected.
///     .header("x-forwarded-for", "198.51.100.1, 192.0.2.7")
///     .body(())?;
/// request.extensions_mut().insert(PeerAddr(([10, 0, 0, 1], 4711).into()));
/// assert_eq!(key.address(&request), Some([192, 0, 2, 7].into()));
/// # Ok::<(), tower_throttle::BoxError>(())
/// ```
///
/// Clients can write into headers what they like, so only trusted proxies count: a
/// [number](Self::behind) of them, or all in some [networks](Self::trusting). Each appends to the
/// header, so it is read from its end, and everything before what they wrote is ignored.
///
/// The peer of a request is found as by [`PeerIp`], and addresses count by the same prefixes. A
/// request without a peer is rejected as there if it needs one, unless the proxy connects over a
/// [unix socket](Self::unix_socket_proxy).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIp {
    trust: Trust,
    header: ForwardedBy,
    unreadable: OnInvalidHeader,
    unix_socket_proxy: bool,
    /// How many bits addresses of one key share: of IPv4, and of IPv6.
    prefixes: (u8, u8),
}

/// What a request counts for if its header can't be read.
///
/// The header is missing, has fewer entries than there are proxies, or has something else where a
/// proxy should have written an address, such as `unknown` or `_obfuscated`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnInvalidHeader {
    /// The known hop that is nearest to the client: the last one that is readable and trusted, or
    /// the peer. All clients whose header can't be read share its limit.
    #[default]
    NearestProxy,
    /// Nothing: the request has no key.
    NoKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    Count(usize),
    Networks(Networks),
}

/// The client, or, if it can't be read, the nearest hop that can.
type ClientOrHop = Result<IpAddr, Option<IpAddr>>;

// ===== impl ClientIp =====

impl ClientIp {
    /// Trusts this number of proxies, of which the last one is the peer; with 0, the peer is the
    /// client.
    ///
    /// Each appends the address that connected to it, so the client is that many entries from the
    /// end. The server must be reachable through all of them only: a client that skips one writes
    /// an entry itself. More than 64 are never read.
    #[must_use]
    pub fn behind(proxies: usize) -> Self {
        Self::new(Trust::Count(proxies))
    }

    /// Trusts proxies in these networks, each as `10.0.0.0/8` or as a bare address.
    ///
    /// A peer outside of them is the client. Otherwise the client is the last entry that is not in
    /// these networks, or the first entry if all are.
    ///
    /// # Errors
    ///
    /// Returns the first text that is not a network.
    pub fn trusting<N>(nets: N) -> Result<Self, InvalidNetwork>
    where
        N: IntoIterator,
        N::Item: AsRef<str>,
    {
        Ok(Self::new(Trust::Networks(Networks::new(nets)?)))
    }

    fn new(trust: Trust) -> Self {
        Self {
            trust,
            header: ForwardedBy::default(),
            unreadable: OnInvalidHeader::default(),
            unix_socket_proxy: false,
            prefixes: (32, 64),
        }
    }

    /// Sets the header that the proxies write. The default is [`ForwardedBy::XForwardedFor`].
    ///
    /// With [`ForwardedBy::XRealIp`], only one proxy can be trusted: behind two or more, the header
    /// can't be read.
    #[must_use]
    pub fn header(mut self, header: ForwardedBy) -> Self {
        self.header = header;
        self
    }

    /// Sets what a request counts for if its header can't be read. The default is
    /// [`OnInvalidHeader::NearestProxy`].
    #[must_use]
    pub fn unreadable(mut self, unreadable: OnInvalidHeader) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Trusts requests without a peer address: they come from a proxy that connects over a unix
    /// socket.
    ///
    /// The last entry of the header is then the first that is read. With
    /// [`OnInvalidHeader::NearestProxy`], all requests whose header can't be read count together,
    /// with the key `unix socket`.
    ///
    /// ```
    /// use tower_throttle::key::ClientIp;
    ///
    /// let key = ClientIp::trusting(["10.0.0.0/8"])?.unix_socket_proxy();
    /// let request = http::Request::builder()
    ///     .header("x-forwarded-for", "192.0.2.7")
    ///     .body(())?;
    /// assert_eq!(key.address(&request), Some([192, 0, 2, 7].into()));
    /// # Ok::<(), tower_throttle::BoxError>(())
    /// ```
    #[must_use]
    pub fn unix_socket_proxy(mut self) -> Self {
        self.unix_socket_proxy = true;
        self
    }

    /// Counts addresses together that share so many bits: by default 32 of IPv4 and 64 of IPv6.
    #[must_use]
    pub fn prefix(mut self, ipv4: u8, ipv6: u8) -> Self {
        self.prefixes = (ipv4, ipv6);
        self
    }

    super::or!();

    /// Returns the whole address that a request counts for, as for a log or for exempt
    /// [`Networks`].
    #[must_use]
    pub fn address<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = peer(request.extensions());
        let is_single = self.header == ForwardedBy::XRealIp;
        let is_trusted = |trusted: &Networks| match peer {
            Some(peer) => trusted.contains(peer),
            None => self.unix_socket_proxy,
        };
        let found = match &self.trust {
            Trust::Count(0) => return peer,
            Trust::Networks(trusted) if !is_trusted(trusted) => return peer,
            Trust::Count(2..) if is_single => Err(None),
            _ if is_single => self.single(request.headers()),
            Trust::Count(proxies) => self.counted(request.headers(), *proxies),
            Trust::Networks(trusted) => self.walked(request.headers(), trusted),
        };
        match (found, self.unreadable) {
            (Ok(client), _) => Some(client),
            (Err(nearest), OnInvalidHeader::NearestProxy) => nearest.or(peer),
            (Err(_), OnInvalidHeader::NoKey) => None,
        }
    }

    fn counted(&self, headers: &HeaderMap, proxies: usize) -> ClientOrHop {
        let mut hops = self.header.hops(headers);
        let mut nearest = None;
        for _ in 0..proxies.min(MAX_HOPS) {
            nearest = Some(hops.next().flatten().ok_or(nearest)?);
        }
        nearest.filter(|_| proxies <= MAX_HOPS).ok_or(nearest)
    }

    fn walked(&self, headers: &HeaderMap, trusted: &Networks) -> ClientOrHop {
        let mut hops = self.header.hops(headers);
        let mut nearest = None;
        for hop in hops.by_ref().take(MAX_HOPS) {
            let hop = hop.ok_or(nearest)?;
            if !trusted.contains(hop) {
                return Ok(hop);
            }
            nearest = Some(hop);
        }
        nearest.filter(|_| hops.next().is_none()).ok_or(nearest)
    }

    fn needs_header(&self) -> bool {
        self.unreadable == OnInvalidHeader::NoKey
    }

    /// Reads a header with one value. If there are two, the proxy's is not known.
    fn single(&self, headers: &HeaderMap) -> ClientOrHop {
        let mut hops = self.header.hops(headers);
        let hop = hops.next().flatten();
        hop.filter(|_| hops.next().is_none()).ok_or(None)
    }
}

impl<B> Key<Request<B>> for ClientIp {
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        match self.address(request) {
            Some(address) => {
                let (ipv4, ipv6) = self.prefixes;
                let bits = if address.is_ipv4() { ipv4 } else { ipv6 };
                Some(ClientKey::network(address, bits))
            }
            None if self.unix_socket_proxy && !self.needs_header() => {
                Some(ClientKey::name("unix socket"))
            }
            None => None,
        }
    }

    fn lacks_peer(&self, request: &Request<B>) -> bool {
        let is_behind = matches!(self.trust, Trust::Count(1..));
        let is_told = self.unix_socket_proxy || (is_behind && self.needs_header());
        !is_told && PeerIp.lacks_peer(request)
    }
}
