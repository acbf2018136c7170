//! Converts errors between layers and middleware, keeping their types.

use std::{error::Error as StdError, fmt};

use reqwest_middleware::Error;

use crate::error::{BoxError, Rejected};

/// An error of a layer, inside a `reqwest_middleware::Error::Middleware`.
///
/// [`Rejected`] and `QuotaExhausted` are not wrapped in it. This is for errors of other layers,
/// such as tower's `Elapsed`, which is its source.
#[derive(Debug)]
pub struct LayerError(BoxError);

/// An error of the inner middleware, while it passes through the layers.
///
/// The source of a `reqwest_middleware::Error` is the source of its inner error, which is skipped.
/// This includes the inner error, so that predicates find a [`Rejected`] of an inner layer.
#[derive(Debug)]
struct ErrorAndSources(Error);

// ===== impl LayerError =====

impl LayerError {
    /// Returns a reference to the layer's error.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }

    /// Returns the layer's error.
    #[must_use]
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tower layer failed")
    }
}

impl StdError for LayerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

// ===== impl ErrorAndSources =====

impl fmt::Display for ErrorAndSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ErrorAndSources {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Error::Middleware(error) => Some(error.as_ref()),
            Error::Reqwest(error) => Some(error),
        }
    }
}

/// Converts an error of the inner middleware.
pub(super) fn into_layers(error: Error) -> BoxError {
    match error {
        Error::Reqwest(error) => error.into(),
        error @ Error::Middleware(_) => ErrorAndSources(error).into(),
    }
}

/// Converts an error of the layers.
pub(super) fn out_of_layers(error: BoxError) -> Error {
    let inner = error.downcast::<ErrorAndSources>().map(|inside| inside.0);
    let inner = inner.or_else(|error| error.downcast::<Error>().map(|inner| *inner));
    let inner = inner.or_else(|error| error.downcast().map(|error| Error::Reqwest(*error)));
    let own = inner.or_else(of_type::<Rejected>);
    #[cfg(feature = "provider")]
    let own = own.or_else(of_type::<crate::ai::provider::QuotaExhausted>);
    own.unwrap_or_else(|error| Error::middleware(LayerError(error)))
}

/// Converts an error of type `E`, which users may downcast to.
fn of_type<E: StdError + Send + Sync + 'static>(error: BoxError) -> Result<Error, BoxError> {
    error.downcast::<E>().map(|own| Error::middleware(*own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{LimitKind, Reason};

    fn rejected() -> Rejected {
        let reason = Reason::QueueFull { max_waiting: 1 };
        Rejected::new(LimitKind::TokenBucket, reason, None)
    }

    #[test]
    fn downcast_to_rejected() {
        let Error::Middleware(error) = out_of_layers(rejected().into()) else {
            panic!("not an error of a middleware")
        };
        assert!(error.is::<Rejected>());
    }

    #[cfg(feature = "provider")]
    #[test]
    fn downcast_to_quota_exhausted() {
        use crate::ai::provider::QuotaExhausted;

        let body = br#"{"error":{"code":"insufficient_quota"}}"#;
        let status = http::StatusCode::TOO_MANY_REQUESTS;
        let exhausted = QuotaExhausted::read(status, &http::HeaderMap::new(), body).unwrap();
        let Error::Middleware(error) = out_of_layers(exhausted.into()) else {
            panic!("not an error of a middleware")
        };
        assert!(error.is::<QuotaExhausted>());
    }

    #[test]
    fn inner_errors_are_unchanged() {
        let boxed = into_layers(Error::middleware(rejected()));
        assert!(boxed.source().unwrap().is::<Rejected>());
        let Error::Middleware(error) = out_of_layers(boxed) else {
            panic!("not an error of a middleware")
        };
        assert!(error.is::<Rejected>());
    }

    #[test]
    fn an_error_of_reqwest_stays_one() {
        let error = || {
            reqwest::Proxy::all("")
                .map(drop)
                .expect_err("not a proxy's address")
        };
        let boxed = into_layers(Error::Reqwest(error()));
        assert!(boxed.is::<reqwest::Error>());
        assert!(out_of_layers(boxed).is_builder());
    }

    #[test]
    fn other_errors_become_layer_errors() {
        let Error::Middleware(error) = out_of_layers("something else".into()) else {
            panic!("not an error of a middleware")
        };
        let error: LayerError = error.downcast().unwrap();
        assert_eq!(error.get_ref().to_string(), "something else");
        assert_eq!(error.source().unwrap().to_string(), "something else");
    }
}
