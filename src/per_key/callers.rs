//! What all handles of a limiter share, and how its service is let in.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Refused,
    admitted::Admitted,
    ask::{Asked, Who},
    kind::{Kind, Short, Wait, Want},
    table::{Table, Taken},
    turn::{Turn, until_due},
};
use crate::{
    Clock, Reason, Rejected,
    key::Caller,
    limit::{Entry, Gate, Place, Waiting},
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
#[derive(Default)]
pub(super) struct Settings {
    pub(super) shadow: AtomicBool,
    max_wait: AtomicU64,
    max_waiting: AtomicUsize,
    pub(super) hook: OnceLock<Hook>,
}

pub(super) type Hook = Arc<dyn Fn(&Refused) + Send + Sync>;

// ===== impl Settings =====

impl Settings {
    pub(super) fn new() -> Self {
        let settings = Self::default();
        settings.set_max_waiting(usize::MAX);
        settings
    }

    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        let relaxed = Ordering::Relaxed;
        copy.shadow.store(self.shadow.load(relaxed), relaxed);
        copy.set_max_wait(self.max_wait());
        copy.set_max_waiting(self.max_waiting.load(relaxed));
        if let Some(hook) = self.hook.get() {
            let _ = copy.hook.set(hook.clone());
        }
        copy
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait.load(Ordering::Relaxed))
    }

    pub(super) fn set_max_wait(&self, max_wait: Duration) {
        self.max_wait.store(nanos(max_wait), Ordering::Relaxed);
    }

    pub(super) fn set_max_waiting(&self, max_waiting: usize) {
        self.max_waiting.store(max_waiting, Ordering::Relaxed);
    }
}

// ===== impl Callers =====

impl<K: Kind> Callers<K> {
    #[inline]
    pub(super) fn take(&self, caller: Caller, plan: Option<K::Plan>, want: Want) -> Taken<K> {
        self.table.take(caller, plan, want, self.clock.now())
    }

    /// Tells of a request that is refused, or would be: whether it passes all the same.
    #[cold]
    pub(super) fn passes(&self, caller: Option<Caller>, rejected: &Rejected) -> bool {
        let passed = self.settings.shadow.load(Ordering::Relaxed);
        self.tell(caller, rejected, passed);
        passed
    }

    #[cold]
    pub(super) fn tell(&self, caller: Option<Caller>, rejected: &Rejected, passed: bool) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = self.settings.hook.get() {
            let rejected = rejected.clone();
            hook(&Refused {
                caller,
                rejected,
                passed,
            });
        }
    }

    fn refuse(&self, caller: Option<Caller>, rejected: Rejected) -> Entry<Admitted<K>> {
        if self.passes(caller, &rejected) {
            return Entry::Pass(Admitted::uncounted());
        }
        Entry::Never(rejected)
    }

    /// For one who finds no room: whether it may wait.
    #[cold]
    fn short(
        &self,
        caller: Caller,
        asked: &Asked<K::Plan>,
        short: Short,
        taken: &Taken<K>,
    ) -> Entry<Admitted<K>> {
        let (cost, left) = (asked.cost, &taken.left);
        let max_wait = self.settings.max_wait();
        let wait = short.wait.known();
        let is_patient = !max_wait.is_zero() && wait.is_none_or(|wait| wait <= max_wait);
        if is_patient && !matches!(short.wait, Wait::Never { .. }) {
            if !self.settings.shadow.load(Ordering::Relaxed) {
                return Entry::Wait(wait);
            }
            // A limit that only watches lets nobody wait, either. It takes for it what it would get then, for else nobody who comes
            // after it would ever be seen to wait too long.
            if let Some(wait) = wait {
                let now = self.clock.now();
                let then = now.saturating_add(nanos(wait));
                let take = |count: &mut K, rule: &K::Rule| {
                    count.add(rule, Want::at_once(cost), then);
                };
                self.table
                    .change(caller, asked.plan, taken.shared, now, take);
            }
            return Entry::Pass(Admitted::uncounted());
        }
        self.refuse(Some(caller), self.rejected(cost, short, left))
    }

    /// The refusal of a request that finds no room, and may not wait for it, or no longer.
    pub(super) fn rejected(&self, cost: u64, short: Short, left: &K::Left) -> Rejected {
        let reason = short.reason(cost, self.settings.max_wait());
        let rejected = Rejected::new(short.limit, reason, short.wait.known());
        standing_at::<K>(rejected, cost, left)
    }
}

impl<K: Kind> Gate for Arc<Callers<K>> {
    type Ask = Asked<K::Plan>;
    type Pass = Admitted<K>;
    type Turn = Turn<K>;

    #[inline]
    fn enter(&self, asked: &Asked<K::Plan>) -> Entry<Admitted<K>> {
        let caller = match asked.who {
            Who::Caller(caller) => caller,
            Who::Nobody => Caller::EVERYONE,
            Who::Exempt => return Entry::Pass(Admitted::uncounted()),
            Who::Unknown => {
                return self.refuse(None, Rejected::new(K::LIMIT, Reason::NoKey, None));
            }
        };
        let taken = self.take(caller, asked.plan, Want::at_once(asked.cost));
        match taken.mark {
            Ok(_) => Entry::Pass(Admitted::new(self, caller, asked, &taken)),
            Err(short) => self.short(caller, asked, short, &taken),
        }
    }

    fn wait(
        &self,
        asked: Asked<K::Plan>,
        expected: Option<Duration>,
        _: Duration,
    ) -> Result<Waiting<Turn<K>>, Rejected> {
        let caller = match asked.who {
            Who::Caller(caller) => caller,
            _ => Caller::EVERYONE,
        };
        let max_wait = self.settings.max_wait();
        let max_waiting = self.settings.max_waiting.load(Ordering::Relaxed);
        let now = self.clock.now();
        let (room, left) = self.table.room(caller, asked.plan, asked.cost, now);
        let limit = room.err().map_or(K::LIMIT, |short| short.limit);
        let place = self.table.join(caller, |line| {
            line.set_max_waiting(max_waiting);
            Place::join(line, limit, asked.cost, expected, max_wait)
        });
        let (place, whose) = place.map_err(|rejected| {
            let rejected = standing_at::<K>(rejected, asked.cost, &left);
            self.tell(Some(caller), &rejected, false);
            rejected
        })?;
        let turn = Turn::new(self.clone(), caller, asked, place, whose);
        Ok(Box::pin(async move {
            let mut turn = turn;
            turn.reach_head().await;
            until_due(turn).await
        }))
    }

    fn deadline(turn: &Turn<K>) -> Option<(Instant, Rejected)> {
        turn.deadline()
    }

    fn expired(turn: &Turn<K>, rejected: &Rejected) {
        turn.tell(rejected);
    }

    fn take(turn: Turn<K>) -> Result<Admitted<K>, Waiting<Turn<K>>> {
        match turn.take() {
            Some(admitted) => Ok(admitted),
            // The place, and with it the turn, is kept.
            None => Err(Box::pin(until_due(turn))),
        }
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
