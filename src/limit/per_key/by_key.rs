//! What a limit per key reads from a request: its key, its cost, and rules about its head.

use std::{fmt, marker::PhantomData, sync::Arc};

use http::StatusCode;

use crate::{
    http::RequestHead,
    limit::{
        cost::{Cost, One},
        engine::Measure,
        key::{ClientKey, Key},
        priority::{Prioritize, Priority},
    },
};

/// Counts requests by a key, with a cost.
///
/// `H` is `dyn RequestHead` if there are rules about the head of a request:
/// [`limits_for`](super::PerKeyLayer::limits_for) or [`exempt`](super::PerKeyLayer::exempt).
pub struct ByKey<Key, C = One, H: ?Sized = ()> {
    pub(super) key: Key,
    pub(super) cost: C,
    pub(super) missing: MissingKey,
    pub(super) head: PhantomData<fn(&H)>,
}

/// Reads what a request asks of the limit.
pub trait Ask<Request, Plan> {
    fn ask(&self, request: &Request, rules: &HeadRules<Plan>) -> Demand<Plan>;

    /// Returns the priority of a request that waits.
    fn priority(&self, _: &Request) -> Priority {
        Priority::High
    }
}

/// Counts requests by `A`, with a priority.
#[derive(Debug, Clone, Copy)]
pub struct Prioritized<A, P> {
    pub(super) ask: A,
    pub(super) priority: P,
}

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Demand<Plan> {
    pub(super) client: Client,
    pub(super) cost: u64,
    /// The limits of its key, if they are not the limiter's.
    pub(super) plan: Option<Plan>,
    /// Whether what it takes may be settled or refunded later.
    pub(super) settles: bool,
}

/// The client that a request counts for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Client {
    Key(ClientKey),
    /// All requests without a key count together.
    Shared,
    /// Requests without a key are rejected with this status.
    MissingKey(StatusCode),
    /// The server does not insert the address of the peer.
    MissingPeer,
    /// The request is not limited.
    Exempt,
}

/// What happens to a request without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MissingKey {
    /// It is rejected with [`Reason::MissingKey`](crate::Reason::MissingKey), in HTTP as a 401. The
    /// default.
    #[default]
    Refuse,
    /// It is rejected with [`Reason::MissingKey`](crate::Reason::MissingKey), in HTTP with this
    /// status.
    RefuseWith(StatusCode),
    /// It shares one limit with all other requests without a key.
    Share,
    /// It passes, and nothing is counted.
    Pass,
}

/// Rules about the head of a request. They are boxed, so that they are not part of a layer's type.
pub struct HeadRules<Plan> {
    exempt: Option<Arc<HeadRule<bool>>>,
    limits_for: Option<Arc<HeadRule<Plan>>>,
}

type HeadRule<T> = dyn Fn(&dyn RequestHead) -> T + Send + Sync;

/// Measures a request by `A` and the rules about its head.
#[derive(Debug, Clone)]
pub(super) struct DemandReader<A, Plan> {
    pub(super) ask: A,
    pub(super) rules: HeadRules<Plan>,
}

// ===== impl ByKey =====

impl<K, C, H: ?Sized> ByKey<K, C, H> {
    pub(super) fn new(key: K, cost: C, missing: MissingKey) -> Self {
        let head = PhantomData;
        Self {
            key,
            cost,
            missing,
            head,
        }
    }

    fn demand<Request, Plan>(&self, request: &Request) -> Demand<Plan>
    where
        K: Key<Request>,
        C: Cost<Request>,
    {
        let client = match (self.key.key(request), self.missing) {
            (Some(key), _) => Client::Key(key),
            (None, _) if self.key.lacks_peer(request) => Client::MissingPeer,
            (None, MissingKey::Share) => Client::Shared,
            (None, MissingKey::Refuse) => Client::MissingKey(StatusCode::UNAUTHORIZED),
            (None, MissingKey::RefuseWith(status)) => Client::MissingKey(status),
            (None, MissingKey::Pass) => Client::Exempt,
        };
        Demand::new(client, self.cost.cost(request))
    }
}

impl<K: Clone, C: Clone, H: ?Sized> Clone for ByKey<K, C, H> {
    fn clone(&self) -> Self {
        Self::new(self.key.clone(), self.cost.clone(), self.missing)
    }
}

impl<K: fmt::Debug, C, H: ?Sized> fmt::Debug for ByKey<K, C, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey")
            .field("key", &self.key)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

impl<K, C, Request, Plan> Ask<Request, Plan> for ByKey<K, C>
where
    K: Key<Request>,
    C: Cost<Request>,
{
    #[inline]
    fn ask(&self, request: &Request, _: &HeadRules<Plan>) -> Demand<Plan> {
        self.demand(request)
    }
}

impl<K, C, Request, Plan> Ask<Request, Plan> for ByKey<K, C, dyn RequestHead>
where
    K: Key<Request>,
    C: Cost<Request>,
    Request: RequestHead,
{
    fn ask(&self, request: &Request, rules: &HeadRules<Plan>) -> Demand<Plan> {
        if rules.exempt.as_ref().is_some_and(|exempt| exempt(request)) {
            return Demand::new(Client::Exempt, 0);
        }
        let demand = self.demand(request);
        // Requests that share a limit have the limiter's.
        let has_own = matches!(demand.client, Client::Key(_));
        let limits_for = rules.limits_for.as_ref().filter(|_| has_own);
        let plan = limits_for.map(|limits_for| limits_for(request));
        Demand { plan, ..demand }
    }
}

impl<A, P, Request, Plan> Ask<Request, Plan> for Prioritized<A, P>
where
    A: Ask<Request, Plan>,
    P: Prioritize<Request>,
{
    #[inline]
    fn ask(&self, request: &Request, rules: &HeadRules<Plan>) -> Demand<Plan> {
        self.ask.ask(request, rules)
    }

    fn priority(&self, request: &Request) -> Priority {
        self.priority.priority(request)
    }
}

// ===== impl HeadRules =====

impl<Plan> HeadRules<Plan> {
    pub(super) const NONE: Self = Self {
        exempt: None,
        limits_for: None,
    };

    pub(super) fn limits_for(
        mut self,
        limits_for: impl Fn(&dyn RequestHead) -> Plan + Send + Sync + 'static,
    ) -> Self {
        self.limits_for = Some(Arc::new(limits_for));
        self
    }

    /// Exempts these requests as well.
    pub(super) fn exempt(
        mut self,
        exempt: impl Fn(&dyn RequestHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.exempt = Some(match self.exempt {
            Some(first) => Arc::new(move |request| first(request) || exempt(request)),
            None => Arc::new(exempt),
        });
        self
    }
}

crate::macros::clone!(impl<Plan> Clone for HeadRules<Plan> { exempt, limits_for });

crate::macros::debug!(impl<Plan> Debug for HeadRules<Plan> |self| { .. });

// ===== impl Demand =====

impl<Plan> Demand<Plan> {
    /// Creates the demand of a request with the limiter's limits that is not settled.
    pub(super) fn new(client: Client, cost: u64) -> Self {
        Self {
            client,
            cost,
            plan: None,
            settles: false,
        }
    }

    /// Returns the key that the request counts for, if it is limited by one.
    pub(super) fn key(&self) -> Option<ClientKey> {
        match self.client {
            Client::Key(key) => Some(key),
            Client::Shared => Some(ClientKey::EVERYONE),
            Client::MissingKey(_) | Client::MissingPeer | Client::Exempt => None,
        }
    }

    /// Returns the key that the request counts for.
    pub(super) fn counted_key(&self) -> ClientKey {
        self.key().unwrap_or(ClientKey::EVERYONE)
    }
}

// ===== impl DemandReader =====

impl<A, Request, Plan> Measure<Request, Demand<Plan>> for DemandReader<A, Plan>
where
    A: Ask<Request, Plan>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Demand<Plan> {
        self.ask.ask(request, &self.rules)
    }

    fn priority(&self, request: &Request) -> Priority {
        self.ask.priority(request)
    }
}
