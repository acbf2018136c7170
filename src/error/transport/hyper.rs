use std::{error::Error, io};

use http::Uri;
use hyper_util::client::legacy::{self as client, connect::HttpConnector};
use tower_service::Service;

use super::{Reading, RequestBodyFailed};
use crate::error::{Outcome, source_chain::sources};

/// This error has no public name.
type ConnectError = <HttpConnector as Service<Uri>>::Error;

pub(super) fn read(error: &(dyn Error + 'static)) -> Reading {
    if let Some(error) = error.downcast_ref::<client::Error>() {
        return error.is_connect().then_some(Ok(Outcome::NotSent));
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    if error.is_user() {
        return Some(Err(RequestBodyFailed));
    }
    (!error.is_parse()).then_some(Ok(Outcome::Interrupted))
}

/// Returns whether the next connection would fail as well.
pub(super) fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    let client_error = error.downcast_ref::<client::Error>();
    if client_error.is_some_and(client::Error::is_connect) {
        // TLS reports a bad certificate, or that the peer has no TLS, as invalid data.
        return sources(error).any(|cause| {
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
        });
    }
    // The connector does not support the URL. All of its other errors have a source.
    error.is::<ConnectError>() && error.source().is_none()
}
