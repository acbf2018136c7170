//! Many tasks that wait for one thing that any of them may poll.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

/// Wakes all who wait. As the waker of what they wait for, it lets one of them poll it.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Parked>);

#[derive(Debug, Default)]
struct Parked {
    /// The thing was not polled since it asked to be.
    is_due: bool,
    wakers: BTreeMap<u64, Waker>,
}

// ===== impl Wakers =====

impl Wakers {
    /// Of a thing that was never polled.
    pub(super) fn new() -> Self {
        let wakers = Self::default();
        wakers.again();
        wakers
    }

    /// Ready for one task each time that the thing is to be polled.
    pub(super) fn poll_turn(&self, id: u64, cx: &Context<'_>) -> Poll<()> {
        let mut parked = self.lock();
        if mem::take(&mut parked.is_due) {
            return Poll::Ready(());
        }
        parked.park(id, cx);
        Poll::Pending
    }

    /// To be called by who had the turn and found the thing pending.
    pub(super) fn wait_turn(&self, id: u64, cx: &Context<'_>) {
        let mut parked = self.lock();
        if parked.is_due {
            drop(parked);
            // Not polled again at once: things that yield to others would not get to.
            cx.waker().wake_by_ref();
        } else {
            parked.park(id, cx);
        }
    }

    /// Waits for something else that ends in [`wake_all`](Self::wake_all).
    pub(super) fn wait(&self, id: u64, cx: &Context<'_>) {
        self.lock().park(id, cx);
    }

    /// The thing may have more.
    pub(super) fn again(&self) {
        self.lock().is_due = true;
    }

    pub(super) fn leave(&self, id: u64) {
        let gone = self.lock().wakers.remove(&id);
        drop(gone);
    }

    pub(super) fn wake_all(&self) {
        let woken = mem::take(&mut self.lock().wakers);
        for waker in woken.into_values() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Parked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again();
        self.wake_all();
    }
}

// ===== impl Parked =====

impl Parked {
    fn park(&mut self, id: u64, cx: &Context<'_>) {
        match self.wakers.get_mut(&id) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.wakers.insert(id, cx.waker().clone());
            }
        }
    }
}
