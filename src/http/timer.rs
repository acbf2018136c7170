//! The timer of a call or a body.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest wait, because an `Instant` can't be as far in the future as a `Duration` is long.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A timer that is created at the first wait, and then reused.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The timeout has passed, and the inner future or body is polled once more.
    asked_again: bool,
}

// ===== impl Timer =====

impl Timer {
    /// Returns `Ready` once `end` has come. May wake the task once before.
    pub(crate) fn poll(&mut self, end: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if now >= end {
            return self.poll_late(cx);
        }
        self.asked_again = false;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(end)));
        // A timer that fires too early is not reset, because that is slower than one wake-up.
        if sleep.deadline() > end {
            sleep.as_mut().reset(end);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= end {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// If tokio's budget for the task is used up, every resource is `Pending`, even if it is ready,
    /// and no timer fires. Then the inner future or body is polled once more with a new budget;
    /// only once, because it may use up the budget each time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.as_mut();
        let is_sure = sleep.is_none_or(|sleep| sleep.as_mut().poll(cx).is_ready());
        if is_sure || mem::replace(&mut self.asked_again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
