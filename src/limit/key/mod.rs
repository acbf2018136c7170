//! Whom a request is counted for: the keys of limits by caller.
//!
//! | key | the caller is |
//! | --- | --- |
//! | [`PeerIp`] | the address that is connected: right where no proxy stands in front |
//! | [`ClientIp`] | the address behind so many proxies, or behind proxies of these networks |
//! | [`ApiKey`] | whoever bears this key, in a header or as a bearer token |
//! | [`Header`] | what a header says that a proxy in front sets |
//! | [`Extension`] | what a layer further out has found out |
//! | `Extension` inside of a [`ResolveLayer`](resolve::ResolveLayer) | what a database or another service says: a look-up that takes a while |
//! | `Route`, with the feature `axum` | nobody: each method and route has one limit |
//! | [`Global`] | everybody: one limit for all |
//! | a tuple of two or three | all of these together |
//! | `a.or(b)` | what `a` finds, or else what `b` finds: [`Or`] |
//! | a closure | what it returns |

mod caller;
mod client_ip;
mod found;
#[cfg(feature = "axum")]
mod from_axum;
mod networks;
mod or;
mod peer_ip;
mod prefixes;
pub mod resolve;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::from_axum::Route;
use self::or::or;
pub use self::{
    caller::ClientKey,
    client_ip::{ClientIp, ForwardedBy, OnInvalidHeader},
    found::{ApiKey, Extension, Global, Header},
    networks::{InvalidNetwork, Networks},
    or::Or,
    peer_ip::{PeerAddr, PeerIp, PeerNetwork},
};

/// Returns the client that a request is counted for.
///
/// Closures that return an `Option` of a [`ClientKey`] are keys:
///
/// ```
/// use http::Request;
/// use tower_throttle::{Quota, TokenBucketLayer, key::ClientKey};
///
/// let layer = TokenBucketLayer::new(Quota::per_second(5))
///     .per(|request: &Request<String>| request.uri().host().map(ClientKey::from));
/// # let _ = layer;
/// ```
///
/// A key that has to be waited for is looked up further out: see [`resolve`].
pub trait Key<Request> {
    /// Returns the client, or `None` if the request has no key.
    fn caller(&self, request: &Request) -> Option<ClientKey>;

    /// Returns whether a request has no key because the server has not inserted the address of the peer.
    ///
    /// That is a mistake of the application, so such a request is rejected with
    /// [`Reason::MissingPeer`](crate::Reason::MissingPeer), whatever
    /// [`missing_key`](crate::per_key::PerKeyLayer::missing_key) says. Called only if [`caller`](Self::caller)
    /// returned `None`. By default `false`; keys that wrap [`PeerIp`] or [`ClientIp`] forward it.
    fn lacks_peer(&self, request: &Request) -> bool {
        let _ = request;
        false
    }
}
