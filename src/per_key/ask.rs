//! What a request asks of a limit by caller: whose it is, what it costs, and by which quota.

use crate::{
    Cost, Quota,
    cost::One,
    key::{Caller, Key},
    limit::Measure,
};

/// What a limit by caller asks of each request: its key, its cost, its quota, and whether it counts at all.
///
/// Sealed: the methods of a [`PerKeyLayer`](super::PerKeyLayer) make all there are.
pub trait Ask<Request>: sealed::Sealed {
    /// What `request` asks for.
    #[doc(hidden)]
    fn ask(&self, request: &Request) -> Asked;
}

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub(super) who: Who,
    pub(super) cost: u64,
    pub(super) quota: Option<Quota>,
}

/// Whose a request is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Caller(Caller),
    /// Nobody's that is known, and such are refused.
    Unknown,
    /// It is not limited.
    Exempt,
}

/// What becomes of a request that does not say whose it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is counted with all others of its kind, in one bucket. The default.
    #[default]
    Share,
    /// It is refused, with [`Reason::NoKey`](crate::Reason::NoKey); in an answer that is a 400.
    Refuse,
    /// It passes, and nothing is counted.
    Pass,
}

/// A request is asked for its key, and its cost. The plain case.
#[derive(Debug, Clone, Copy)]
pub struct ByKey<K, C = One> {
    pub(super) key: K,
    pub(super) cost: C,
    pub(super) missing: MissingKey,
}

/// A request is asked for its quota, too.
#[derive(Debug, Clone, Copy)]
pub struct WithQuota<A, Q> {
    pub(super) ask: A,
    pub(super) quota: Q,
}

/// Some requests don't count.
#[derive(Debug, Clone, Copy)]
pub struct Except<A, E> {
    pub(super) ask: A,
    pub(super) exempt: E,
}

mod sealed {
    /// Keeps [`Ask`](super::Ask) ours, so that it may grow.
    pub trait Sealed {}

    impl<K, C> Sealed for super::ByKey<K, C> {}
    impl<A, Q> Sealed for super::WithQuota<A, Q> {}
    impl<A, E> Sealed for super::Except<A, E> {}
}

impl<K, C, Request> Ask<Request> for ByKey<K, C>
where
    K: Key<Request>,
    C: Cost<Request>,
{
    fn ask(&self, request: &Request) -> Asked {
        let who = match (self.key.caller(request), self.missing) {
            (Some(caller), _) => Who::Caller(caller),
            (None, MissingKey::Share) => Who::Caller(Caller::EVERYONE),
            (None, MissingKey::Refuse) => Who::Unknown,
            (None, MissingKey::Pass) => Who::Exempt,
        };
        let cost = self.cost.cost(request);
        Asked {
            who,
            cost,
            quota: None,
        }
    }
}

impl<A, Q, Request> Ask<Request> for WithQuota<A, Q>
where
    A: Ask<Request>,
    Q: Fn(&Request) -> Quota,
{
    fn ask(&self, request: &Request) -> Asked {
        let asked = self.ask.ask(request);
        match asked.who {
            // Who shares a bucket shares its quota.
            Who::Unknown | Who::Exempt | Who::Caller(Caller::EVERYONE) => asked,
            Who::Caller(_) => {
                let quota = Some((self.quota)(request));
                Asked { quota, ..asked }
            }
        }
    }
}

impl<A, E, Request> Ask<Request> for Except<A, E>
where
    A: Ask<Request>,
    E: Fn(&Request) -> bool,
{
    fn ask(&self, request: &Request) -> Asked {
        if (self.exempt)(request) {
            let (who, cost, quota) = (Who::Exempt, 0, None);
            return Asked { who, cost, quota };
        }
        self.ask.ask(request)
    }
}

impl<A, Request> Measure<Request, Asked> for A
where
    A: Ask<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Asked {
        self.ask(request)
    }
}
