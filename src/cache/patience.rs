//! How long one ahead waits for those behind.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// They are passed over if none of them reads on for so long.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Patience(Option<Waiting>);

struct Waiting {
    sleep: Pin<Box<Sleep>>,
    /// Where those behind are.
    base: usize,
}

// ===== impl Patience =====

impl Patience {
    /// Ready once those behind have been at `base` for too long.
    pub(super) fn poll(&mut self, base: usize, cx: &mut Context<'_>) -> Poll<()> {
        let waiting = self.0.get_or_insert_with(|| Waiting::at(base));
        if waiting.base != base {
            *waiting = Waiting::at(base);
        }
        waiting.sleep.as_mut().poll(cx)
    }

    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

impl Waiting {
    fn at(base: usize) -> Self {
        let sleep = Box::pin(sleep(GRACE));
        Self { sleep, base }
    }
}
