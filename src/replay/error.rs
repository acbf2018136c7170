use std::{error::Error, fmt};

/// The reason that a [`ReplayBody`](super::body::ReplayBody) can't be sent, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayError {
    /// Another attempt took over the body before this one had sent it.
    Superseded,
    /// More was sent than may be recorded, or the original failed, before this attempt started.
    /// Nothing was sent.
    NotWhole,
}

// ===== impl ReplayError =====

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "request body was taken over by another attempt",
            Self::NotWhole => "request body was not recorded completely",
        })
    }
}

impl Error for ReplayError {}
