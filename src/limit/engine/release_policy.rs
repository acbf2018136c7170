//! What becomes of the thing that an admitted request holds.

use crate::{
    error::BoxError,
    http::{GuardedBody, IntoHttp, WithBody, guarded_body::Guarded, with_body::map_body},
};

/// Puts what an admitted request holds where it belongs once there is a response.
pub trait ReleasePolicy<Response, P>: Clone {
    /// The response that the caller gets.
    type Output;

    /// Decides how long `pass` lives on.
    fn hold(&self, response: Response, pass: P) -> Self::Output;

    /// Hears that the call has failed, and with which error where that can be known.
    fn failed(&self, error: Option<&BoxError>, pass: P) {
        let _ = (error, pass);
    }

    /// The answer of a request that was refused, and so holds nothing.
    fn empty(&self, response: Response) -> Self::Output;
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

    fn empty(&self, response: Response) -> Response {
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

    fn empty(&self, response: R) -> Self::Output {
        map_body(response, GuardedBody::from)
    }
}
