//! Whom a request is counted for: the keys of limits by caller.

mod caller;
mod found;
#[cfg(feature = "axum")]
mod route;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::route::Route;
pub use self::{
    caller::Caller,
    found::{ApiKey, Extension, Global, Header},
};

/// Says which caller a request is counted for.
///
/// Closures that return an `Option` of a [`Caller`] are keys:
///
/// ```
/// use http::Request;
/// use tower_throttle::{Quota, TokenBucketLayer, key::Caller};
///
/// let layer = TokenBucketLayer::new(Quota::per_second(5))
///     .per(|request: &Request<String>| request.uri().query().map(Caller::from));
/// # let _ = layer;
/// ```
pub trait Key<Request> {
    /// The caller, or `None` where the request does not say.
    fn caller(&self, request: &Request) -> Option<Caller>;
}
