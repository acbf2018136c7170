//! Callers by the address of the client, behind proxies.

mod forwarded;
mod hop;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::{HeaderMap, Request};

pub use self::forwarded::ForwardedBy;
use super::{ClientKey, InvalidNetwork, Key, Networks, peer_ip::peer, prefixes::Prefixes};

/// No chain of proxies is longer, and whoever sends more entries wants to keep the server busy.
const MAX_HOPS: usize = 64;

/// Callers by the address of the client, as the proxies in front of the server tell it.
///
/// A client can write into headers what it likes, so all depends on who is believed: only what proxies that are trusted
/// wrote is, which are either so [many](Self::behind), or in these [networks](Self::trusting). As each of them appends
/// to the header, it is read from its end, and nothing is believed that stands before what they wrote.
///
/// The peer of a request is found as by [`PeerIp`](super::PeerIp), and addresses are counted by the same prefixes.
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
    /// networks, or the first of all where there is none. A request without a peer has no caller.
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

    super::prefixes::setters!();

    /// The whole address that a request is counted for, such as for a log or for [`Networks`] that are exempt.
    #[must_use]
    pub fn address<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = peer(request.extensions());
        let found = match &self.trust {
            Trust::Count(0) => return peer,
            Trust::Count(proxies) => self.counted(request.headers(), *proxies),
            Trust::Networks(trusted) if trusted.contains(peer?) => {
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

    /// Of two values, one is not the proxy's, and nobody can say which.
    fn single(&self, headers: &HeaderMap) -> ClientOrHop {
        let mut hops = self.header.hops(headers);
        let hop = hops.next().flatten();
        hop.filter(|_| hops.next().is_none()).ok_or(None)
    }
}

impl<B> Key<Request<B>> for ClientIp {
    fn caller(&self, request: &Request<B>) -> Option<ClientKey> {
        Some(self.prefixes.caller(self.address(request)?))
    }
}
