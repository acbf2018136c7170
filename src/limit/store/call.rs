//! What a process asks of a store, and the replies: plain data.
//!
//! Instants are nanoseconds since 1970 by the clock of the store, and whole microseconds, since
//! that is what Redis has.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use crate::limit::{
    Quota,
    algorithm::{Mark, gcra::Refill, window::Period},
};

/// The largest number that is exact in Lua.
pub(crate) const MOST_EXACT: u64 = (1 << 53) - 1;

/// The most units of a window, so that sums of several are exact.
const MOST_IN_WINDOW: u64 = (1 << 40) - 1;

/// The future of a call.
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = Result<Reply, StoreError>> + Send>>;

/// A place that several processes share.
pub(crate) trait Store: fmt::Debug + Send + Sync + 'static {
    /// Carries out `call`, all or nothing. If the result is an error or the future is dropped, it
    /// is not known whether it was carried out.
    fn call(&self, call: Call) -> CallFuture;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Take(Take),
    Restore(Restore),
    SetQuota(SetQuota),
    Lease(Lease),
    /// Registers a process for a while, and returns the number of processes.
    Beat {
        process: u64,
        /// How long it counts without another beat.
        expires: Duration,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Take(TakeReply),
    /// A restore or a new quota was written.
    Done,
    Processes(u64),
    Lease(LeaseReply),
}

/// A limit in numbers that are exact in Lua: all below 2⁵³.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitSpec {
    /// Capacity times refill time of a unit is below 2⁵³ nanoseconds, 104 days.
    Bucket { capacity: u64, unit_nanos: u64 },
    /// Starts are rounded up to a 256th of the period.
    Window { capacity: u64, period_micros: u64 },
}

/// Which state of a store: of a name, or of one client of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StateKey {
    pub(crate) name: Arc<str>,
    /// The key of the client. There may be many, so their state is small: a loss is not detected.
    pub(crate) client: Option<[u8; 16]>,
}

/// Takes units from all limits of a state, or from none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Take {
    pub(crate) key: StateKey,
    /// The limits in the code of the process.
    pub(crate) limits: Arc<[LimitSpec]>,
    /// Who asks: one queue of one process. Below 2⁵³.
    pub(crate) process: u64,
    /// What the first request in the queue costs, for each limit. If all are zero, the call only
    /// returns units and hears of changes.
    pub(crate) cost: Vec<u64>,
    /// More units, of which as many as fit are granted if the first request's are.
    pub(crate) more: Vec<u64>,
    /// How long after this call a unit may start.
    pub(crate) hold: Duration,
    /// Whether the request has waited for its turn, so that its timer may have been late.
    pub(crate) is_in_turn: bool,
    /// The longest that the first request would wait. It has a claim if the wait is shorter.
    pub(crate) patience: Duration,
    /// How long a claim counts, if it is not renewed.
    pub(crate) claim: Duration,
    /// The instant after which nothing is taken, since the process no longer waits for the reply.
    pub(crate) not_after: Option<u64>,
    /// The newest state that the process has seen; `None` of a client.
    pub(crate) seen: Option<Version>,
    /// How long nothing is taken from a state that was lost.
    pub(crate) grace: Duration,
    /// Units that were granted and not used, with the number of their limit. They are given back
    /// whatever the outcome is.
    pub(crate) returned: Vec<(usize, Mark)>,
    /// Units that were used in addition to what was granted. They are added whatever the outcome
    /// is, up to twice the limit, unless the state was lost: then they belong to the report.
    pub(crate) charged: Vec<ChargedUnits>,
    /// For how long nothing is taken from now on, since the provider has said so: ten minutes at
    /// most, or until a later pause ends.
    pub(crate) pause: Duration,
}

/// Units of a limit that were used without having been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChargedUnits {
    /// The number of the limit.
    pub(crate) limit: usize,
    /// Since when they count: the `at` of a mark.
    pub(crate) at: u64,
    pub(crate) units: u64,
    /// Only until so many units are used in all, if it is set. So it makes no difference how many
    /// processes report the same use.
    pub(crate) up_to: Option<u64>,
}

/// Which state of a name it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// When it was made, in microseconds.
    pub(crate) made: u64,
    /// How often it was changed since.
    pub(crate) sequence: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakeReply {
    /// When it was carried out.
    pub(crate) now: u64,
    /// Zeros of a client.
    pub(crate) version: Version,
    /// The limits that apply, if they differ from the code.
    pub(crate) limits: Option<Arc<[LimitSpec]>>,
    /// What is used of each limit after it. Empty if the state was lost.
    pub(crate) used: Vec<UsedUnits>,
    /// For how long nothing is taken, since a process has [paused](Take::pause) the name.
    pub(crate) paused: Duration,
    /// The number of the limit that the request waits for, or that it exceeds; if it was granted,
    /// the limit that one more unit waits for.
    pub(crate) slowest: usize,
    pub(crate) outcome: Outcome,
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UsedUnits {
    /// Rounded up.
    pub(crate) units: u64,
    /// The time until nothing is used, if nothing else is taken.
    pub(crate) resets_in: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was taken of each limit: the cost, and more.
    Granted {
        marks: Vec<Mark>,
        /// The time until one more unit of each can be taken.
        more_in: Duration,
    },
    /// Nothing was taken. The request fits after this long.
    Wait(Duration),
    /// The cost exceeds the capacity of a limit.
    Never,
    /// It came after [`not_after`](Take::not_after), so nothing was taken.
    TooLate,
    /// The state that the process had seen is gone. What it took in the last period has to be
    /// [restored](Restore) within this time, after which units are taken again.
    Lost(Duration),
}

/// Adds what a process has taken, to a state that does not know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore {
    /// A number by which the store knows it, if it is sent again. Below 2⁵³.
    pub(crate) id: u64,
    pub(crate) key: StateKey,
    pub(crate) limits: Arc<[LimitSpec]>,
    /// Instants and units of each limit, the oldest first.
    pub(crate) taken: Vec<Vec<(u64, u64)>>,
    /// How long nothing is taken from now on, counted from when the state was made; zero if the
    /// state was not lost.
    pub(crate) grace: Duration,
}

/// Sets one of the quotas of a name for all processes whose code has `limits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetQuota {
    pub(crate) name: Arc<str>,
    /// The limits in the code of the process.
    pub(crate) limits: Arc<[LimitSpec]>,
    /// The number of the limit.
    pub(crate) number: usize,
    /// What applies from now on. The other limits stay as they are.
    pub(crate) new: LimitSpec,
}

/// Asks for slots of a concurrency limit, which return if the process is not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) name: Arc<str>,
    /// Who asks. Below 2⁵³.
    pub(crate) process: u64,
    pub(crate) limit: u64,
    /// The slots that it may be using, which can't be taken back: the requests in flight, or as
    /// many as may be.
    pub(crate) held: u64,
    /// The slots that the process could use.
    pub(crate) wanted: u64,
    /// How long the slots are the process's without another call.
    pub(crate) expires: Duration,
    /// Whether the process had or wanted slots at a reply within that time, so that the state must
    /// be there.
    pub(crate) has_seen: bool,
    /// How long no process gets more than it holds, if the state was lost.
    pub(crate) grace: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeaseReply {
    /// How many requests of the process may be in flight. Fewer than it holds, if it has to yield.
    pub(crate) slots: u64,
    /// Whether another process waits for slots.
    pub(crate) others_wait: bool,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// No reply in time.
    TimedOut,
    /// There is no connection, or it is of no use; with its error.
    Unreachable(Arc<str>),
    /// The reply makes no sense, or the key holds something else.
    Unreadable(Arc<str>),
}

// ===== impl Call =====

impl Call {
    /// Returns the kind of call, as a label.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Take(_) => "take",
            Self::Restore(_) => "restore",
            Self::SetQuota(_) => "set_quota",
            Self::Lease(_) => "lease",
            Self::Beat { .. } => "beat",
        }
    }
}

// ===== impl StateKey =====

impl StateKey {
    pub(crate) fn of_name(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            client: None,
        }
    }
}

// ===== impl LimitSpec =====

impl LimitSpec {
    /// Returns the token bucket of `quota`. A unit or a burst that takes over 104 days to refill
    /// takes 104 days.
    pub(crate) fn bucket(quota: &Quota) -> Self {
        if *quota == Quota::UNLIMITED {
            return Self::Bucket {
                capacity: MOST_EXACT,
                unit_nanos: 1,
            };
        }
        let Refill {
            capacity,
            unit_nanos,
        } = Refill::new(quota);
        let unit_nanos = unit_nanos.min(MOST_EXACT);
        Self::Bucket {
            capacity: capacity.min(MOST_EXACT / unit_nanos).min(MOST_EXACT - 1),
            unit_nanos,
        }
    }

    /// Returns the sliding window of `quota`. A period is at most 71 years.
    pub(crate) fn window(quota: &Quota) -> Self {
        if *quota == Quota::UNLIMITED {
            return Self::Window {
                capacity: MOST_EXACT,
                period_micros: 1,
            };
        }
        Self::Window {
            capacity: quota.units().min(MOST_IN_WINDOW),
            period_micros: quota.period_nanos().div_ceil(1_000).min(MOST_EXACT / 4),
        }
    }

    /// Returns the maximum number of units that can be taken at once.
    pub(crate) fn capacity(&self) -> u64 {
        match *self {
            Self::Bucket { capacity, .. } | Self::Window { capacity, .. } => capacity,
        }
    }

    /// Returns whether a request need not ask. Other limits are lower.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.capacity() == MOST_EXACT
    }

    /// Returns the units that a request of `cost` has to take.
    #[inline]
    pub(crate) fn cost(&self, cost: u64) -> u64 {
        if self.is_unlimited() { 0 } else { cost }
    }

    /// Returns the instant from which on a unit counts that is taken at `at`.
    pub(crate) fn round_up(&self, at: u64) -> u64 {
        match *self {
            Self::Bucket { .. } => at,
            Self::Window { period_micros, .. } => {
                Period::in_parts(period_micros.saturating_mul(1_000)).round_up(at)
            }
        }
    }

    /// Returns how long what was taken makes a difference: the period, or the refill time of a
    /// whole burst.
    pub(crate) fn span(&self) -> Duration {
        match *self {
            Self::Bucket {
                capacity,
                unit_nanos,
            } => Duration::from_nanos(capacity.saturating_mul(unit_nanos)),
            Self::Window { period_micros, .. } => Duration::from_micros(period_micros),
        }
    }

    /// Returns the time in which `units` come back, at the rate of the limit.
    pub(crate) fn refill(&self, units: u64) -> Duration {
        match *self {
            Self::Bucket { unit_nanos, .. } => {
                Duration::from_nanos(unit_nanos.saturating_mul(units))
            }
            Self::Window {
                capacity,
                period_micros,
            } => {
                let micros = u128::from(period_micros) * u128::from(units);
                let micros = micros / u128::from(capacity.max(1));
                Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
            }
        }
    }

    /// Returns whether a request may fit earlier than into `other`.
    pub(super) fn refills_faster(&self, other: &Self) -> bool {
        self.capacity() > other.capacity() || self.refill(1) < other.refill(1)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no reply in time"),
            Self::Unreachable(error) | Self::Unreadable(error) => f.write_str(error),
        }
    }
}

/// Returns whole microseconds, as scripts count them.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).map_or(MOST_EXACT, |micros| micros.min(MOST_EXACT))
}
