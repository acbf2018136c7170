//! Callers by the address of the client, behind proxies.

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
    prefixes::Prefixes,
};

/// No chain of proxies is longer, and whoever sends more entries wants to keep the server busy.
const MAX_HOPS: usize = 64;

/// Key by the address of the client, as the proxies in front of the server write it.
///
/// A client can write into headers what it likes, so all depends on who is believed: only what proxies that are trusted
/// wrote is, which are either so [many](Self::behind), or in these [networks](Self::trusting). As each of them appends
/// to the header, it is read from its end, and nothing is believed that stands before what they wrote.
///
/// The peer of a request is found as by [`PeerIp`], and addresses are counted by the same prefixes. A request that has
/// none and needs one is rejected as there, unless the proxy connects over a [unix socket](Self::unix_socket_proxy).
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIp {
    trust: Trust,
    header: ForwardedBy,
    unreadable: OnInvalidHeader,
    unix_socket_proxy: bool,
    prefixes: Prefixes,
}

/// Whom a request is counted for whose header can't be read.
///
/// Which is one that is missing or has fewer entries than there are proxies, or where what a proxy should have written is
/// no address: garbled, `unknown`, or `_obfuscated`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnInvalidHeader {
    /// The hop nearest to the client that is known: the last one that could be read and trusted, or else the peer.
    ///
    /// All clients whose requests can't be read share what that proxy may do.
    #[default]
    NearestProxy,
    /// Nobody: the request has no caller.
    NoKey,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    Count(usize),
    Networks(Networks),
}

/// The client, or, where it can't be read, the last hop before that which could.
type ClientOrHop = Result<IpAddr, Option<IpAddr>>;

// ===== impl ClientIp =====

impl ClientIp {
    /// Trusts so many proxies, of which the last one is the peer; with 0, the peer is the client.
    ///
    /// Each appends the address that connected to it, so the client is as many entries from the end. The server must not be
    /// reached but through all of them: who skips one writes an entry himself. More than 64 are never read.
    #[must_use]
    pub fn behind(proxies: usize) -> Self {
        Self::new(Trust::Count(proxies))
    }

    /// Trusts proxies in these networks, each as `10.0.0.0/8` or as a bare address.
    ///
    /// A peer elsewhere is the client, whatever the headers say. Else the client is the last entry that is not in these
    /// networks, or the first of all where there is none.
    ///
    /// # Errors
    ///
    /// The first text that is no network.
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
            prefixes: Prefixes::default(),
        }
    }

    /// The header that the proxies write; [`ForwardedBy::XForwardedFor`] unless told.
    ///
    /// With [`ForwardedBy::XRealIp`], only one proxy can be trusted: behind two or more, the header is unreadable.
    #[must_use]
    pub fn header(mut self, header: ForwardedBy) -> Self {
        self.header = header;
        self
    }

    /// Whom a request is counted for whose header can't be read; [`OnInvalidHeader::NearestProxy`] unless told.
    #[must_use]
    pub fn unreadable(mut self, unreadable: OnInvalidHeader) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Takes requests that have no peer address for those of a trusted proxy, which connects over a unix socket.
    ///
    /// The last entry of the header is then the first that is read. With [`OnInvalidHeader::NearestProxy`], all
    /// requests whose header can't be read count together, as the key `unix socket`.
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
        self.prefixes = Prefixes { ipv4, ipv6 };
        self
    }

    super::or!();

    /// The whole address that a request is counted for, such as for a log or for [`Networks`] that are exempt.
    #[must_use]
    pub fn address<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = peer(request.extensions());
        let found = match &self.trust {
            Trust::Count(0) => return peer,
            Trust::Count(proxies) => self.counted(request.headers(), *proxies),
            Trust::Networks(trusted)
                if peer.map_or(self.unix_socket_proxy, |peer| trusted.contains(peer)) =>
            {
                self.walked(request.headers(), trusted)
            }
            Trust::Networks(_) => return peer,
        };
        match (found, self.unreadable) {
            (Ok(client), _) => Some(client),
            (Err(nearest), OnInvalidHeader::NearestProxy) => nearest.or(peer),
            (Err(_), OnInvalidHeader::NoKey) => None,
        }
    }

    fn counted(&self, headers: &HeaderMap, proxies: usize) -> ClientOrHop {
        if self.header == ForwardedBy::XRealIp {
            return if proxies == 1 {
                self.single(headers)
            } else {
                Err(None)
            };
        }
        let mut hops = self.header.hops(headers);
        let mut nearest = None;
        for _ in 0..proxies.min(MAX_HOPS) {
            nearest = Some(hops.next().flatten().ok_or(nearest)?);
        }
        nearest.filter(|_| proxies <= MAX_HOPS).ok_or(nearest)
    }

    fn walked(&self, headers: &HeaderMap, trusted: &Networks) -> ClientOrHop {
        if self.header == ForwardedBy::XRealIp {
            return self.single(headers);
        }
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

    /// Of two values, one is not the proxy's, and nobody can say which.
    fn single(&self, headers: &HeaderMap) -> ClientOrHop {
        let mut hops = self.header.hops(headers);
        let hop = hops.next().flatten();
        hop.filter(|_| hops.next().is_none()).ok_or(None)
    }
}

impl<B> Key<Request<B>> for ClientIp {
    fn caller(&self, request: &Request<B>) -> Option<ClientKey> {
        match self.address(request) {
            Some(address) => Some(self.prefixes.caller(address)),
            None if self.unix_socket_proxy && !self.needs_header() => {
                Some(ClientKey::name("unix socket"))
            }
            None => None,
        }
    }

    fn lacks_peer(&self, request: &Request<B>) -> bool {
        let is_behind = matches!(self.trust, Trust::Count(1..));
        let is_told = self.unix_socket_proxy || (is_behind && self.needs_header());
        let needs_peer = !is_told;
        needs_peer && PeerIp.lacks_peer(request)
    }
}
