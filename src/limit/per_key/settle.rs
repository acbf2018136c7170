//! The cost of a request that is known only after it: reserved at first, and settled once there is an answer.

use super::{
    admitted::Admitted,
    ask::{Ask, ByKey, Demand, Except, WithPlan, sealed::Sealed},
    body::Metered,
    kind::Rate,
};
use crate::limit::{cost::Cost, engine::ReleasePolicy};

/// What is done to an answer, for a limit that asks for this.
///
/// Sealed, as [`Ask`] is.
pub trait Settle: Sealed {
    #[doc(hidden)]
    type ReleasePolicy<H: Clone>: Clone;

    #[doc(hidden)]
    fn hold<H: Clone>(&self, hold: H) -> Self::ReleasePolicy<H>;
}

/// The cost is settled, in a way that says when and by what: [`ByResponse`] or [`ByBytes`].
#[derive(Debug, Clone, Copy)]
pub struct Settled<A, W> {
    pub(super) ask: A,
    pub(super) way: W,
}

/// By what a [`Cost`] says of the response, before anything else is done with that.
#[derive(Debug, Clone, Copy)]
pub struct ByResponse<C>(pub(super) C);

/// By the bytes that have gone through the response's body.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes;

/// Settles, and does what else there is to do.
#[derive(Debug, Clone, Copy)]
pub struct SettlingRelease<H, W> {
    hold: H,
    way: W,
}

impl<A, W> Sealed for Settled<A, W> {}

impl<A, W, Request, Plan> Ask<Request, Plan> for Settled<A, W>
where
    A: Ask<Request, Plan>,
{
    fn ask(&self, request: &Request) -> Demand<Plan> {
        let settles = true;
        let asked = self.ask.ask(request);
        Demand { settles, ..asked }
    }
}

// ===== impl Settle =====

impl<K, C> Settle for ByKey<K, C> {
    type ReleasePolicy<H: Clone> = H;

    fn hold<H: Clone>(&self, hold: H) -> H {
        hold
    }
}

impl<A: Settle, P> Settle for WithPlan<A, P> {
    type ReleasePolicy<H: Clone> = A::ReleasePolicy<H>;

    fn hold<H: Clone>(&self, hold: H) -> A::ReleasePolicy<H> {
        self.ask.hold(hold)
    }
}

impl<A: Settle, E> Settle for Except<A, E> {
    type ReleasePolicy<H: Clone> = A::ReleasePolicy<H>;

    fn hold<H: Clone>(&self, hold: H) -> A::ReleasePolicy<H> {
        self.ask.hold(hold)
    }
}

impl<A: Settle, W: Clone> Settle for Settled<A, W> {
    type ReleasePolicy<H: Clone> = SettlingRelease<A::ReleasePolicy<H>, W>;

    fn hold<H: Clone>(&self, hold: H) -> Self::ReleasePolicy<H> {
        let way = self.way.clone();
        let hold = self.ask.hold(hold);
        SettlingRelease { hold, way }
    }
}

// ===== impl ReleasePolicy =====

impl<Response, K, H, C> ReleasePolicy<Response, Admitted<K>> for SettlingRelease<H, ByResponse<C>>
where
    K: Rate,
    H: ReleasePolicy<Response, Admitted<K>>,
    C: Cost<Response> + Clone,
{
    type Output = H::Output;

    fn hold(&self, response: Response, mut admitted: Admitted<K>) -> H::Output {
        admitted.settle(|| self.way.0.cost(&response));
        self.hold.hold(response, admitted)
    }

    fn empty(&self, response: Response) -> H::Output {
        self.hold.empty(response)
    }
}

impl<B, C, K, H> ReleasePolicy<http::Response<B>, Admitted<K>> for SettlingRelease<H, ByBytes>
where
    C: http_body::Body,
    K: Rate,
    H: ReleasePolicy<http::Response<B>, Admitted<K>, Output = http::Response<C>>,
{
    type Output = http::Response<Metered<C, K>>;

    fn hold(&self, response: http::Response<B>, admitted: Admitted<K>) -> Self::Output {
        let (admitted, later) = admitted.split();
        let response = self.hold.hold(response, admitted);
        response.map(|body| Metered::new(body, later))
    }

    fn empty(&self, response: http::Response<B>) -> Self::Output {
        self.hold.empty(response).map(Metered::from)
    }
}
