//! The cost of a request that is known only after it: reserved at first, and settled once there is an answer.

use super::{
    admitted::Admitted,
    ask::{Ask, Asked, ByKey, Except, WithPlan, sealed::Sealed},
    body::Metered,
    kind::Rate,
};
use crate::{Cost, limit::Hold};

/// What is done to an answer, for a limit that asks for this.
///
/// Sealed, as [`Ask`] is.
pub trait Settle: Sealed {
    #[doc(hidden)]
    type Hold<H: Clone>: Clone;

    #[doc(hidden)]
    fn hold<H: Clone>(&self, hold: H) -> Self::Hold<H>;
}

/// The cost is what a [`Cost`] says of the response.
#[derive(Debug, Clone, Copy)]
pub struct ByResponse<A, C> {
    pub(super) ask: A,
    pub(super) cost: C,
}

/// The cost is the bytes of the response's body.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes<A> {
    pub(super) ask: A,
}

/// Settles by what is known of the response, before anything else is done with it.
#[derive(Debug, Clone, Copy)]
pub struct AtResponse<H, C> {
    hold: H,
    cost: C,
}

/// Settles by what has gone through the body.
#[derive(Debug, Clone, Copy)]
pub struct AtBodyEnd<H> {
    hold: H,
}

impl<A, C> Sealed for ByResponse<A, C> {}
impl<A> Sealed for ByBytes<A> {}

impl<A, C, Request, Plan> Ask<Request, Plan> for ByResponse<A, C>
where
    A: Ask<Request, Plan>,
{
    fn ask(&self, request: &Request) -> Asked<Plan> {
        let settles = true;
        let asked = self.ask.ask(request);
        Asked { settles, ..asked }
    }
}

impl<A, Request, Plan> Ask<Request, Plan> for ByBytes<A>
where
    A: Ask<Request, Plan>,
{
    fn ask(&self, request: &Request) -> Asked<Plan> {
        let settles = true;
        let asked = self.ask.ask(request);
        Asked { settles, ..asked }
    }
}

// ===== impl Settle =====

impl<K, C> Settle for ByKey<K, C> {
    type Hold<H: Clone> = H;

    fn hold<H: Clone>(&self, hold: H) -> H {
        hold
    }
}

impl<A: Settle, P> Settle for WithPlan<A, P> {
    type Hold<H: Clone> = A::Hold<H>;

    fn hold<H: Clone>(&self, hold: H) -> A::Hold<H> {
        self.ask.hold(hold)
    }
}

impl<A: Settle, E> Settle for Except<A, E> {
    type Hold<H: Clone> = A::Hold<H>;

    fn hold<H: Clone>(&self, hold: H) -> A::Hold<H> {
        self.ask.hold(hold)
    }
}

impl<A: Settle, C: Clone> Settle for ByResponse<A, C> {
    type Hold<H: Clone> = AtResponse<A::Hold<H>, C>;

    fn hold<H: Clone>(&self, hold: H) -> Self::Hold<H> {
        let cost = self.cost.clone();
        let hold = self.ask.hold(hold);
        AtResponse { hold, cost }
    }
}

impl<A: Settle> Settle for ByBytes<A> {
    type Hold<H: Clone> = AtBodyEnd<A::Hold<H>>;

    fn hold<H: Clone>(&self, hold: H) -> Self::Hold<H> {
        let hold = self.ask.hold(hold);
        AtBodyEnd { hold }
    }
}

// ===== impl Hold =====

impl<Response, K, H, C> Hold<Response, Admitted<K>> for AtResponse<H, C>
where
    K: Rate,
    H: Hold<Response, Admitted<K>>,
    C: Cost<Response> + Clone,
{
    type Output = H::Output;

    fn hold(self, response: Response, mut admitted: Admitted<K>) -> H::Output {
        admitted.settle(|| self.cost.cost(&response));
        self.hold.hold(response, admitted)
    }

    fn empty(self, response: Response) -> H::Output {
        self.hold.empty(response)
    }
}

impl<B, C, K, H> Hold<http::Response<B>, Admitted<K>> for AtBodyEnd<H>
where
    C: http_body::Body,
    K: Rate,
    H: Hold<http::Response<B>, Admitted<K>, Output = http::Response<C>>,
{
    type Output = http::Response<Metered<C, K>>;

    fn hold(self, response: http::Response<B>, admitted: Admitted<K>) -> Self::Output {
        let (admitted, later) = admitted.split();
        let response = self.hold.hold(response, admitted);
        response.map(|body| Metered::new(body, later))
    }

    fn empty(self, response: http::Response<B>) -> Self::Output {
        self.hold.empty(response).map(Metered::from)
    }
}
