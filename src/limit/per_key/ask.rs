//! What a request asks of a limit by caller: whose it is, what it costs, and by which plan.

use http::StatusCode;

use crate::limit::{
    cost::{Cost, One},
    engine::Measure,
    key::{ClientKey, Key},
};

/// What a limit by caller asks of each request: its key, its cost, its plan, and whether it counts at all.
///
/// Sealed: the methods of a [`PerKeyLayer`](super::PerKeyLayer) make all there are.
pub trait Ask<Request, Plan>: sealed::Sealed {
    /// What `request` asks for.
    #[doc(hidden)]
    fn ask(&self, request: &Request) -> Demand<Plan>;
}

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Demand<Plan> {
    pub(super) who: Who,
    pub(super) cost: u64,
    /// Its caller's own, where it is not the limiter's.
    pub(super) plan: Option<Plan>,
    /// Whether the cost is settled once there is an answer.
    pub(super) settles: bool,
}

impl<Plan> Demand<Plan> {
    /// By the limiter's plan, and not settled.
    pub(super) fn new(who: Who, cost: u64) -> Self {
        Self {
            who,
            cost,
            plan: None,
            settles: false,
        }
    }

    /// Returns the key, unless the request has none and is rejected for that.
    pub(super) fn key(&self) -> Option<ClientKey> {
        match self.who {
            Who::Unknown(_) | Who::NoPeer | Who::Exempt => None,
            Who::ClientKey(_) | Who::Nobody => Some(self.caller()),
        }
    }

    /// Whose it is counted as.
    pub(super) fn caller(&self) -> ClientKey {
        match self.who {
            Who::ClientKey(caller) => caller,
            _ => ClientKey::EVERYONE,
        }
    }
}

/// Whose a request is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    ClientKey(ClientKey),
    /// Nobody's that is known, and all such are one caller.
    Nobody,
    /// Nobody's that is known, and such are rejected with this status.
    Unknown(StatusCode),
    /// Nobody's that is known, as the server says no peer.
    NoPeer,
    /// It is not limited.
    Exempt,
}

/// What happens to a request without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is rejected with [`Reason::MissingKey`](crate::Reason::MissingKey), in HTTP as a 401. The default.
    #[default]
    Refuse,
    /// It is rejected with [`Reason::MissingKey`](crate::Reason::MissingKey), in HTTP with this status.
    RefuseWith(StatusCode),
    /// It shares one limit with all other requests without a key.
    Share,
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

/// A request is asked for its plan, too.
#[derive(Debug, Clone, Copy)]
pub struct WithPlan<A, P> {
    pub(super) ask: A,
    pub(super) plan: P,
}

/// Some requests don't count.
#[derive(Debug, Clone, Copy)]
pub struct Except<A, E> {
    pub(super) ask: A,
    pub(super) exempt: E,
}

pub(super) mod sealed {
    /// Keeps [`Ask`](super::Ask) ours, so that it may grow.
    pub trait Sealed {}

    impl<K, C> Sealed for super::ByKey<K, C> {}
    impl<A, P> Sealed for super::WithPlan<A, P> {}
    impl<A, E> Sealed for super::Except<A, E> {}
}

impl<K, C, Request, Plan> Ask<Request, Plan> for ByKey<K, C>
where
    K: Key<Request>,
    C: Cost<Request>,
{
    fn ask(&self, request: &Request) -> Demand<Plan> {
        let who = match (self.key.caller(request), self.missing) {
            (Some(caller), _) => Who::ClientKey(caller),
            (None, _) if self.key.lacks_peer(request) => Who::NoPeer,
            (None, MissingKey::Share) => Who::Nobody,
            (None, MissingKey::Refuse) => Who::Unknown(StatusCode::UNAUTHORIZED),
            (None, MissingKey::RefuseWith(status)) => Who::Unknown(status),
            (None, MissingKey::Pass) => Who::Exempt,
        };
        Demand::new(who, self.cost.cost(request))
    }
}

impl<A, P, Request, Plan> Ask<Request, Plan> for WithPlan<A, P>
where
    A: Ask<Request, Plan>,
    P: Fn(&Request) -> Plan,
{
    fn ask(&self, request: &Request) -> Demand<Plan> {
        let asked = self.ask.ask(request);
        match asked.who {
            // Who shares what there is shares its plan.
            Who::Nobody | Who::Unknown(_) | Who::NoPeer | Who::Exempt => asked,
            Who::ClientKey(_) => Demand {
                plan: Some((self.plan)(request)),
                ..asked
            },
        }
    }
}

impl<A, E, Request, Plan> Ask<Request, Plan> for Except<A, E>
where
    A: Ask<Request, Plan>,
    E: Fn(&Request) -> bool,
{
    fn ask(&self, request: &Request) -> Demand<Plan> {
        match (self.exempt)(request) {
            true => Demand::new(Who::Exempt, 0),
            false => self.ask.ask(request),
        }
    }
}

impl<A, Request, Plan> Measure<Request, Demand<Plan>> for A
where
    A: Ask<Request, Plan>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Demand<Plan> {
        self.ask(request)
    }
}
