//! Keys by the address of the peer, which is the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, Request};

use super::{ClientIp, ClientKey, Key};

/// Address of the peer, which a server inserts into the extensions of its requests.
///
/// Axum servers do not need it: with the feature `axum`, `ConnectInfo<SocketAddr>` is read as well.
/// A tonic server has the address in `TcpConnectInfo`, and a `MapRequestLayer` of tower around the
/// limit can insert it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Key by the address of the peer, which is the other end of the connection.
///
/// For servers that clients connect to directly. Behind a proxy, all requests are the proxy's: use
/// [`ClientIp`].
///
/// ```
/// use tower_throttle::{Quota, TokenBucketLayer, key};
///
/// let layer = TokenBucketLayer::new(Quota::per_second(5)).per(key::PeerIp).respond();
/// # let _ = layer;
/// ```
///
/// The address is read from the extension [`PeerAddr`] or, with the feature `axum`, from axum's
/// `ConnectInfo<SocketAddr>`, which `into_make_service_with_connect_info::<SocketAddr>()` inserts.
/// A request with neither is a mistake of the application: it is rejected with
/// [`Reason::MissingPeer`](crate::Reason::MissingPeer), in HTTP a 500.
///
/// IPv4 addresses count one by one, and IPv6 addresses by their /64, the smallest network of a
/// client: see [`prefix`](Self::prefix).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PeerIp;

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
    /// Returns a [`ClientIp`] without proxies.
    ///
    /// ```
    /// use tower_throttle::key::{Key, PeerAddr, PeerIp};
    ///
    /// let mut request = http::Request::new(());
    /// request.extensions_mut().insert(PeerAddr(([192, 0, 2, 7], 4711).into()));
    /// let key = PeerIp.prefix(24, 48).key(&request);
    /// assert_eq!(key.unwrap().to_string(), "192.0.2.0/24");
    /// ```
    #[must_use]
    pub fn prefix(self, ipv4: u8, ipv6: u8) -> ClientIp {
        ClientIp::behind(0).prefix(ipv4, ipv6)
    }

    super::or!();
}

impl<B> Key<Request<B>> for PeerIp {
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        peer(request.extensions()).map(ClientKey::from)
    }

    fn lacks_peer(&self, request: &Request<B>) -> bool {
        peer(request.extensions()).is_none()
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
        key.key(&request).unwrap().to_string()
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
        assert_eq!(PeerIp.key(&request), None);
        assert!(PeerIp.lacks_peer(&request));
        assert!(PeerIp.prefix(24, 48).lacks_peer(&request));
    }
}
