//! The route that a request took through axum's router.

use axum::extract::MatchedPath;
use http::{Method, Request};

use super::{Caller, Key};

/// Method and matched route, such as `GET /users/{id}`, whatever the id. For layers that stand inside of axum's router.
///
/// A method that is none of HTTP's own nine, as WebDAV has them and anybody can make them up, counts as all others of a route do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Route;

impl<B> Key<Request<B>> for Route {
    fn caller(&self, request: &Request<B>) -> Option<Caller> {
        let path: &MatchedPath = request.extensions().get()?;
        let method = Caller::name(known(request.method()));
        Some(Caller::joined(&[method, Caller::name(path.as_str())]))
    }
}

/// A route that takes any method must not have a limit for each that a client thinks of.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::CONNECT
        | Method::OPTIONS
        | Method::TRACE
        | Method::PATCH => method.as_str(),
        _ => "",
    }
}
