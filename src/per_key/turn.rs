//! A request that waits in its caller's line.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    admitted::Admitted,
    ask::Asked,
    callers::Callers,
    kind::{Kind, Wait, Want},
    line::Line,
};
use crate::{Reason, Rejected, key::Caller, limit::Place};

/// A place in the line of a caller. Dropping it leaves the line, from whatever place.
pub struct Turn<K: Kind> {
    callers: Arc<Callers<K>>,
    caller: Caller,
    asked: Asked<K::Plan>,
    /// There until it is dropped.
    place: Option<Place<Line>>,
}

// ===== impl Turn =====

impl<K: Kind> Turn<K> {
    pub(super) fn new(
        callers: Arc<Callers<K>>,
        caller: Caller,
        asked: Asked<K::Plan>,
        place: Place<Line>,
    ) -> Self {
        let place = Some(place);
        Self {
            callers,
            caller,
            asked,
            place,
        }
    }

    pub(super) async fn reach_head(&mut self) {
        if let Some(place) = &mut self.place {
            place.reach_head().await;
        }
    }

    pub(super) fn deadline(&self) -> Option<(Instant, Rejected)> {
        let refusal = self.too_late(Some(Duration::ZERO));
        Some((self.last_instant()?, refusal))
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

    fn too_late(&self, wait: Option<Duration>) -> Rejected {
        let max_wait = self.callers.settings.max_wait();
        Rejected::new(K::LIMIT, Reason::WaitTooLong { max_wait }, wait)
    }

    fn wait(&self) -> Option<Wait> {
        let now = self.callers.clock.now();
        let (plan, cost) = (self.asked.plan, self.asked.cost);
        let room = self.callers.table.room(self.caller, plan, cost, now);
        room.err().map(|short| short.wait)
    }

    /// Waits until the line is told that something has changed, or until `at`: whether it was told.
    async fn changed_before(&self, at: Option<Instant>) -> bool {
        let Some(place) = &self.place else {
            return false;
        };
        let changed = place.queue().changed();
        match at {
            None => changed.await,
            Some(at) => return timeout_at(at, changed).await.is_ok(),
        }
        true
    }

    fn refused(&self, rejected: Rejected) -> Rejected {
        self.callers.tell(Some(self.caller), &rejected);
        rejected
    }
}

/// Waits, as the head of its line, until there is room.
pub(super) async fn until_due<K: Kind>(turn: Turn<K>) -> Result<Turn<K>, Rejected> {
    let last = turn.last_instant();
    loop {
        match turn.wait() {
            None => return Ok(turn),
            Some(Wait::For(nanos)) => {
                let wait = Duration::from_nanos(nanos);
                let due = Instant::now().checked_add(wait);
                if last.is_some_and(|last| due.is_none_or(|due| due > last)) {
                    return Err(turn.refused(turn.too_late(Some(wait))));
                }
                turn.changed_before(due).await;
            }
            Some(Wait::Unknown) => {
                // A place that comes free as the time ends is taken, so no timer is late for it.
                let deadline = turn.place.as_ref().and_then(Place::deadline);
                if !turn.changed_before(deadline).await {
                    return Err(turn.refused(turn.too_late(None)));
                }
            }
            Some(Wait::Never { capacity }) => {
                let cost = turn.asked.cost;
                let reason = Reason::NeverFits { cost, capacity };
                return Err(turn.refused(Rejected::new(K::LIMIT, reason, None)));
            }
        }
    }
}

impl<K: Kind> Drop for Turn<K> {
    fn drop(&mut self) {
        // First the place, so that the line is seen to be empty.
        self.place = None;
        self.callers.table.leave(self.caller);
    }
}

impl<K: Kind> fmt::Debug for Turn<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}
