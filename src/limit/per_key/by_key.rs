//! What a limit per key reads from a request: its key, its cost, and rules about its head.

use std::{fmt::Debug, sync::Arc};

use http::StatusCode;

use crate::{
    http::RequestHead,
    limit::{
        cost::{Cost, One},
        engine::{Measure, Prioritized},
        key::{ClientKey, Key},
        priority::{Prioritize, Priority},
    },
};

/// Counts requests by a key, with a cost.
///
/// `H` is [`HeadRules`] if there are rules about the head of a request, and otherwise `()`.
#[derive(Clone)]
pub struct ByKey<Key, C = One, H = ()> {
    pub(super) key: Key,
    pub(super) cost: C,
    pub(super) missing: MissingKey,
    pub(super) rules: H,
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

/// Rules about the head of a request: [`limits_for`](super::PerKeyLayer::limits_for) and
/// [`exempt`](super::PerKeyLayer::exempt). Made by these two: a part of a layer's type.
pub struct HeadRules<Plan> {
    pub(super) exempt: Option<Arc<HeadRule<bool>>>,
    pub(super) limits_for: Option<Arc<HeadRule<Plan>>>,
}

pub(super) type HeadRule<T> = dyn Fn(&dyn RequestHead) -> T + Send + Sync;

// ===== impl ByKey =====

impl<K, C, H> ByKey<K, C, H> {
    pub(super) fn new(key: K, cost: C, missing: MissingKey, rules: H) -> Self {
        Self {
            key,
            cost,
            missing,
            rules,
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

crate::macros::debug!(impl<K: Debug, C, H> Debug for ByKey<K, C, H> |self| { key, missing, .. });

impl<K, C, Request, Plan> Measure<Request, Demand<Plan>> for ByKey<K, C>
where
    K: Key<Request>,
    C: Cost<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Demand<Plan> {
        self.demand(request)
    }
}

impl<K, C, Request, Plan> Measure<Request, Demand<Plan>> for ByKey<K, C, HeadRules<Plan>>
where
    K: Key<Request>,
    C: Cost<Request>,
    Request: RequestHead,
{
    fn measure(&self, request: &Request) -> Demand<Plan> {
        let HeadRules { exempt, limits_for } = &self.rules;
        if exempt.as_ref().is_some_and(|exempt| exempt(request)) {
            return Demand::new(Client::Exempt, 0);
        }
        let demand = self.demand(request);
        // Requests that share a limit have the limiter's.
        let has_own = matches!(demand.client, Client::Key(_));
        let limits_for = limits_for.as_ref().filter(|_| has_own);
        let plan = limits_for.map(|limits_for| limits_for(request));
        Demand { plan, ..demand }
    }
}

impl<A, P, Request, Plan> Measure<Request, Demand<Plan>> for Prioritized<A, P>
where
    A: Measure<Request, Demand<Plan>>,
    P: Prioritize<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> Demand<Plan> {
        self.ask.measure(request)
    }

    fn priority(&self, request: &Request) -> Priority {
        self.priority.priority(request)
    }
}

// ===== impl HeadRules =====

crate::macros::clone!(impl<Plan> Clone for HeadRules<Plan> { exempt, limits_for });

crate::macros::debug!(impl<Plan> Debug for HeadRules<Plan> |self| { .. });

/// There are no rules yet. For the layer's methods only.
#[doc(hidden)]
impl<Plan> From<()> for HeadRules<Plan> {
    fn from((): ()) -> Self {
        Self {
            exempt: None,
            limits_for: None,
        }
    }
}

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
