//! The priorities of requests.

use crate::limit::engine::Measure;

/// The priority of a request under overload.
///
/// # Limits on requests in flight
///
/// A request with a lower priority starts only while the requests in flight are below its share of
/// the limit, and while none with a higher priority is waiting. So under overload `Low` waits or is
/// rejected before `Normal`, and `Normal` before `High`. Shares are rounded up, so that a limit of
/// 1 is open to all. If several threads start requests at the same instant, a share may be exceeded
/// by a few; the limit is not.
///
/// # Limits on a rate, and limits per key
///
/// All priorities may use the whole limit. Requests that wait start in the order of their
/// priorities, and within one in first-come, first-served order. The request that is next keeps its
/// turn until it has its units, whatever its priority.
///
/// No priority waits forever: after eight requests of other priorities in a row, the turn goes to
/// it. So while requests of all priorities wait, at least one of ten is of each.
///
/// If several processes share a limit, each orders its own requests.
///
/// `Critical` counts as `High`, since the server would reject what exceeds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Three quarters of a limit on requests in flight.
    Low,
    /// Nine tenths of a limit on requests in flight.
    #[default]
    Normal,
    /// The whole limit. The default of layers.
    High,
    /// Never waits for requests in flight and is never rejected, whatever the limit. It counts as
    /// in flight, so other requests wait for it. An adaptive limit ignores its latency. In other
    /// limits it is the same as `High`.
    ///
    /// Use it for health checks and for operators. Do not use it for many requests: if it takes up
    /// all of an adaptive limit, that limit no longer changes.
    Critical,
}

/// Returns the priority of a request.
///
/// Implemented for closures and for [`UniformPriority`]. A closure names the type of the request.
#[diagnostic::on_unimplemented(
    message = "this priority does not accept requests of the type `{Request}`",
    note = "a closure names its argument's type: `|request: &http::Request<MyBody>| ..`"
)]
pub trait Prioritize<Request> {
    /// Returns the priority of `request`.
    fn priority(&self, request: &Request) -> Priority;
}

/// The same priority for all requests, which can use the whole limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UniformPriority;

// ===== impl Priority =====

impl Priority {
    /// The number of queues.
    pub(crate) const LANES: usize = 3;

    /// Returns the queue of this priority: the lower, the earlier its turn.
    pub(crate) const fn lane(self) -> usize {
        match self {
            Self::High | Self::Critical => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// Returns the share of `limit` that is open to this priority.
    pub(super) const fn share(self, limit: usize) -> usize {
        match self {
            Self::Low => limit - limit / 4,
            Self::Normal => limit - limit / 10,
            Self::High | Self::Critical => limit,
        }
    }
}

impl<Request> Prioritize<Request> for UniformPriority {
    #[inline]
    fn priority(&self, _: &Request) -> Priority {
        Priority::High
    }
}

impl<F, Request> Prioritize<Request> for F
where
    F: Fn(&Request) -> Priority,
{
    fn priority(&self, request: &Request) -> Priority {
        self(request)
    }
}

impl<P, Request> Measure<Request, Priority> for P
where
    P: Prioritize<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Priority {
        self.priority(request)
    }
}
