//! How many units a request takes from a limit.

use std::fmt;

/// Returns what a request costs, in the units of the limit's [`Quota`](crate::Quota).
///
/// A cost of 0 is admitted at once, whatever waits, and takes nothing.
///
/// Closures are costs:
///
/// ```
/// use tower_throttle::{Quota, TokenBucketLayer};
///
/// // 1,000,000 bytes of upload a minute
/// let layer = TokenBucketLayer::new(Quota::per_minute(1_000_000))
///     .cost(|request: &http::Request<String>| request.body().len() as u64);
/// # let _ = layer;
/// ```
pub trait Cost<Request> {
    /// The units that `request` takes.
    fn cost(&self, request: &Request) -> u64;
}

/// Every request costs one unit. The default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct One;

/// A request costs what its [`Units`] extension says, or one unit if it has none.
///
/// For services of [`http::Request`]: the only kind of request whose extensions can be read by all.
///
/// ```
/// use tower_throttle::{Quota, SlidingWindowLayer, cost};
///
/// let layer = SlidingWindowLayer::new(Quota::per_minute(10_000)).cost(cost::FromExtension);
/// let request = http::Request::get("/").extension(cost::Units(40)).body(())?;
/// # let _ = (layer, request);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FromExtension;

/// The cost of a request, carried in its extensions for [`FromExtension`] to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Units(pub u64);

impl<Request> Cost<Request> for One {
    fn cost(&self, _: &Request) -> u64 {
        1
    }
}

impl<B> Cost<http::Request<B>> for FromExtension {
    fn cost(&self, request: &http::Request<B>) -> u64 {
        request.extensions().get().map_or(1, |Units(units)| *units)
    }
}

impl<B> Cost<http::Response<B>> for FromExtension {
    fn cost(&self, response: &http::Response<B>) -> u64 {
        response.extensions().get().map_or(1, |Units(units)| *units)
    }
}

impl<F, Request> Cost<Request> for F
where
    F: Fn(&Request) -> u64,
{
    fn cost(&self, request: &Request) -> u64 {
        self(request)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} units", self.0)
    }
}
