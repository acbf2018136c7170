//! A request that waits in its caller's line.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    admitted::Admitted,
    ask::Asked,
    callers::Callers,
    kind::{Kind, Short, Wait, Want},
    line::{Line, Whose},
};
use crate::{Rejected, key::Caller, limit::Place};

/// A place in the line of a caller. Dropping it leaves the line, from whatever place.
pub struct Turn<K: Kind> {
    /// Dropped before the next, so that the line is seen to be empty.
    place: Place<Line>,
    line: InLine<K>,
    asked: Asked<K::Plan>,
    /// It would be refused, but the limit only watches by now.
    passes: bool,
}

/// Lets go of a line when the last who was in it has left.
struct InLine<K: Kind> {
    callers: Arc<Callers<K>>,
    caller: Caller,
    whose: Whose,
}

/// How long newcomers to a full table wait for what they share before they look whether there are places again.
const NEWCOMERS_LOOK_AGAIN: Duration = Duration::from_secs(1);

// ===== impl Turn =====

impl<K: Kind> Turn<K> {
    pub(super) fn new(
        callers: Arc<Callers<K>>,
        caller: Caller,
        asked: Asked<K::Plan>,
        place: Place<Line>,
        whose: Whose,
    ) -> Self {
        let line = InLine {
            callers,
            caller,
            whose,
        };
        let passes = false;
        Self {
            place,
            line,
            asked,
            passes,
        }
    }

    pub(super) async fn reach_head(&mut self) {
        self.place.reach_head().await;
    }

    pub(super) fn deadline(&self) -> Option<(Instant, Rejected)> {
        if self.passes {
            return None;
        }
        let last = self.place.last_instant()?;
        let (_, left) = self.room();
        let (limit, wait) = (K::LIMIT, Wait::For(0));
        Some((last, self.rejected(Short { limit, wait }, &left)))
    }

    /// Takes what there was room for a moment ago, if there still is.
    pub(super) fn take(&self) -> Option<Admitted<K>> {
        if self.passes {
            return Some(Admitted::uncounted());
        }
        let (callers, caller) = (&self.line.callers, self.line.caller);
        let want = Want::in_turn(self.asked.cost);
        let taken = callers.take(caller, self.asked.plan, want);
        taken.mark.ok()?;
        Some(Admitted::new(callers, caller, &self.asked, &taken))
    }

    fn room(&self) -> (Result<(), Short>, K::Left) {
        let InLine {
            callers, caller, ..
        } = &self.line;
        let now = callers.clock.now();
        let (plan, cost) = (self.asked.plan, self.asked.cost);
        callers.table.room(*caller, plan, cost, now)
    }

    /// Waits until there may be room, if that is in time: whether to look again.
    async fn bears(&self, wait: Wait) -> bool {
        match wait {
            Wait::For(nanos) => {
                let due = Instant::now().checked_add(Duration::from_nanos(nanos));
                let last = self.place.last_instant();
                let in_time = last.is_none_or(|last| due.is_some_and(|due| due <= last));
                if in_time {
                    self.changed_before(due).await;
                }
                in_time
            }
            // A place that comes free as the time ends is taken, so no timer is late for it.
            Wait::Unknown => self.changed_before(self.place.deadline()).await,
            Wait::Never { .. } => false,
        }
    }

    /// Waits until something may have changed, or until `at`: whether it may have.
    async fn changed_before(&self, at: Option<Instant>) -> bool {
        let look_again = match self.line.whose {
            Whose::Caller(_) => None,
            Whose::Newcomers => Instant::now().checked_add(NEWCOMERS_LOOK_AGAIN),
        };
        let changed = self.place.queue().changed();
        let Some(first) = at.into_iter().chain(look_again).min() else {
            changed.await;
            return true;
        };
        timeout_at(first, changed).await.is_ok() || at != Some(first)
    }

    /// Tells of a refusal that nothing changes any more.
    pub(super) fn tell(&self, rejected: &Rejected) {
        let InLine {
            callers, caller, ..
        } = &self.line;
        callers.tell(Some(*caller), rejected, false);
    }

    fn rejected(&self, short: Short, left: &K::Left) -> Rejected {
        self.line.callers.rejected(self.asked.cost, short, left)
    }
}

/// Waits, as the head of its line, until there is room.
pub(super) async fn until_due<K: Kind>(mut turn: Turn<K>) -> Result<Turn<K>, Rejected> {
    loop {
        let (room, left) = turn.room();
        let Err(short) = room else {
            return Ok(turn);
        };
        if !turn.bears(short.wait).await {
            let rejected = turn.rejected(short, &left);
            let InLine {
                callers, caller, ..
            } = &turn.line;
            turn.passes = callers.passes(Some(*caller), &rejected);
            return if turn.passes { Ok(turn) } else { Err(rejected) };
        }
    }
}

impl<K: Kind> Drop for InLine<K> {
    fn drop(&mut self) {
        let now = self.callers.clock.now();
        self.callers.table.leave(self.caller, self.whose, now);
    }
}

impl<K: Kind> fmt::Debug for Turn<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("caller", &self.line.caller)
            .finish_non_exhaustive()
    }
}
