//! What a layer sees of a response.

use crate::http::ResponseHead;

/// What conditions see of a response, and where a layer notes who responded.
///
/// `dyn ResponseHead` is a view of each HTTP response, and a response of any type is one of itself.
#[diagnostic::on_unimplemented(
    message = "`{Response}` is not an HTTP response",
    note = "for other responses, call `.any_response::<{Response}>()`",
    note = "enable the feature `reqwest` for its responses"
)]
pub trait View<Response> {
    fn view(response: &Response) -> &Self;
    fn view_mut(response: &mut Response) -> &mut Self;
}

impl<Response: ResponseHead + 'static> View<Response> for dyn ResponseHead {
    fn view(response: &Response) -> &Self {
        response
    }

    fn view_mut(response: &mut Response) -> &mut Self {
        response
    }
}

impl<Response> View<Response> for Response {
    fn view(response: &Response) -> &Self {
        response
    }

    fn view_mut(response: &mut Response) -> &mut Self {
        response
    }
}
