use std::time::Duration;

use tower_layer::Layer;

use super::{Timeout, bounds::TimeoutBounds};

/// As long as the clients of AI providers wait for a head at least.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Bounds how long an attempt, its body, and the whole call may take.
///
/// See the [module docs](crate::timeout) for an example and the order of layers.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct TimeoutLayer {
    bounds: TimeoutBounds,
}

// ===== impl TimeoutLayer =====

impl TimeoutLayer {
    /// A layer that gives an attempt 30 seconds, and bounds nothing else.
    ///
    /// An answer that is not streamed has its head when all of it is written: give models that think for longer more time.
    pub const fn new() -> Self {
        Self {
            bounds: TimeoutBounds::new(),
        }
        .attempt(ATTEMPT)
    }

    /// A layer that bounds the whole call, to the end of the response's body, and nothing else: for the outside of all layers.
    pub const fn whole(whole_call: Duration) -> Self {
        Self::new().no_attempt().whole_call(whole_call)
    }

    /// How long until the response's head is there. 30 s unless told otherwise.
    pub const fn attempt(mut self, attempt: Duration) -> Self {
        self.bounds.attempt = Some(attempt);
        self
    }

    /// Gives an attempt as long as it needs.
    pub const fn no_attempt(mut self) -> Self {
        self.bounds.attempt = None;
        self
    }

    /// How long to wait for the first byte of the response's body, once it was asked for.
    pub const fn first_byte(mut self, first_byte: Duration) -> Self {
        self.bounds.first_byte = Some(first_byte);
        self
    }

    /// How long to wait for each byte of the response's body but the first, and for that, too, unless it has a bound
    /// [of its own](Self::first_byte).
    pub const fn between_chunks(mut self, between_chunks: Duration) -> Self {
        self.bounds.between_chunks = Some(between_chunks);
        self
    }

    /// How long until the response's body has ended.
    pub const fn whole_call(mut self, whole_call: Duration) -> Self {
        self.bounds.whole_call = Some(whole_call);
        self
    }
}

impl Default for TimeoutLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout::new(inner, self.bounds)
    }
}
