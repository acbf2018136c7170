use std::{future::Future, mem};

use tower_service::Service;

use super::{Attach, found::Resolution, future::ResponseFuture};

/// Service that looks up the client of each request. See the [module docs](crate::key::resolve) for
/// examples.
#[derive(Clone)]
pub struct Resolve<S, F> {
    inner: S,
    look_up: F,
}

// ===== impl Resolve =====

impl<S, F> Resolve<S, F> {
    pub(super) const fn new(inner: S, look_up: F) -> Self {
        Self { inner, look_up }
    }

    crate::macros::inner!(inner);
}

impl<S, F, L, Request> Service<Request> for Resolve<S, F>
where
    S: Service<Request> + Clone,
    F: Fn(&Request) -> L,
    L: Future,
    L::Output: Resolution<S::Response>,
    Request: Attach<<L::Output as Resolution<S::Response>>::KeyedService>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request, L>;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: Request) -> Self::Future {
        let look_up = (self.look_up)(&request);
        // Whether the look-up has to wait is known once it was polled, and then it can't be moved.
        // So it is polled in the future, which gets the instance that was polled ready.
        let fresh = self.inner.clone();
        let ready = mem::replace(&mut self.inner, fresh);
        ResponseFuture::new(look_up, ready, request)
    }
}

crate::macros::debug!(impl<S: std::fmt::Debug, F> Debug for Resolve<S, F> |self| { inner, .. });
