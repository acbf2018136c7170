//! What the service around every limiter asks of it.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

use crate::{Cost, Limit, Reason, Rejected};

/// Waits to be next in the queue and for the limit to have room. It takes nothing yet.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, Rejected>> + Send + Sync>>;

/// A limiter as its service sees it.
///
/// Someone who waits takes nothing before the very instant of the call, so one who goes away has nothing to give back.
pub trait Gate: Clone {
    /// What a request asks for.
    type Ask: Clone + Debug;

    /// What an admitted request holds.
    type Pass;

    /// What the head of the queue holds once there is room for it.
    type Turn;

    /// Admits a request at once, if nobody waits and it fits.
    fn enter(&self, ask: &Self::Ask) -> Entry<Self::Pass>;

    /// Joins the queue, having been told to wait by `enter`.
    fn wait(
        &self,
        ask: Self::Ask,
        expected: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Waiting<Self::Turn>, Rejected>;

    /// Until when the turn may be kept from those behind, and what to say when that has passed.
    fn deadline(turn: &Self::Turn) -> Option<(Instant, Rejected)>;

    /// Is told when that has passed, and the request is refused.
    fn expired(_turn: &Self::Turn, _rejected: &Rejected) {}

    /// Takes what the turn is for. Where the room is gone, waits for it again without losing the turn.
    fn take(turn: Self::Turn) -> Result<Self::Pass, Waiting<Self::Turn>>;
}

/// The answer of [`Gate::enter`].
#[derive(Debug)]
pub enum Entry<P> {
    /// It has been counted.
    Pass(P),
    /// It does not fit now; how long it will take, where that is known.
    Wait(Option<Duration>),
    /// It never will.
    Never(Rejected),
}

impl<P> Entry<P> {
    /// What it comes to for one who does not wait.
    pub(crate) fn at_once(self, limit: Limit) -> Result<P, Rejected> {
        match self {
            Self::Pass(pass) => Ok(pass),
            Self::Never(rejected) => Err(rejected),
            Self::Wait(wait) => {
                let max_wait = Duration::ZERO;
                Err(Rejected::new(limit, Reason::WaitTooLong { max_wait }, wait))
            }
        }
    }
}

/// Says what a request asks of a gate.
pub(crate) trait Measure<Request, Ask> {
    /// What `request` asks for.
    fn measure(&self, request: &Request) -> Ask;
}

/// A cost in units.
impl<C, Request> Measure<Request, u64> for C
where
    C: Cost<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> u64 {
        self.cost(request)
    }
}
