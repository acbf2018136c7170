//! What is done with the response of an admitted request: its headers say where the client stands,
//! and its cost is settled if that is known only now.

use std::sync::Arc;

use super::{
    PerKeyLimiter,
    body::{BodyPermit, ByBytes, Metered},
    by_key::{ByKey, Demand},
    kind::{Kind, Rate},
    permit::Permit,
};
use crate::{
    error::Rejected,
    http::headers::{
        date::wall,
        rate_limit::emit::{PolicyItem, RateLimitHeaders},
    },
    limit::{
        cost::Cost,
        engine::{Measure, Prioritized, ReleasePolicy},
        rejection::{AsError, OnRejected, Responds},
    },
};

/// What is done with the response of an admitted request.
pub(super) type Release<A, F, K> =
    <A as Settle>::ReleasePolicy<<F as AddHeaders<K>>::ReleasePolicy>;

/// Whether a way of rejecting adds headers to responses.
pub trait AddHeaders<K: Kind> {
    type ReleasePolicy: Clone;

    fn policy(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> Self::ReleasePolicy;
}

/// Writes the state of the client's limits into each response.
#[derive(Debug, Clone)]
pub struct WriteHeaders<H> {
    headers: RateLimitHeaders,
    /// The policies of the limiter, which clients without limits of their own have.
    policies: Arc<[PolicyItem]>,
    until: H,
}

/// Counts requests by `A`, and settles their cost by `W`: a [`Cost`] of the response, or
/// [`ByBytes`].
#[derive(Debug, Clone, Copy)]
pub struct Settled<A, W> {
    pub(super) ask: A,
    pub(super) way: W,
}

/// Adds to a release policy what settles the cost.
pub trait Settle {
    type ReleasePolicy<H: Clone>: Clone;

    fn hold<H: Clone>(&self, hold: H) -> Self::ReleasePolicy<H>;
}

/// Settles the cost, and then applies `H`.
#[derive(Debug, Clone, Copy)]
pub struct SettlingRelease<H, W> {
    hold: H,
    way: W,
}

impl<K: Kind> AddHeaders<K> for AsError {
    type ReleasePolicy = K::Until;

    fn policy(_: &PerKeyLimiter<K>, _: RateLimitHeaders) -> K::Until {
        K::Until::default()
    }
}

impl<F: AddHeaders<K>, K: Kind> AddHeaders<K> for OnRejected<F> {
    type ReleasePolicy = F::ReleasePolicy;

    fn policy(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> F::ReleasePolicy {
        F::policy(limiter, headers)
    }
}

impl<F: Responds, K: Kind> AddHeaders<K> for F {
    type ReleasePolicy = WriteHeaders<K::Until>;

    fn policy(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> Self::ReleasePolicy {
        let standings = limiter.0.table.full_standings();
        WriteHeaders {
            headers,
            policies: standings.iter().filter_map(PolicyItem::new).collect(),
            until: K::Until::default(),
        }
    }
}

// ===== impl WriteHeaders =====

impl<B, K, H> ReleasePolicy<http::Response<B>, Permit<K>> for WriteHeaders<H>
where
    K: Kind,
    H: ReleasePolicy<http::Response<B>, Permit<K>>,
{
    type Output = H::Output;

    fn hold(&self, mut response: http::Response<B>, permit: Permit<K>) -> H::Output {
        let headers = response.headers_mut();
        for standing in permit.standings() {
            self.headers.write(headers, &standing, &self.policies, wall);
        }
        self.until.hold(response, permit)
    }

    fn rejected(&self, mut response: http::Response<B>, rejected: &Rejected) -> H::Output {
        let standings = rejected.standings();
        for standing in standings.iter().flat_map(|standings| &standings.all) {
            self.headers
                .write(response.headers_mut(), standing, &[], wall);
        }
        self.until.rejected(response, rejected)
    }
}

// ===== impl Settled =====

impl<A, W, Request, Plan> Measure<Request, Demand<Plan>> for Settled<A, W>
where
    A: Measure<Request, Demand<Plan>>,
{
    fn measure(&self, request: &Request) -> Demand<Plan> {
        Demand {
            settles: true,
            ..self.ask.measure(request)
        }
    }
}

impl<K, C, R> Settle for ByKey<K, C, R> {
    type ReleasePolicy<H: Clone> = H;

    fn hold<H: Clone>(&self, hold: H) -> H {
        hold
    }
}

impl<A, W: Clone> Settle for Settled<A, W> {
    type ReleasePolicy<H: Clone> = SettlingRelease<H, W>;

    fn hold<H: Clone>(&self, hold: H) -> SettlingRelease<H, W> {
        let way = self.way.clone();
        SettlingRelease { hold, way }
    }
}

impl<A: Settle, P> Settle for Prioritized<A, P> {
    type ReleasePolicy<H: Clone> = A::ReleasePolicy<H>;

    fn hold<H: Clone>(&self, hold: H) -> Self::ReleasePolicy<H> {
        self.ask.hold(hold)
    }
}

// ===== impl SettlingRelease =====

impl<Response, K, H, C> ReleasePolicy<Response, Permit<K>> for SettlingRelease<H, C>
where
    K: Rate,
    H: ReleasePolicy<Response, Permit<K>>,
    C: Cost<Response> + Clone,
{
    type Output = H::Output;

    fn hold(&self, response: Response, mut permit: Permit<K>) -> H::Output {
        permit.settle(|| self.way.cost(&response));
        self.hold.hold(response, permit)
    }

    fn rejected(&self, response: Response, rejected: &Rejected) -> H::Output {
        self.hold.rejected(response, rejected)
    }
}

impl<B, C, K, H> ReleasePolicy<http::Response<B>, Permit<K>> for SettlingRelease<H, ByBytes>
where
    C: http_body::Body,
    K: Rate,
    H: ReleasePolicy<http::Response<B>, Permit<K>, Output = http::Response<C>>,
{
    type Output = http::Response<Metered<C, K>>;

    fn hold(&self, response: http::Response<B>, permit: Permit<K>) -> Self::Output {
        let (permit, later) = permit.split();
        let response = self.hold.hold(response, permit);
        response.map(|body| BodyPermit::meter(body, later))
    }

    fn rejected(&self, response: http::Response<B>, rejected: &Rejected) -> Self::Output {
        self.hold.rejected(response, rejected).map(Metered::from)
    }
}
