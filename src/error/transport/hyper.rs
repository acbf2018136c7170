use std::{error::Error, io};

use h2::Reason;
use http::Uri;
use hyper_util::client::legacy::{self as client, connect::HttpConnector};
use tower_service::Service;

use crate::error::{Outcome, source_chain::sources};

/// This error has no public name.
type ConnectError = <HttpConnector as Service<Uri>>::Error;

pub(super) fn outcome(error: &(dyn Error + 'static)) -> Option<Outcome> {
    if let Some(error) = error.downcast_ref::<client::Error>() {
        return error.is_connect().then_some(Outcome::NotSent);
    }
    if let Some(error) = error.downcast_ref() {
        return of_h2(error);
    }
    let error = error.downcast_ref::<hyper::Error>()?;
    let is_malformed = error.is_user() || error.is_parse();
    (!is_malformed).then_some(Outcome::Interrupted)
}

fn of_h2(error: &h2::Error) -> Option<Outcome> {
    if let Some(error) = error.get_io() {
        return super::of_io(error.kind());
    }
    if !error.is_remote() {
        return error.is_library().then_some(Outcome::Interrupted);
    }
    if error.is_go_away() {
        // Only streams that the server did not process get this error (RFC 9113 §8.7).
        return Some(Outcome::NotSent);
    }
    Some(match error.reason()? {
        Reason::REFUSED_STREAM => Outcome::NotSent,
        Reason::ENHANCE_YOUR_CALM => Outcome::RateLimited,
        Reason::INADEQUATE_SECURITY => Outcome::ClientError,
        _ => Outcome::Interrupted,
    })
}

pub(super) fn is_request_body(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        // A client resets the stream of a request whose body failed.
        return error.is_reset() && !error.is_remote() && !error.is_library();
    }
    let error = error.downcast_ref::<hyper::Error>();
    error.is_some_and(hyper::Error::is_user)
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
