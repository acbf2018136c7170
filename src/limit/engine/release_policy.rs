//! When the permit of an admitted request is released.

use crate::{
    error::Rejected,
    http::{GuardedBody, IntoHttp, WithBody, guarded_body::Guarded, with_body::map_body},
};

/// Decides when the permit of an admitted request is released.
pub trait ReleasePolicy<Response, P>: Clone {
    /// The response of the service.
    type Output;

    /// Attaches `pass` to the response, or drops it.
    fn hold(&self, response: Response, pass: P) -> Self::Output;

    /// Converts the response of a rejected request, which holds nothing.
    fn rejected(&self, response: Response, rejected: &Rejected) -> Self::Output;
}

/// Until the response: for limits that hold nothing, and for responses without a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UntilResponse;

/// Until the end of the response's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct UntilBodyEnd;

impl<Response, P> ReleasePolicy<Response, P> for UntilResponse {
    type Output = Response;

    fn hold(&self, response: Response, _: P) -> Response {
        response
    }

    fn rejected(&self, response: Response, _: &Rejected) -> Response {
        response
    }
}

impl<R, P> ReleasePolicy<R, P> for UntilBodyEnd
where
    R: WithBody<GuardedBody<<R as IntoHttp>::Body, P>>,
{
    type Output = Guarded<R, P>;

    fn hold(&self, response: R, pass: P) -> Self::Output {
        map_body(response, |body| GuardedBody::new(body, pass))
    }

    fn rejected(&self, response: R, _: &Rejected) -> Self::Output {
        map_body(response, GuardedBody::from)
    }
}
