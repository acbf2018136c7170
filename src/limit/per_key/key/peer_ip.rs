//! Callers by the address that the connection comes from.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, Request};

use super::{ClientKey, Key, prefixes::Prefixes};

/// The address at the other end of the connection, as a server puts it into the extensions of its requests.
///
/// Servers that are run by axum need it not: its `ConnectInfo<SocketAddr>` is read, too, with the feature `axum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Callers by the address at the other end of the connection, whatever headers say.
///
/// Right where nothing stands between clients and the server; behind a proxy, all requests are the proxy's, and
/// [`ClientIp`](super::ClientIp) is what it takes. The address is that of the extension [`PeerAddr`], or else, with the
/// feature `axum`, of axum's `ConnectInfo<SocketAddr>`; a request that has neither says no caller.
///
/// IPv6 addresses are counted by their /64, as that is the least that one caller has, and IPv4 addresses each for itself.
///
/// ```
/// use tower_throttle::key::{ClientKey, Key, PeerAddr, PeerIp};
///
/// let mut request = http::Request::new(());
/// assert_eq!(PeerIp::default().caller(&request), None);
/// request.extensions_mut().insert(PeerAddr(([192, 0, 2, 7], 4711).into()));
/// assert_eq!(PeerIp::default().caller(&request).map(|caller| caller.to_string()).as_deref(), Some("192.0.2.7"));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PeerIp {
    prefixes: Prefixes,
}

/// The peer of a request, in the form in which addresses are compared.
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let own = extensions.get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let own = own.or_else(|| super::from_axum::connect_info(extensions));
    own.map(|peer| peer.ip().to_canonical())
}

// ===== impl PeerIp =====

impl PeerIp {
    super::prefixes::setters!();
}

impl<B> Key<Request<B>> for PeerIp {
    fn caller(&self, request: &Request<B>) -> Option<ClientKey> {
        Some(self.prefixes.caller(peer(request.extensions())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key: PeerIp, peer: &str) -> String {
        let mut request = Request::new(());
        let address = peer.parse().unwrap();
        request
            .extensions_mut()
            .insert(PeerAddr(SocketAddr::new(address, 1)));
        key.caller(&request).unwrap().to_string()
    }

    #[test]
    fn addresses_are_counted_by_their_prefix() {
        let key = PeerIp::default();
        assert_eq!(caller(key, "192.0.2.7"), "192.0.2.7");
        assert_eq!(caller(key, "2001:db8::7"), "2001:db8::/64");
        let key = key.ipv4_prefix(24).ipv6_prefix(48);
        assert_eq!(caller(key, "192.0.2.7"), "192.0.2.0/24");
        assert_eq!(caller(key, "::ffff:192.0.2.7"), "192.0.2.0/24");
        assert_eq!(caller(key, "2001:db8:0:1::7"), "2001:db8::/48");
    }

    #[test]
    fn a_request_without_a_peer_says_no_caller() {
        assert_eq!(PeerIp::default().caller(&Request::new(())), None);
    }
}
