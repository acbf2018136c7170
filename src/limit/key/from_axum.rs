//! Keys from what axum puts into requests.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath};
use http::{Extensions, Method, Request};

use super::{ClientKey, Key};

/// Key by method and matched route, such as `GET /users/{id}` for all ids. For layers inside axum's
/// router.
///
/// Requests that match no route count together, for each method. Outside the router that is all
/// requests. All methods other than HTTP's nine, which clients can make up, count as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Route;

impl<B> Key<Request<B>> for Route {
    fn key(&self, request: &Request<B>) -> Option<ClientKey> {
        let path = request.extensions().get::<MatchedPath>();
        let method = ClientKey::name(known(request.method()));
        let path = path.map_or("", MatchedPath::as_str);
        Some(ClientKey::joined(&[method, ClientKey::name(path)]))
    }
}

/// Returns the name of a standard method: made-up ones must not have a limit each.
fn known(method: &Method) -> &str {
    match method.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => {
            method.as_str()
        }
        _ => "",
    }
}

/// Returns the address of the peer, if the server was started with axum's connect info.
pub(super) fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map(|info| info.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::peer_ip::{PeerAddr, peer};

    #[test]
    fn what_axum_says_counts_after_the_own_extension() {
        let mut request = Request::new(());
        let axums = SocketAddr::from(([192, 0, 2, 1], 1));
        request.extensions_mut().insert(ConnectInfo(axums));
        assert_eq!(peer(request.extensions()), Some(axums.ip()));
        let own = SocketAddr::from(([192, 0, 2, 2], 1));
        request.extensions_mut().insert(PeerAddr(own));
        assert_eq!(peer(request.extensions()), Some(own.ip()));
    }
}
