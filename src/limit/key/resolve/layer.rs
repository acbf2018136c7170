use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::Resolve;

/// Looks up whose each request is, and tells what stands further in. See the [module docs](crate::key::resolve) for examples.
#[derive(Clone, Copy)]
#[must_use]
pub struct ResolveLayer<F> {
    look_up: F,
}

// ===== impl ResolveLayer =====

impl<F> ResolveLayer<F> {
    /// A layer that asks `look_up`, a closure that gets the request and returns a future of an `Option<T>`, or of a `Result` of
    /// one whose error is an answer: see [`Resolution`](super::Resolution).
    ///
    /// The future outlives the borrow of the request: what it needs of it is copied out before `async move`.
    pub const fn new(look_up: F) -> Self {
        Self { look_up }
    }
}

impl<F> fmt::Debug for ResolveLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveLayer")
            .field("look_up", &type_name::<F>())
            .finish()
    }
}

impl<S, F: Clone> Layer<S> for ResolveLayer<F> {
    type Service = Resolve<S, F>;

    fn layer(&self, inner: S) -> Resolve<S, F> {
        Resolve::new(inner, self.look_up.clone())
    }
}
