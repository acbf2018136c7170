//! Whether a request that others wait for is still being polled.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
};

use crate::sync::{AtomicU64, Ordering};

/// The waker of a request that leads. It notes what its task owes.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Twice the number of polls, and one more while the task has been woken and not polled since.
    polls: AtomicU64,
    task: Mutex<Waker>,
}

// ===== impl Pulse =====

impl Pulse {
    /// Of a request that was never polled, and should be.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            polls: AtomicU64::new(1),
            task: Mutex::new(Waker::noop().clone()),
        })
    }

    /// The task is about to poll.
    pub(super) fn begin(&self, cx: &Context<'_>) {
        self.task().clone_from(cx.waker());
        // What it wakes for later is seen later: nothing is read through this number.
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store((polls | 1) + 1, Ordering::Relaxed);
    }

    /// The same number each time for a task that was woken and is not polled.
    pub(super) fn owes(&self) -> Option<u64> {
        let polls = self.polls.load(Ordering::Relaxed);
        (polls & 1 == 1).then_some(polls)
    }

    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.polls.fetch_or(1, Ordering::Relaxed);
        let task = self.task().clone();
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_owes_a_poll_from_its_waking_on() {
        let pulse = Pulse::new();
        let first = pulse.owes();
        assert!(first.is_some());
        let cx = Context::from_waker(Waker::noop());
        pulse.begin(&cx);
        assert_eq!(pulse.owes(), None);
        let waker = Waker::from(pulse.clone());
        waker.wake_by_ref();
        let second = pulse.owes();
        assert!(second.is_some() && second != first);
        waker.wake();
        assert_eq!(pulse.owes(), second);
        pulse.begin(&cx);
        pulse.begin(&cx);
        assert_eq!(pulse.owes(), None);
    }
}
