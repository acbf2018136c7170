use std::{error::Error, fmt, sync::Arc};

use crate::error::BoxError;

/// Error of a response body that several requests share.
///
/// The inner body's error is its [source](Error::source). If one request alone reads the body, it
/// gets the inner body's error itself.
#[derive(Debug, Clone)]
pub struct SharedBodyError {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Broken(Arc<dyn Error + Send + Sync>),
    Dropped,
    FellBehind,
}

// ===== impl SharedBodyError =====

impl SharedBodyError {
    /// Returns the error itself if one request is alone, and what all others get.
    pub(super) fn share(error: BoxError, is_alone: bool) -> (Option<BoxError>, Self) {
        if is_alone {
            return (Some(error), Self::dropped());
        }
        let kind = Kind::Broken(error.into());
        (None, Self { kind })
    }

    pub(super) const fn dropped() -> Self {
        let kind = Kind::Dropped;
        Self { kind }
    }

    pub(super) const fn fell_behind() -> Self {
        let kind = Kind::FellBehind;
        Self { kind }
    }

    /// Returns whether this request read too slowly for the others. See the
    /// [module docs](crate::cache#equal-requests-at-the-same-time).
    #[must_use]
    pub const fn is_too_slow(&self) -> bool {
        matches!(self.kind, Kind::FellBehind)
    }
}

impl fmt::Display for SharedBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Broken(_) => "shared response body failed",
            Kind::Dropped => "shared response body was dropped",
            Kind::FellBehind => "shared response body was read too slowly",
        })
    }
}

impl Error for SharedBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Broken(source) => Some(&**source),
            Kind::Dropped | Kind::FellBehind => None,
        }
    }
}
