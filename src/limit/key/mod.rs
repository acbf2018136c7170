//! Keys of limits per key, which tell clients apart.
//!
//! # Examples
//!
//! ```
//! use tower_throttle::{Quota, TokenBucketLayer, key};
//!
//! let layer = TokenBucketLayer::new(Quota::per_second(5))
//!     .per(key::ApiKey::bearer().or(key::PeerIp))
//!     .respond();
//! # let _ = layer;
//! ```
//!
//! # Keys
//!
//! | key | counts requests by |
//! | --- | --- |
//! | [`PeerIp`] | the address of the peer: for servers without a proxy in front |
//! | [`ClientIp`] | the client's address, behind a number of proxies or proxies of given networks |
//! | [`ApiKey`] | the API key, in a header or as a bearer token |
//! | [`Header`] | a header that a proxy in front sets |
//! | [`Extension`] | an extension that an outer layer inserts, such as the result of a [look-up](#look-ups) |
//! | `Route`, with the feature `axum` | the method and the route, not the client |
//! | [`Global`] | nothing: one limit for all requests |
//! | a tuple of two or three keys | all of them together |
//! | `a.or(b)` | `a`, or `b` if a request has no `a`: [`Or`] |
//! | a closure | what it returns |
//!
//! # Look-ups
//!
//! A key reads the request and returns at once. A look-up, as in a database, is an outer middleware
//! that inserts its result for [`Extension`], such as axum's `from_fn`:
//!
//! ```
//! use axum::{Router, extract::Request, http::StatusCode, middleware::{Next, from_fn}};
//! use axum::{response::{IntoResponse, Response}, routing::get};
//! use tower_throttle::{Quota, TokenBucketLayer, key::{self, ClientKey}};
//!
//! # async fn user_of(_: &str) -> Result<Option<u64>, std::io::Error> { Ok(None) }
//! async fn look_up(mut request: Request, next: Next) -> Response {
//!     let Ok(user) = user_of(request.uri().path()).await else {
//!         // The limit is not reached, so the request does not count as one without a key.
//!         return StatusCode::SERVICE_UNAVAILABLE.into_response();
//!     };
//!     request.extensions_mut().remove::<ClientKey>();
//!     if let Some(user) = user {
//!         request.extensions_mut().insert(ClientKey::from(user));
//!     }
//!     next.run(request).await
//! }
//!
//! let key = key::Extension::<ClientKey>::new();
//! let limit = TokenBucketLayer::new(Quota::per_minute(60)).per(key);
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(limit.respond())
//!     // In axum the layer that is added last sees a request first.
//!     .layer(from_fn(look_up));
//! # let _ = app;
//! ```
//!
//! A request whose user is not found has no key, and is rejected unless
//! [`missing_key`](crate::per_key::PerKeyLayer::missing_key) says otherwise. Every request is
//! looked up, also if the limit rejects it then: put a limit by address outside if that is
//! expensive.

mod client_ip;
mod client_key;
mod found;
#[cfg(feature = "axum")]
mod from_axum;
mod networks;
mod or;
mod peer_ip;

#[cfg(feature = "axum")]
pub use self::from_axum::Route;
use self::or::or;
pub use self::{
    client_ip::{ClientIp, ForwardedBy, OnInvalidHeader},
    client_key::ClientKey,
    found::{ApiKey, Extension, Global, Header},
    networks::{InvalidNetwork, Networks},
    or::Or,
    peer_ip::{PeerAddr, PeerIp},
};

/// Returns the key of a request's client.
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
/// A key that has to be waited for is [looked up](self#look-ups) by an outer layer.
#[diagnostic::on_unimplemented(note = "the keys of this crate read an `http::Request`: \
            for other requests use a closure that returns an `Option<ClientKey>`")]
pub trait Key<Request> {
    /// Returns the key, or `None` if the request has none.
    fn key(&self, request: &Request) -> Option<ClientKey>;

    /// Returns whether a request has no key because the server has not inserted the address of the
    /// peer.
    ///
    /// That is a mistake of the application, so such a request is rejected with
    /// [`Reason::MissingPeer`](crate::Reason::MissingPeer), whatever
    /// [`missing_key`](crate::per_key::PerKeyLayer::missing_key) says. Called only if
    /// [`key`](Self::key) returned `None`. By default `false`; keys that wrap [`PeerIp`] or
    /// [`ClientIp`] forward it.
    fn lacks_peer(&self, request: &Request) -> bool {
        let _ = request;
        false
    }
}
