use std::time::Duration;

use tower_service::Service;

use super::{
    body::ResponseBody,
    future::{Bounded, ResponseFuture},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody, timer::Timer},
};

/// Allows an upload of a minute, and two attempts within the default deadline of the retry.
const ATTEMPT: Duration = Duration::from_secs(120);

/// Limits the time of an attempt, of its body, and of the whole call.
///
/// See the [module docs](crate::timeout) for an example and the layer ordering.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct TimeoutLayer {
    pub(super) attempt: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    pub(super) between_chunks: Option<Duration>,
    pub(super) whole_call: Option<Duration>,
}

/// Timeout middleware, made by a [`TimeoutLayer`].
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    layer: TimeoutLayer,
}

// ===== impl TimeoutLayer =====

impl TimeoutLayer {
    /// Creates a layer that limits an attempt to 2 minutes, and has no other limit.
    ///
    /// The time includes sending the request's body. A response that is not streamed has its head
    /// only when all of it is generated. Use a longer limit if uploads or models take longer, and a
    /// shorter one if they do not: it notices a dead server earlier.
    pub const fn new() -> Self {
        Self {
            attempt: Some(ATTEMPT),
            first_byte: None,
            between_chunks: None,
            whole_call: None,
        }
    }

    /// Creates a layer that limits only the whole call, to the end of the response's body. It goes
    /// outside of all other layers.
    pub const fn whole(whole_call: Duration) -> Self {
        Self::new().no_attempt().whole_call(whole_call)
    }

    /// Sets the time until the response's head, which includes sending the request. Default:
    /// 2 minutes.
    pub const fn attempt(mut self, attempt: Duration) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Removes the limit on an attempt.
    pub const fn no_attempt(mut self) -> Self {
        self.attempt = None;
        self
    }

    /// Sets the time to wait for the first byte of the response's body, from the first poll that
    /// returns `Pending`. Default: the time of [`between_chunks`](Self::between_chunks).
    pub const fn first_byte(mut self, first_byte: Duration) -> Self {
        self.first_byte = Some(first_byte);
        self
    }

    /// Sets the time to wait for each further byte of the response's body, and for the first one
    /// unless [`first_byte`](Self::first_byte) is set. Default: no limit.
    pub const fn between_chunks(mut self, between_chunks: Duration) -> Self {
        self.between_chunks = Some(between_chunks);
        self
    }

    /// Sets the time until the end of the response's body. Default: no limit.
    pub const fn whole_call(mut self, whole_call: Duration) -> Self {
        self.whole_call = Some(whole_call);
        self
    }
}

crate::macros::default!(TimeoutLayer);

crate::macros::layer!(impl Layer for TimeoutLayer => Timeout);

// ===== impl Timeout =====

impl<S> Timeout<S> {
    crate::macros::inner!(inner);
}

impl<S, Request> Service<Request> for Timeout<S>
where
    S: Service<Request>,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
{
    type Response = Bounded<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    // Without a timeout.
    crate::macros::poll_ready!(inner);

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture {
            future: Some(self.inner.call(request)),
            layer: self.layer,
            begun: None,
            timer: Timer::default(),
        }
    }
}
