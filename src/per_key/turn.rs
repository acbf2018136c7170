//! A request that waits in its caller's line.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    admitted::Admitted,
    ask::Asked,
    callers::{Callers, standing_at},
    kind::{Kind, Short, Wait, Want},
    line::{Line, Whose},
};
use crate::{Limit, Reason, Rejected, key::Caller, limit::Place};

/// A place in the line of a caller. Dropping it leaves the line, from whatever place.
pub struct Turn<K: Kind> {
    callers: Arc<Callers<K>>,
    caller: Caller,
    asked: Asked<K::Plan>,
    /// There until it is dropped.
    place: Option<Place<Line>>,
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
        let place = Some(place);
        Self {
            callers,
            caller,
            asked,
            place,
            whose,
        }
    }

    pub(super) async fn reach_head(&mut self) {
        if let Some(place) = &mut self.place {
            place.reach_head().await;
        }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, Rejected)> {
        let last = self.last_instant()?;
        let (_, left) = self.room();
        let refusal = self.refusal(K::LIMIT, self.too_late(), Some(Duration::ZERO), &left);
        Some((last, refusal))
    }

    /// Takes what there was room for a moment ago, if there still is.
    pub(super) fn take(&self) -> Option<Admitted<K>> {
        let want = Want::in_turn(self.asked.cost);
        let taken = self.callers.take(self.caller, self.asked.plan, want);
        taken.mark.ok()?;
        Some(Admitted::new(
            &self.callers,
            self.caller,
            &self.asked,
            &taken,
        ))
    }

    fn last_instant(&self) -> Option<Instant> {
        self.place.as_ref()?.last_instant()
    }

    fn too_late(&self) -> Reason {
        let max_wait = self.callers.settings.max_wait();
        Reason::WaitTooLong { max_wait }
    }

    fn room(&self) -> (Result<(), Short>, K::Left) {
        let now = self.callers.clock.now();
        let (plan, cost) = (self.asked.plan, self.asked.cost);
        self.callers.table.room(self.caller, plan, cost, now)
    }

    /// Waits until something may have changed, or until `at`: whether it may have.
    async fn changed_before(&self, at: Option<Instant>) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let look_again = match self.whose {
            Whose::Caller(_) => None,
            Whose::Newcomers => Instant::now().checked_add(NEWCOMERS_LOOK_AGAIN),
        };
        let first = at.into_iter().chain(look_again).min();
        let changed = place.queue().changed();
        match first {
            None => changed.await,
            Some(first) => return timeout_at(first, changed).await.is_ok() || at != Some(first),
        }
        true
    }

    pub(super) fn tell(&self, rejected: &Rejected) {
        self.callers.tell(Some(self.caller), rejected);
    }

    fn refusal(
        &self,
        limit: Limit,
        reason: Reason,
        wait: Option<Duration>,
        left: &K::Left,
    ) -> Rejected {
        standing_at::<K>(Rejected::new(limit, reason, wait), self.asked.cost, left)
    }
}

/// Waits, as the head of its line, until there is room.
pub(super) async fn until_due<K: Kind>(turn: Turn<K>) -> Result<Turn<K>, Rejected> {
    let last = turn.last_instant();
    loop {
        let (room, left) = turn.room();
        let Err(Short { limit, wait }) = room else {
            return Ok(turn);
        };
        let (reason, wait) = match wait {
            Wait::For(nanos) => {
                let wait = Duration::from_nanos(nanos);
                let due = Instant::now().checked_add(wait);
                if last.is_none_or(|last| due.is_some_and(|due| due <= last)) {
                    turn.changed_before(due).await;
                    continue;
                }
                (turn.too_late(), Some(wait))
            }
            Wait::Unknown => {
                // A place that comes free as the time ends is taken, so no timer is late for it.
                let deadline = turn.place.as_ref().and_then(Place::deadline);
                if turn.changed_before(deadline).await {
                    continue;
                }
                (turn.too_late(), None)
            }
            Wait::Never { capacity } => {
                let cost = turn.asked.cost;
                (Reason::NeverFits { cost, capacity }, None)
            }
        };
        let rejected = turn.refusal(limit, reason, wait, &left);
        turn.tell(&rejected);
        return Err(rejected);
    }
}

impl<K: Kind> Drop for Turn<K> {
    fn drop(&mut self) {
        // First the place, so that the line is seen to be empty.
        self.place = None;
        let now = self.callers.clock.now();
        self.callers.table.leave(self.caller, self.whose, now);
    }
}

impl<K: Kind> fmt::Debug for Turn<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
