//! The timeouts of a body.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{TimeoutLayer, bounds::End};
use crate::{error::TimedOut, http::timer::Timer};

/// Measures how long the body's reader waits.
#[derive(Debug, Default)]
pub(super) struct BodyWatch {
    /// The limit of the current wait.
    wait: Option<TimedOut>,
    /// The limit of the later waits.
    later_wait: Option<TimedOut>,
    /// The start of the current wait.
    since: Option<Instant>,
    call: Option<End>,
    timer: Timer,
}

// ===== impl BodyWatch =====

impl BodyWatch {
    /// Returns the watch of a body whose call began at `begun`, if that is limited.
    pub(super) fn new(layer: &TimeoutLayer, begun: Option<Instant>, timer: Timer) -> Self {
        let later_wait = layer.between_chunks.map(TimedOut::BetweenChunks);
        Self {
            wait: layer.first_byte.map(TimedOut::FirstByte).or(later_wait),
            later_wait,
            since: None,
            call: begun.and_then(|begun| layer.of_call(begun)),
            timer,
        }
    }

    /// Returns whether the wait for bytes is limited.
    pub(super) fn wants_bytes(&self) -> bool {
        self.wait.is_some()
    }

    /// Records a frame. Returns an error if it is too late for the whole call.
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

    /// Records that the body returned `Pending`. Returns `Ready` if that has taken too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let wait = self.wait.and_then(|why| End::new(since, why));
        match End::sooner(self.call, wait) {
            Some(end) => self.timer.poll(end.at, now, cx).map(|()| end.why),
            None => Poll::Pending,
        }
    }
}
