//! The limiter on its own.

mod in_flight;
mod rates;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    ask::{Demand, Who},
    callers::{Callers, PerKeySettings},
    kind::{Bucket, Kind},
    table::Table,
};
use crate::limit::{clock::Clock, key::ClientKey};

/// How many callers are told apart unless told otherwise.
const MAX_CALLERS: usize = 1_000_000;

/// What the first limit is called unless told otherwise.
pub(super) const DEFAULT: &str = "default";

/// A limit for each caller, on its own: a [`Bucket`] unless `K` says otherwise. A clone is another handle to the same limit.
///
/// ```
/// use tower_throttle::{Decision, Quota, key::ClientKey, per_key::PerKeyLimiter};
///
/// let limiter = PerKeyLimiter::new(Quota::per_minute(1));
/// assert_eq!(limiter.try_acquire("ann".into(), 1), Decision::Admit);
/// assert!(!limiter.try_acquire("ann".into(), 1).is_admit());
/// assert_eq!(limiter.try_acquire("bob".into(), 1), Decision::Admit);
///
/// limiter.set_limits(Quota::per_minute(2));
/// assert_eq!(limiter.try_acquire("ann".into(), 1), Decision::Admit);
/// assert_eq!(limiter.top(1)[0].caller, ClientKey::from("ann"));
/// ```
#[derive(Clone)]
pub struct PerKeyLimiter<K: Kind = Bucket>(pub(super) Arc<Callers<K>>);

/// What a caller has used of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientUsage {
    /// Who.
    pub caller: ClientKey,
    /// The units that it has taken and that are not there again; of several limits the most.
    pub used: u64,
}

// ===== impl PerKeyLimiter =====

impl<K: Kind> PerKeyLimiter<K> {
    pub(super) fn from_plan(plan: K::Plan, names: K::Names) -> Self {
        let table = Table::new(plan, names, MAX_CALLERS);
        Self::new_in(table, Clock::tokio(), PerKeySettings::new())
    }

    fn new_in(table: Table<K>, clock: Clock, settings: PerKeySettings) -> Self {
        Self(Arc::new(Callers {
            table,
            clock,
            refused: AtomicU64::new(0),
            settings,
        }))
    }

    /// A limiter with the same settings, and from which nothing has been taken yet.
    fn with<K2: Kind>(
        &self,
        (plan, names): (K2::Plan, K2::Names),
        max_callers: usize,
        clock: Clock,
    ) -> PerKeyLimiter<K2> {
        let table = Table::new(plan, names, max_callers);
        PerKeyLimiter::new_in(table, clock, self.0.settings.clone())
    }

    /// A limiter like this one that tells up to `max_callers` apart, and from which nothing has been taken yet.
    ///
    /// Those who come when as many as that are not idle share what a few have: see the [module docs](super#memory). With 0, all do.
    #[must_use]
    pub fn max_callers(&self, max_callers: usize) -> Self {
        let table = &self.0.table;
        self.with(
            (table.limits(), table.names()),
            max_callers,
            self.0.clock.clone(),
        )
    }

    /// A limiter like this one that reads `clock`, and from which nothing has been taken yet.
    #[must_use]
    pub fn clock(&self, clock: Clock) -> Self {
        let table = &self.0.table;
        self.with((table.limits(), table.names()), table.max_callers(), clock)
    }

    /// What each caller is allowed that has no plan of its own.
    #[must_use]
    pub fn limits(&self) -> K::Plan {
        self.0.table.limits()
    }

    /// Gives every caller without a plan of its own another one, at once. What was used stays used, in units. Of a token bucket
    /// no more than all of the new quota. Looks at each caller that is kept.
    pub fn set_limits(&self, plan: K::Plan) {
        self.0.table.set_limits(plan, self.0.clock.now());
    }

    /// Lets everything pass that would be refused, counts it, and tells the hook; or stops that. Such a request takes nothing.
    ///
    /// One that would wait passes, too, and takes ahead of time what it would get then. Of what is [in flight](super::InFlight) nobody
    /// knows when that would be, so what would wait for a place is not counted: watch with no [`max_wait`](super::PerKeyLayer::max_wait).
    pub fn set_shadow(&self, shadow: bool) {
        self.0.settings.shadow.store(shadow, Ordering::Relaxed);
    }

    /// How many requests were refused, or would have been.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How many callers are kept in memory, some idle ones among them.
    #[must_use]
    pub fn callers(&self) -> usize {
        self.0.table.callers()
    }

    /// The units that `caller` has taken and that are not there again.
    #[must_use]
    pub fn used(&self, caller: ClientKey) -> u64 {
        self.0.table.used(caller, self.0.clock.now())
    }

    /// The `most` callers that have used the most, the first first. Reads the whole table, one part after the other.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<ClientUsage> {
        // Twice as many are kept before the smaller half goes, so that a million callers take little memory.
        let mut top = Vec::new();
        let order = |usage: &ClientUsage| std::cmp::Reverse(usage.used);
        self.0.table.each(self.0.clock.now(), |caller, used| {
            if used > 0 {
                top.push(ClientUsage { caller, used });
            }
            if top.len() >= most.saturating_mul(2).max(1_024) {
                top.sort_by_key(order);
                top.truncate(most);
            }
        });
        top.sort_by_key(order);
        top.truncate(most);
        top
    }

    /// Sets the name of the first limit, for all handles of the limiter.
    pub(super) fn rename(&self, name: &'static str) {
        self.0.table.rename(|names| K::rename(names, name));
    }
}

/// What is asked for without a request.
fn asked<Plan>(caller: ClientKey, cost: u64) -> Demand<Plan> {
    Demand::new(Who::ClientKey(caller), cost)
}

impl<K: Kind> fmt::Debug for PerKeyLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKeyLimiter")
            .field("plan", &self.limits())
            .field("callers", &self.callers())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}
