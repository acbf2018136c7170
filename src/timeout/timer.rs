//! The one timer of a call.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::bounds::End;
use crate::error::TimedOut;

/// A timer that is made when something has to be waited for, and kept from then on.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// It was too late the last time, and what is waited for is asked once more.
    asked_again: bool,
}

// ===== impl Timer =====

impl Timer {
    /// Ready once `end` has come; wakes the task then, and perhaps once before.
    pub(super) fn poll(&mut self, end: End, now: Instant, cx: &mut Context<'_>) -> Poll<TimedOut> {
        if now >= end.at {
            return self.poll_late(cx).map(|()| end.why);
        }
        self.asked_again = false;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(end.at)));
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

    /// In a task that has used up its budget of tokio's nothing is found, whatever is there, and no timer goes off. There
    /// what is waited for is asked again, with a new budget; but once, since it might use up all of it each time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_sure = match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx).is_ready(),
            None => true,
        };
        if is_sure || mem::replace(&mut self.asked_again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
