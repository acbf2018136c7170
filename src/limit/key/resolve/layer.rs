use tower_layer::Layer;

use super::Resolve;

/// Layer that looks up the client of each request. See the [module docs](crate::key::resolve) for
/// examples.
#[derive(Clone, Copy)]
#[must_use]
pub struct ResolveLayer<F> {
    look_up: F,
}

// ===== impl ResolveLayer =====

impl<F> ResolveLayer<F> {
    /// Creates a layer that calls `look_up`, a closure that gets the request and returns a future
    /// of an `Option<T>`, or of a `Result<Option<T>, Response>`.
    ///
    /// An `Err` is a response of the service, such as a 503 if the database is down or a 401 for an
    /// unknown key, so the error type of the service does not change. If an inner layer gives
    /// responses another body, as a [`ConcurrencyLayer`](crate::ConcurrencyLayer) does,
    /// `response.map(Into::into)` has that type.
    ///
    /// The future outlives the borrow of the request: copy what it needs before `async move`.
    pub const fn new(look_up: F) -> Self {
        Self { look_up }
    }
}

crate::macros::debug!(impl<F> Debug for ResolveLayer<F> |self| { .. });

impl<S, F: Clone> Layer<S> for ResolveLayer<F> {
    type Service = Resolve<S, F>;

    fn layer(&self, inner: S) -> Resolve<S, F> {
        Resolve::new(inner, self.look_up.clone())
    }
}
