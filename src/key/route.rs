//! The route that a request took through axum's router.

use axum::extract::MatchedPath;
use http::Request;

use super::{Caller, Key};

/// Method and matched route, such as `GET /users/{id}`, whatever the id. For layers that stand inside of axum's router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Route;

impl<B> Key<Request<B>> for Route {
    fn caller(&self, request: &Request<B>) -> Option<Caller> {
        let path: &MatchedPath = request.extensions().get()?;
        let method = Caller::name(request.method().as_str());
        Some(Caller::joined(&[method, Caller::name(path.as_str())]))
    }
}
