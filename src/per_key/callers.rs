//! What all handles of a limiter share, and how its service is let in.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Refused,
    admitted::Admitted,
    ask::{Asked, Who},
    kind::{Kind, Want},
    table::{Table, Taken},
};
use crate::{
    Clock, Reason, Rejected,
    key::Caller,
    limit::{Bounds, Front, Gate, Patience, Place, Schedule, Waiting},
    quota::nanos,
    rejected::Standings,
};

/// The state that all handles share.
pub struct Callers<K: Kind> {
    pub(super) table: Table<K>,
    pub(super) clock: Clock,
    pub(super) refused: AtomicU64,
    pub(super) settings: Settings,
}

/// What may be changed at any time. A lone value each, so all is relaxed.
pub(super) struct Settings {
    pub(super) shadow: AtomicBool,
    pub(super) bounds: Bounds,
    pub(super) hook: OnceLock<Hook>,
}

pub(super) type Hook = Arc<dyn Fn(&Refused) + Send + Sync>;

// ===== impl Settings =====

impl Settings {
    pub(super) fn new() -> Self {
        let bounds = Bounds::new();
        bounds.set_max_wait(Duration::ZERO);
        Self {
            shadow: AtomicBool::new(false),
            bounds,
            hook: OnceLock::new(),
        }
    }
}

impl Clone for Settings {
    fn clone(&self) -> Self {
        Self {
            shadow: self.shadow.load(Ordering::Relaxed).into(),
            bounds: self.bounds.clone(),
            hook: self.hook.clone(),
        }
    }
}

// ===== impl Callers =====

impl<K: Kind> Callers<K> {
    #[inline]
    pub(super) fn take(&self, caller: Caller, plan: Option<K::Plan>, want: Want) -> Taken<K> {
        self.table.take(caller, plan, want, self.clock.now())
    }

    fn is_shadow(&self) -> bool {
        self.settings.shadow.load(Ordering::Relaxed)
    }

    /// Tells of a request that is refused, or would be.
    #[cold]
    fn tell(&self, asked: &Asked<K::Plan>, rejected: &Rejected, passed: bool) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = self.settings.hook.get() {
            let is_known = !matches!(asked.who, Who::Unknown);
            hook(&Refused {
                caller: is_known.then(|| asked.caller()),
                rejected: rejected.clone(),
                passed,
            });
        }
    }

    /// For one who finds no room. A limit that only watches lets nobody wait, either.
    #[cold]
    fn short(
        &self,
        asked: &Asked<K::Plan>,
        rejected: Rejected,
        shared: bool,
    ) -> Result<Admitted<K>, Rejected> {
        if !self.is_shadow() {
            return Err(rejected);
        }
        let max_wait = self.settings.bounds.max_wait_or(Duration::ZERO);
        let wait = rejected.retry_after();
        if rejected.never_fits() || max_wait.is_zero() || wait > Some(max_wait) {
            self.tell(asked, &rejected.within(max_wait), true);
        } else if let Some(wait) = wait {
            // It takes for it what it would get then, for else nobody who comes after it would ever be seen to wait too long.
            let now = self.clock.now();
            let then = now.saturating_add(nanos(wait));
            let take = |count: &mut K, rule: &K::Rule| {
                count.add(rule, Want::at_once(asked.cost), then);
            };
            let caller = asked.caller();
            self.table.change(caller, asked.plan, shared, now, take);
        }
        Ok(Admitted::uncounted())
    }

    /// Whether there is room for the head of a line, and how its caller stands.
    fn room(&self, asked: &Asked<K::Plan>) -> (Result<(), Rejected>, K::Left) {
        let now = self.clock.now();
        self.table.room(asked.caller(), asked.plan, asked.cost, now)
    }
}

impl<K: Kind> Gate for Arc<Callers<K>> {
    type Ask = Asked<K::Plan>;
    type Pass = Admitted<K>;
    type Turn = Front<Self>;

    fn bounds(&self) -> &Bounds {
        &self.settings.bounds
    }

    #[inline]
    fn enter(&self, asked: &Asked<K::Plan>) -> Result<Admitted<K>, Rejected> {
        match asked.who {
            Who::Exempt => return Ok(Admitted::uncounted()),
            Who::Unknown => {
                let rejected = Rejected::new(K::LIMIT, Reason::NoKey, None);
                return self.short(asked, rejected, false);
            }
            Who::Caller(_) | Who::Nobody => {}
        }
        let taken = self.take(asked.caller(), asked.plan, Want::at_once(asked.cost));
        match taken.mark {
            Ok(mark) => Ok(Admitted::new(self, asked, mark, taken.left, taken.shared)),
            Err(rejected) => {
                let rejected = standing_at::<K>(rejected, asked.cost, &taken.left);
                self.short(asked, rejected, taken.shared)
            }
        }
    }

    fn join(
        &self,
        asked: Asked<K::Plan>,
        patience: Patience,
    ) -> Result<Waiting<Self::Turn>, Rejected> {
        let join = |line| Place::join(line, asked.cost, patience);
        let place = self.table.join(asked.caller(), join);
        Front::wait(self, asked, place)
    }

    fn refuse(&self, asked: &Asked<K::Plan>, rejected: &Rejected) -> Option<Admitted<K>> {
        let passes = self.is_shadow();
        self.tell(asked, rejected, passes);
        passes.then(Admitted::uncounted)
    }
}

impl<K: Kind> Schedule for Arc<Callers<K>> {
    fn look(&self, asked: &Asked<K::Plan>) -> Result<(), Rejected> {
        let (room, left) = self.room(asked);
        room.map_err(|rejected| standing_at::<K>(rejected, asked.cost, &left))
    }

    fn take_in_turn(&self, asked: &Asked<K::Plan>) -> Option<Admitted<K>> {
        let taken = self.take(asked.caller(), asked.plan, Want::in_turn(asked.cost));
        let mark = taken.mark.ok()?;
        Some(Admitted::new(self, asked, mark, taken.left, taken.shared))
    }

    fn late(&self, asked: &Asked<K::Plan>) -> Rejected {
        let (_, left) = self.room(asked);
        let rejected = Rejected::too_long(K::LIMIT, Duration::ZERO, Some(Duration::ZERO));
        standing_at::<K>(rejected, asked.cost, &left)
    }

    fn left(&self, asked: &Asked<K::Plan>) {
        self.table.leave(asked.caller(), self.clock.now());
    }
}

/// Adds where the caller stands to the refusal of a request.
fn standing_at<K: Kind>(rejected: Rejected, cost: u64, left: &K::Left) -> Rejected {
    let mut standings = Standings::new(cost);
    K::standings(left, &mut |standing| standings.push(standing));
    rejected.standing_at(standings)
}

impl<K: Kind> fmt::Debug for Callers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}
