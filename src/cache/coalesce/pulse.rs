use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// The waker of the leading request. It notes whether the request is polled once it was woken.
pub(super) struct Pulse(Mutex<Beat>);

struct Beat {
    task: Waker,
    /// The time since which a poll is due.
    woken: Option<Instant>,
}

// ===== impl Pulse =====

impl Pulse {
    /// Returns the pulse of a request that was not polled yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Beat {
            task: Waker::noop().clone(),
            woken: Some(Instant::now()),
        })))
    }

    /// Records a poll.
    pub(super) fn begin(&self, cx: &Context<'_>) {
        let mut beat = self.lock();
        beat.task.clone_from(cx.waker());
        beat.woken = None;
    }

    /// Returns whether a poll has been due for `limit`.
    pub(super) fn is_overdue(&self, limit: Duration) -> bool {
        let woken = self.lock().woken;
        woken.is_some_and(|woken| woken.elapsed() >= limit)
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut beat = self.lock();
        beat.woken.get_or_insert_with(Instant::now);
        let task = beat.task.clone();
        drop(beat);
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_due_once_the_task_is_woken() {
        const LIMIT: Duration = Duration::from_secs(1);
        let pulse = Pulse::new();
        let cx = Context::from_waker(Waker::noop());
        assert!(!pulse.is_overdue(LIMIT));
        tokio::time::advance(LIMIT).await;
        assert!(pulse.is_overdue(LIMIT));
        pulse.begin(&cx);
        tokio::time::advance(LIMIT * 10).await;
        assert!(!pulse.is_overdue(LIMIT));
        let waker = Waker::from(pulse.clone());
        waker.wake_by_ref();
        tokio::time::advance(LIMIT / 2).await;
        waker.wake();
        assert!(!pulse.is_overdue(LIMIT));
        tokio::time::advance(LIMIT / 2).await;
        assert!(pulse.is_overdue(LIMIT));
        pulse.begin(&cx);
        assert!(!pulse.is_overdue(LIMIT));
    }
}
