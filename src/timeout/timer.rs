//! The one timer of a call.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::bounds::End;
use crate::TimedOut;

/// A timer that is made when something has to be waited for, and kept from then on.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

// ===== impl Timer =====

impl Timer {
    /// Ready once `end` has come; wakes the task then, and perhaps once before.
    pub(super) fn poll(&mut self, end: End, now: Instant, cx: &mut Context<'_>) -> Poll<TimedOut> {
        // Not left to the timer, which does not go off for a task that has used up its budget of tokio's: what is waited for
        // might use up all of it each time.
        if now >= end.at {
            return Poll::Ready(end.why);
        }
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(end.at)));
        // One that goes off too early is left alone until it does: to set it costs more than all else here.
        if sleep.deadline() > end.at {
            sleep.as_mut().reset(end.at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= end.at {
                return Poll::Ready(end.why);
            }
            sleep.as_mut().reset(end.at);
        }
        Poll::Pending
    }
}
