//! How long a permit is held, and what is said of the request meanwhile.

use super::{Permit, Reading, adaptive::Latency};
use crate::{
    BoxError, Carry, Outcome, ResponseHead,
    limit::{Hold, UntilBodyEnd, UntilResponse},
};

/// Holds a permit, and tells it what comes of its request.
#[derive(Debug, Clone, Copy)]
pub struct Held<H>(pub(super) H);

/// Until the headers of an HTTP response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UntilHeaders;

impl<Response> Hold<Response, Permit> for Held<UntilResponse> {
    type Output = Response;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Response {
        permit.succeeded();
        response
    }

    fn empty(&self, response: Response) -> Response {
        response
    }

    fn failed(&self, error: Option<&BoxError>, mut permit: Permit) {
        failed(error, &mut permit);
    }
}

impl<Response> Hold<Response, Permit> for Held<UntilHeaders>
where
    Response: ResponseHead,
{
    type Output = Response;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Response {
        if permit.sampler().is_some() {
            Load::of(&response).tell(&mut permit);
        }
        response
    }

    fn empty(&self, response: Response) -> Response {
        response
    }

    fn failed(&self, error: Option<&BoxError>, mut permit: Permit) {
        failed(error, &mut permit);
    }
}

impl<Response> Hold<Response, Permit> for Held<UntilBodyEnd>
where
    Response: ResponseHead + Carry<Reading>,
{
    type Output = Response::Output;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Self::Output {
        if let Some(sampler) = permit.sampler() {
            let load = Load::of(&response);
            if sampler.latency() != Latency::Headers && load == Load::Bearable {
                return response.carry_watched(Reading::idle(permit), Reading::watch);
            }
            load.tell(&mut permit);
        }
        self.0.hold(response, Reading::told(permit))
    }

    fn empty(&self, response: Response) -> Self::Output {
        response.carry_nothing()
    }

    fn failed(&self, error: Option<&BoxError>, mut permit: Permit) {
        failed(error, &mut permit);
    }
}

/// What the end of a call says about the load of the service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Bearable,
    TooMuch,
    /// Failures are often faster than responses, and rejections by this crate never reached the service.
    Unknown,
}

// ===== impl Load =====

impl Load {
    fn of<Response: ResponseHead>(response: &Response) -> Self {
        let outcome = Outcome::of(Ok(response));
        match response.headers().get("grpc-status") {
            Some(status) if outcome == Some(Outcome::Success) => {
                Self::after(Some(Outcome::of_grpc(status.as_bytes())))
            }
            _ => Self::after(outcome),
        }
    }

    const fn after(outcome: Option<Outcome>) -> Self {
        match outcome {
            Some(Outcome::Success) => Self::Bearable,
            Some(
                Outcome::NotSent
                | Outcome::Interrupted
                | Outcome::RateLimited
                | Outcome::Overloaded
                | Outcome::Timeout,
            ) => Self::TooMuch,
            _ => Self::Unknown,
        }
    }

    fn tell(self, permit: &mut Permit) {
        match self {
            Self::Bearable => permit.succeeded(),
            Self::TooMuch => permit.overloaded(),
            Self::Unknown => permit.ignored(),
        }
    }
}

#[cold]
fn failed(error: Option<&BoxError>, permit: &mut Permit) {
    Load::after(error.and_then(Outcome::of_error)).tell(permit);
}
