//! Keys by the address of the peer, which is the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, Request};

use super::{ClientKey, Key, prefixes::Prefixes};

/// Address of the peer, which a server inserts into the extensions of its requests.
///
/// Servers that axum runs do not need it: with the feature `axum`, its `ConnectInfo<SocketAddr>` is
/// read, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Key by the address of the peer, which is the other end of the connection.
///
/// For servers that clients connect to directly. Behind a proxy, all requests are the proxy's: use
/// [`ClientIp`](super::ClientIp).
///
/// ```
/// use tower_throttle::{Quota, TokenBucketLayer, key};
///
/// let layer = TokenBucketLayer::new(Quota::per_second(5)).per(key::PeerIp).respond();
/// # let _ = layer;
/// ```
///
/// The address is that of the extension [`PeerAddr`] or else, with the feature `axum`, of axum's
/// `ConnectInfo<SocketAddr>`, which a server inserts that was started with
/// `into_make_service_with_connect_info::<SocketAddr>()`. If a request has neither, the application
/// is set up wrong: it is rejected with [`Reason::MissingPeer`](crate::Reason::MissingPeer), which is
/// a 500 in HTTP.
///
/// IPv4 addresses count one by one, and IPv6 addresses by their /64, which a client has at least: see
/// [`prefix`](Self::prefix).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PeerIp;

/// Key by the network of the peer: [`PeerIp::prefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerNetwork {
    prefixes: Prefixes,
}

/// Returns the peer of a request, in the form in which addresses are compared.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let own = extensions.get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let own = own.or_else(|| super::from_axum::connect_info(extensions));
    own.map(|peer| peer.ip().to_canonical())
}

// ===== impl PeerIp =====

impl PeerIp {
    /// Counts addresses together that share so many bits: by default 32 of IPv4 and 64 of IPv6.
    ///
    /// ```
    /// use tower_throttle::key::{Key, PeerAddr, PeerIp};
    ///
    /// let mut request = http::Request::new(());
    /// request.extensions_mut().insert(PeerAddr(([192, 0, 2, 7], 4711).into()));
    /// let key = PeerIp.prefix(24, 48).caller(&request);
    /// assert_eq!(key.unwrap().to_string(), "192.0.2.0/24");
    /// ```
    #[must_use]
    pub const fn prefix(self, ipv4: u8, ipv6: u8) -> PeerNetwork {
        let prefixes = Prefixes { ipv4, ipv6 };
        PeerNetwork { prefixes }
    }

    super::or!();
}

impl<B> Key<Request<B>> for PeerIp {
    fn caller(&self, request: &Request<B>) -> Option<ClientKey> {
        let Prefixes { ipv4, ipv6 } = Prefixes::default();
        self.prefix(ipv4, ipv6).caller(request)
    }

    fn lacks_peer(&self, request: &Request<B>) -> bool {
        peer(request.extensions()).is_none()
    }
}

// ===== impl PeerNetwork =====

impl PeerNetwork {
    super::or!();
}

impl<B> Key<Request<B>> for PeerNetwork {
    fn caller(&self, request: &Request<B>) -> Option<ClientKey> {
        Some(self.prefixes.caller(peer(request.extensions())?))
    }

    fn lacks_peer(&self, request: &Request<B>) -> bool {
        PeerIp.lacks_peer(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key: &impl Key<Request<()>>, peer: &str) -> String {
        let mut request = Request::new(());
        let address = peer.parse().unwrap();
        request
            .extensions_mut()
            .insert(PeerAddr(SocketAddr::new(address, 1)));
        assert!(!key.lacks_peer(&request));
        key.caller(&request).unwrap().to_string()
    }

    #[test]
    fn addresses_are_counted_by_their_prefix() {
        let key = PeerIp;
        assert_eq!(caller(&key, "192.0.2.7"), "192.0.2.7");
        assert_eq!(caller(&key, "2001:db8::7"), "2001:db8::/64");
        let key = key.prefix(24, 48);
        assert_eq!(caller(&key, "192.0.2.7"), "192.0.2.0/24");
        assert_eq!(caller(&key, "::ffff:192.0.2.7"), "192.0.2.0/24");
        assert_eq!(caller(&key, "2001:db8:0:1::7"), "2001:db8::/48");
    }

    #[test]
    fn a_request_without_a_peer_says_no_caller() {
        let request = Request::new(());
        assert_eq!(PeerIp.caller(&request), None);
        assert!(PeerIp.lacks_peer(&request));
        assert!(PeerIp.prefix(24, 48).lacks_peer(&request));
    }
}
