//! When a permit is released, and the outcome that it reports.

use super::{Permit, adaptive::Latency, body::BodyPermit};
use crate::{
    error::{Outcome, Rejected},
    http::{
        GuardedBody, IntoHttp, ResponseHead, WithBody, guarded_body::Guarded,
        keep_alives::KeepAlives, with_body::map_body,
    },
    limit::engine::{ReleasePolicy, UntilBodyEnd, UntilResponse},
};

/// Holds a permit, and reports the outcome of its request.
#[derive(Debug, Clone, Copy)]
pub struct ReportingRelease<H>(pub(super) H);

/// Until the headers of an HTTP response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UntilHeaders;

impl<Response> ReleasePolicy<Response, Permit> for ReportingRelease<UntilResponse> {
    type Output = Response;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Response {
        permit.succeeded();
        response
    }

    fn rejected(&self, response: Response, _: &Rejected) -> Response {
        response
    }
}

impl<Response> ReleasePolicy<Response, Permit> for ReportingRelease<UntilHeaders>
where
    Response: ResponseHead,
{
    type Output = Response;

    #[inline]
    fn hold(&self, response: Response, mut permit: Permit) -> Response {
        if permit.sampler().is_some() {
            report(Outcome::of(Ok(&response)), &mut permit);
        }
        response
    }

    fn rejected(&self, response: Response, _: &Rejected) -> Response {
        response
    }
}

impl<R> ReleasePolicy<R, Permit> for ReportingRelease<UntilBodyEnd>
where
    R: WithBody<GuardedBody<<R as IntoHttp>::Body, BodyPermit>>,
{
    type Output = Guarded<R, BodyPermit>;

    #[inline]
    fn hold(&self, response: R, mut permit: Permit) -> Self::Output {
        if let Some(sampler) = permit.sampler() {
            let outcome = Outcome::of(Ok(&response));
            if sampler.latency != Latency::Headers && outcome == Some(Outcome::Success) {
                let now = sampler.now();
                let permit = BodyPermit::new(permit, Some(now));
                let keep_alives = KeepAlives::of(response.headers());
                return map_body(response, |body| {
                    GuardedBody::watched(body, permit, BodyPermit::watch, keep_alives)
                });
            }
            report(outcome, &mut permit);
        }
        self.0.hold(response, BodyPermit::new(permit, None))
    }

    fn rejected(&self, response: R, _: &Rejected) -> Self::Output {
        map_body(response, GuardedBody::from)
    }
}

/// Reports the end of a call if it depends on the load of the service. Other failures are ignored,
/// because they are often faster than responses. So are rejections by this crate, which did not
/// reach the service.
pub(super) fn report(outcome: Option<Outcome>, permit: &mut Permit) {
    match outcome {
        Some(Outcome::Success) => permit.succeeded(),
        Some(
            Outcome::NotSent
            | Outcome::Interrupted
            | Outcome::RateLimited
            | Outcome::Overloaded
            | Outcome::Timeout,
        ) => permit.overloaded(),
        _ => permit.ignored(),
    }
}
