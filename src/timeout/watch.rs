//! The clocks that run for a body.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{
    bounds::{End, TimeoutBounds},
    timer::Timer,
};
use crate::error::TimedOut;

/// How long a body has been waited for, and how long it may be.
#[derive(Debug, Default)]
pub(super) struct BodyWatch {
    /// What bounds the wait for the next byte.
    wait: Option<TimedOut>,
    /// What bounds those after it.
    later_wait: Option<TimedOut>,
    /// Since when there was nothing.
    since: Option<Instant>,
    call: Option<End>,
    timer: Timer,
}

// ===== impl BodyWatch =====

impl BodyWatch {
    /// For the body of a call that began then, where that is bounded.
    pub(super) fn new(bounds: &TimeoutBounds, begun: Option<Instant>, timer: Timer) -> Self {
        Self {
            wait: bounds.first_wait(),
            later_wait: bounds.later_wait(),
            since: None,
            call: begun.and_then(|begun| bounds.of_call(begun)),
            timer,
        }
    }

    /// Whether it is bytes that are waited for, and for so long only.
    pub(super) fn wants_bytes(&self) -> bool {
        self.wait.is_some()
    }

    /// There was something. An error if it is too late for the call.
    pub(super) fn passed(&mut self, is_progress: bool) -> Result<(), TimedOut> {
        if is_progress {
            self.since = None;
            self.wait = self.later_wait;
        }
        match self.call {
            Some(end) if Instant::now() > end.at => Err(end.why),
            _ => Ok(()),
        }
    }

    /// There was nothing. Ready if it has been so for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        if self.wait.is_none() && self.call.is_none() {
            return Poll::Pending;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let wait = self.wait.and_then(|why| End::new(since, why));
        match End::sooner(self.call, wait) {
            Some(end) => self.timer.poll(end, now, cx),
            None => Poll::Pending,
        }
    }
}
