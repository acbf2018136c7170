//! A cost that is known only after the response: some is reserved, and it is settled then.

use super::{
    body::{ByBytes, Metered},
    by_key::{Ask, ByKey, Demand, HeadRules, Prioritized},
    kind::Rate,
    permit::Permit,
};
use crate::{
    error::Rejected,
    limit::{cost::Cost, engine::ReleasePolicy},
};

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

impl<A, W, Request, Plan> Ask<Request, Plan> for Settled<A, W>
where
    A: Ask<Request, Plan>,
{
    fn ask(&self, request: &Request, rules: &HeadRules<Plan>) -> Demand<Plan> {
        let settles = true;
        let demand = self.ask.ask(request, rules);
        Demand { settles, ..demand }
    }
}

impl<K, C, R: ?Sized> Settle for ByKey<K, C, R> {
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
        response.map(|body| Metered::new(body, later))
    }

    fn rejected(&self, response: http::Response<B>, rejected: &Rejected) -> Self::Output {
        self.hold.rejected(response, rejected).map(Metered::from)
    }
}
