use std::{error::Error, fmt, sync::Arc};

use crate::BoxError;

/// Why a body that several requests share can't be read on.
///
/// Where one request alone has the answer, it gets what broke its body as it is. Where several do, each of them gets one of
/// these, with what broke the body as its [source](Error::source).
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
    /// What the one gets who met the error, and what the others do.
    pub(super) fn share(error: BoxError, is_alone: bool) -> (BoxError, Self) {
        if is_alone {
            return (error, Self::dropped());
        }
        let kind = Kind::Broken(error.into());
        let error = Self { kind };
        (error.clone().into(), error)
    }

    pub(super) const fn dropped() -> Self {
        let kind = Kind::Dropped;
        Self { kind }
    }

    pub(super) const fn fell_behind() -> Self {
        let kind = Kind::FellBehind;
        Self { kind }
    }

    /// Whether this one read too slowly for the others. See the [module docs](crate::cache#one-request-for-many).
    #[must_use]
    pub const fn is_too_slow(&self) -> bool {
        matches!(self.kind, Kind::FellBehind)
    }
}

impl fmt::Display for SharedBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Broken(_) => "the body that was shared broke off",
            Kind::Dropped => "the body is gone",
            Kind::FellBehind => "read too slowly for those that the body was shared with",
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
