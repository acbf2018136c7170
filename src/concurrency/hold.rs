//! How long a permit is held, and what is said of the request meanwhile.

use super::{Permit, Reading, adaptive::Latency};
use crate::{
    BoxError, Carry, CircuitOpen, ErrorKind, Rejected, ResponseHead,
    causes::causes,
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
            Verdict::of(&response).tell(&mut permit);
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
            let verdict = Verdict::of(&response);
            if sampler.latency() != Latency::Headers && verdict == Verdict::Answer {
                return response.carry_watched(Reading::idle(permit), Reading::watch);
            }
            verdict.tell(&mut permit);
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

/// What the end of a call says of the other side's load.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Answer,
    Overload,
    /// Failures are often faster than answers, and refusals that were made on this side are none of the other one.
    Nothing,
}

// ===== impl Verdict =====

impl Verdict {
    fn of<Response: ResponseHead>(response: &Response) -> Self {
        if response.extensions().get::<Rejected>().is_some() {
            return Self::Nothing;
        }
        match ErrorKind::of(Ok(response)) {
            Some(kind) => Self::of_kind(kind),
            None if response.status().is_client_error() => Self::Nothing,
            None => match response.headers().get("grpc-status") {
                None => Self::Answer,
                Some(status) => Self::of_grpc(status.as_bytes()),
            },
        }
    }

    /// By the status of a gRPC call that has nothing but that.
    fn of_grpc(status: &[u8]) -> Self {
        match status {
            b"0" => Self::Answer,
            // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE.
            b"4" | b"8" | b"14" => Self::Overload,
            _ => Self::Nothing,
        }
    }

    #[cold]
    fn of_error(error: &BoxError) -> Self {
        if causes(error).any(|cause| cause.is::<Rejected>() || cause.is::<CircuitOpen>()) {
            return Self::Nothing;
        }
        ErrorKind::of_error(error).map_or(Self::Nothing, Self::of_kind)
    }

    const fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::RateLimit
            | ErrorKind::Overload
            | ErrorKind::Timeout
            | ErrorKind::Connection => Self::Overload,
            _ => Self::Nothing,
        }
    }

    fn tell(self, permit: &mut Permit) {
        match self {
            Self::Answer => permit.succeeded(),
            Self::Overload => permit.overloaded(),
            Self::Nothing => permit.ignored(),
        }
    }
}

fn failed(error: Option<&BoxError>, permit: &mut Permit) {
    error
        .map_or(Verdict::Nothing, Verdict::of_error)
        .tell(permit);
}
