use std::{error::Error, fmt, sync::Arc};

/// Error of a response body that several requests share.
///
/// The inner body's error is its [source](Error::source). If one request alone reads the body, it
/// gets the inner body's error itself.
#[derive(Debug, Clone)]
pub struct SharedBodyError(pub(super) Kind);

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Broken(Arc<dyn Error + Send + Sync>),
    Dropped,
    FellBehind,
}

// ===== impl SharedBodyError =====

impl SharedBodyError {
    /// Returns whether this request read too slowly for the others. See the
    /// [module docs](crate::cache#equal-requests-at-the-same-time).
    #[must_use]
    pub const fn is_too_slow(&self) -> bool {
        matches!(self.0, Kind::FellBehind)
    }
}

impl fmt::Display for SharedBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Broken(_) => "shared response body failed",
            Kind::Dropped => "shared response body was dropped",
            Kind::FellBehind => "shared response body was read too slowly",
        })
    }
}

impl Error for SharedBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Broken(source) => Some(&**source),
            Kind::Dropped | Kind::FellBehind => None,
        }
    }
}
