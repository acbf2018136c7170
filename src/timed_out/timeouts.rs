//! Errors that say that something took too long.

use std::{any::Any, error::Error, io};

use super::TimedOut;
use crate::{BoxError, error::source_chain::sources};

/// Whether an error, of whatever type errors are, is a timeout: one of this crate's, of tower's, tokio's or reqwest's.
pub(crate) fn is_timeout<E: 'static>(error: &E) -> bool {
    as_error(error).is_some_and(|error| sources(error).any(is_one))
}

fn is_one(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return error.is_timeout();
    }
    error.is::<TimedOut>()
        || error.is::<tokio::time::error::Elapsed>()
        || error.is::<tower::timeout::error::Elapsed>()
}

/// The error as such, where it is of a type that may have a timeout inside.
fn as_error(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<BoxError>() {
        return Some(&**error);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = of::<reqwest::Error>(error) {
        return Some(error);
    }
    #[cfg(feature = "axum")]
    if let Some(error) = of::<axum_core::Error>(error) {
        return Some(error);
    }
    of::<TimedOut>(error).or_else(|| of::<io::Error>(error))
}

fn of<E: Error + 'static>(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    error.downcast_ref::<E>().map(|error| error as _)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMED_OUT: TimedOut = TimedOut::Attempt(Duration::ZERO);

    #[tokio::test(start_paused = true)]
    async fn timeouts_are_found_in_whatever_holds_them() {
        let never = std::future::pending::<()>();
        let elapsed = tokio::time::timeout(Duration::ZERO, never).await;
        assert!(is_timeout(&TIMED_OUT));
        assert!(is_timeout(&BoxError::from(TIMED_OUT)));
        assert!(is_timeout(&BoxError::from(elapsed.unwrap_err())));
        let tower = tower::timeout::error::Elapsed::new();
        assert!(is_timeout(&BoxError::from(tower)));
        let inside = io::Error::other(TIMED_OUT);
        assert!(is_timeout(&inside));
        assert!(is_timeout(&BoxError::from(inside)));
        #[cfg(feature = "axum")]
        assert!(is_timeout(&axum_core::Error::new(TIMED_OUT)));
    }

    #[test]
    fn other_errors_are_none() {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!is_timeout(&broken()));
        assert!(!is_timeout(&BoxError::from(broken())));
        assert!(!is_timeout(&BoxError::from("timed out")));
        assert!(!is_timeout(&"of no known type"));
    }
}
