//! How long a permit is held, and what is said of the request meanwhile.

use super::{Permit, adaptive::Latency};
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
        judge_error(error, &mut permit);
    }
}

impl<Response> Hold<Response, Permit> for Held<UntilHeaders>
where
    Response: ResponseHead,
{
    type Output = Response;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Response {
        if permit.awaited().is_some() {
            judge_response(&response, &mut permit);
        }
        response
    }

    fn empty(&self, response: Response) -> Response {
        response
    }

    fn failed(&self, error: Option<&BoxError>, mut permit: Permit) {
        judge_error(error, &mut permit);
    }
}

impl<Response> Hold<Response, Permit> for Held<UntilBodyEnd>
where
    Response: ResponseHead + Carry<Permit>,
{
    type Output = Response::Output;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Self::Output {
        let Some(latency) = permit.awaited() else {
            return self.0.hold(response, permit);
        };
        if latency != Latency::Headers && ErrorKind::of(Ok(&response)).is_none() {
            return response.carry_watched(permit, watch);
        }
        judge_response(&response, &mut permit);
        self.0.hold(response, permit)
    }

    fn empty(&self, response: Response) -> Self::Output {
        response.carry_nothing()
    }

    fn failed(&self, error: Option<&BoxError>, mut permit: Permit) {
        judge_error(error, &mut permit);
    }
}

/// The body has had its first byte, or its end.
fn watch(permit: &mut Permit, has_ended: bool) {
    if has_ended || permit.awaited() == Some(Latency::FirstByte) {
        permit.succeeded();
    }
}

fn judge_response<Response: ResponseHead>(response: &Response, permit: &mut Permit) {
    match ErrorKind::of(Ok(response)) {
        None => permit.succeeded(),
        failed => judge(failed, permit),
    }
}

/// Refusals that were made on this side say nothing of the other one.
#[cold]
fn judge_error(error: Option<&BoxError>, permit: &mut Permit) {
    let is_ours = |error: &BoxError| {
        causes(error).any(|cause| cause.is::<Rejected>() || cause.is::<CircuitOpen>())
    };
    let theirs = error.filter(|error| !is_ours(error));
    judge(theirs.and_then(ErrorKind::of_error), permit);
}

fn judge(kind: Option<ErrorKind>, permit: &mut Permit) {
    match kind {
        Some(
            ErrorKind::RateLimit | ErrorKind::Overload | ErrorKind::Timeout | ErrorKind::Connection,
        ) => permit.overloaded(),
        // Other failures are often faster than answers, and say as little of the load.
        _ => permit.ignored(),
    }
}
