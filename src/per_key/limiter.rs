//! The limiter, and what its service asks of it.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    ask::{Asked, Who},
    bucket::Taken,
    table::Table,
};
use crate::{
    Clock, Decision, Limit, Quota, Reason, Rejected,
    key::Caller,
    limit::{Entry, Gate, Waiting},
    rejected::Standing,
};

/// How many callers are told apart unless told otherwise.
pub(super) const MAX_CALLERS: usize = 1_000_000;

/// A token bucket for each caller, on its own. A clone is another handle to the same buckets.
///
/// ```
/// use tower_throttle::{Decision, Quota, key::Caller, per_key::PerKeyLimiter};
///
/// let limiter = PerKeyLimiter::new(Quota::per_minute(1));
/// assert_eq!(limiter.try_acquire("ann".into(), 1), Decision::Admit);
/// assert!(!limiter.try_acquire("ann".into(), 1).is_admit());
/// assert_eq!(limiter.try_acquire("bob".into(), 1), Decision::Admit);
///
/// limiter.set_quota(Quota::per_minute(2));
/// assert_eq!(limiter.try_acquire("ann".into(), 1), Decision::Admit);
/// assert_eq!(limiter.top(1)[0].caller, Caller::from("ann"));
/// ```
#[derive(Clone)]
pub struct PerKeyLimiter(pub(super) Arc<Callers>);

/// The state that all handles share.
pub struct Callers {
    table: Table,
    clock: Clock,
    refused: AtomicU64,
    shadow: AtomicBool,
    hook: OnceLock<Hook>,
}

pub(super) type Hook = Box<dyn Fn(&Refused) + Send + Sync>;

/// A request that was refused, or would have been. What a [hook](super::PerKeyLayer::on_refused) is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refused {
    /// Whose it was, where it said so.
    pub caller: Option<Caller>,
    /// Why.
    pub rejected: Rejected,
    /// Whether it was let pass all the same, since the limit only [watches](PerKeyLimiter::set_shadow).
    pub passed: bool,
}

/// What a caller has used of its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallerUsage {
    /// Who.
    pub caller: Caller,
    /// The units that it has taken and that have not refilled.
    pub used: u64,
}

/// What an admitted request holds: where the caller's limit stands, if it was asked.
#[derive(Debug)]
pub struct Admitted(Option<Taken>);

// ===== impl PerKeyLimiter =====

impl PerKeyLimiter {
    /// A limiter with `quota` for each of up to 1,000,000 callers.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_max_callers(quota, MAX_CALLERS)
    }

    /// A limiter with `quota` for each of up to `max_callers`.
    ///
    /// Those who come when as many as that are not idle share a few buckets: see the [module docs](super#memory). With 0, all do.
    #[must_use]
    pub fn with_max_callers(quota: Quota, max_callers: usize) -> Self {
        Self::with_clock(quota, max_callers, Clock::tokio())
    }

    /// The same, reading `clock`.
    #[must_use]
    pub fn with_clock(quota: Quota, max_callers: usize, clock: Clock) -> Self {
        Self(Arc::new(Callers {
            table: Table::new(quota, max_callers),
            clock,
            refused: AtomicU64::new(0),
            shadow: AtomicBool::new(false),
            hook: OnceLock::new(),
        }))
    }

    /// Takes `cost` units of `caller` now, or says how long it would take.
    pub fn try_acquire(&self, caller: Caller, cost: u64) -> Decision {
        self.0.take(caller, cost, None).decision
    }

    /// The quota of each caller that has none of its own.
    pub fn quota(&self) -> Quota {
        self.0.table.quota()
    }

    /// Gives every caller without a quota of its own another one, at once. What was used stays used, in units, up to all of the
    /// new quota. Looks at each caller that is kept.
    pub fn set_quota(&self, quota: Quota) {
        self.0.table.set_quota(quota, self.0.clock.now());
    }

    /// Lets everything pass that would be refused, counts it, and tells the hook; or stops that. Such a request takes nothing.
    pub fn set_shadow(&self, shadow: bool) {
        // Relaxed, as with all of these: lone values.
        self.0.shadow.store(shadow, Ordering::Relaxed);
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

    /// The `most` callers that have used the most, the first first. Reads the whole table, one part after the other.
    #[must_use]
    pub fn top(&self, most: usize) -> Vec<CallerUsage> {
        // Twice as many are kept before the smaller half goes, so that a million callers take little memory.
        let mut top = Vec::new();
        let order = |usage: &CallerUsage| std::cmp::Reverse(usage.used);
        self.0.table.each(self.0.clock.now(), |caller, used| {
            if used > 0 {
                top.push(CallerUsage { caller, used });
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

    pub(super) fn set_hook(&self, hook: Hook) {
        // Whoever shares the limiter shares the hook: the first stays.
        let _ = self.0.hook.set(hook);
    }
}

impl fmt::Debug for PerKeyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKeyLimiter")
            .field("quota", &self.quota())
            .field("callers", &self.callers())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}

// ===== impl Callers =====

impl Callers {
    #[inline]
    fn take(&self, caller: Caller, cost: u64, quota: Option<Quota>) -> Taken {
        self.table.take(caller, cost, quota, self.clock.now())
    }

    #[cold]
    fn refuse(&self, caller: Option<Caller>, rejected: Rejected) -> Entry<Admitted> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let passed = self.shadow.load(Ordering::Relaxed);
        let refused = Refused {
            caller,
            rejected,
            passed,
        };
        if let Some(hook) = self.hook.get() {
            hook(&refused);
        }
        if passed {
            return Entry::Pass(Admitted(None));
        }
        Entry::Never(refused.rejected)
    }
}

impl Gate for Arc<Callers> {
    type Ask = Asked;
    type Pass = Admitted;
    type Turn = Infallible;

    #[inline]
    fn enter(&self, asked: &Asked) -> Entry<Admitted> {
        let caller = match asked.who {
            Who::Caller(caller) => caller,
            Who::Exempt => return Entry::Pass(Admitted(None)),
            Who::Unknown => {
                return self.refuse(None, Rejected::new(Limit::TokenBucket, Reason::NoKey, None));
            }
        };
        let cost = asked.cost;
        let taken = self.take(caller, cost, asked.quota);
        let (reason, retry_after) = match taken.decision {
            Decision::Admit => return Entry::Pass(Admitted(Some(taken))),
            Decision::Wait(wait) => {
                let max_wait = Duration::ZERO;
                (Reason::WaitTooLong { max_wait }, Some(wait))
            }
            Decision::Never => {
                let capacity = taken.capacity();
                (Reason::NeverFits { cost, capacity }, None)
            }
        };
        let rejected = Rejected::new(Limit::TokenBucket, reason, retry_after);
        self.refuse(Some(caller), rejected.standing_at(taken.standing()))
    }

    fn wait(
        &self,
        asked: Asked,
        _: Option<Duration>,
        _: Duration,
    ) -> Result<Waiting<Infallible>, Rejected> {
        // Nobody waits: `enter` refuses at once.
        let _ = asked;
        Err(Rejected::new(Limit::TokenBucket, Reason::NoKey, None))
    }

    fn deadline(turn: &Infallible) -> Option<(Instant, Rejected)> {
        match *turn {}
    }

    fn take(turn: Infallible) -> Result<Admitted, Waiting<Infallible>> {
        match turn {}
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}

// ===== impl Admitted =====

impl Admitted {
    pub(super) fn standing(&self) -> Option<Standing> {
        self.0.as_ref().map(Taken::standing)
    }
}
