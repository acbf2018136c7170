//! Who goes first, and who is refused first.

/// How much a request matters where there is not room for all.
///
/// A request with a lower priority starts only while the limit is not yet used up to its share, and as long as nobody with a higher
/// one waits. So under too much load `Low` is made to wait, or refused, before `Normal` is, and `Normal` before `High`. Shares are
/// rounded up, so that a limit of 1 is open to all. Among those who start at the same instant on several threads, a share may be
/// exceeded by a few; the limit never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Three quarters of the limit.
    Low,
    /// Nine tenths of the limit.
    #[default]
    Normal,
    /// The whole limit. What all have where nothing was said.
    High,
    /// Never waits and is never refused, whatever the limit. It counts as in flight, so that others wait for its sake. No latency
    /// is learned from it.
    ///
    /// For health checks, and what an operator does while things go wrong. Not for anything that comes in numbers: an adaptive
    /// limit learns nothing from it, so where it takes all of the limit, that stays what it is.
    Critical,
}

/// Says which priority a request has.
///
/// Implemented for closures and for [`AllAlike`]. A closure names the type that it looks at, since nothing else does.
#[diagnostic::on_unimplemented(
    message = "this priority can't look at requests of the type `{Request}`",
    note = "a closure names its argument's type: `|request: &http::Request<MyBody>| ..`"
)]
pub trait Prioritize<Request> {
    /// The priority of `request`.
    fn priority(&self, request: &Request) -> Priority;
}

/// All requests have the whole limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AllAlike;

// ===== impl Priority =====

impl Priority {
    /// How many may be in flight for one of this priority to start, of a limit.
    pub(super) const fn share(self, limit: usize) -> usize {
        match self {
            Self::Low => limit - limit / 4,
            Self::Normal => limit - limit / 10,
            Self::High | Self::Critical => limit,
        }
    }
}

impl<Request> Prioritize<Request> for AllAlike {
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
