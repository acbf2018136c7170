use std::{error::Error, fmt};

/// Why a [`ReplayBody`](super::ReplayBody) can't be sent, or no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReplayError {
    /// Another attempt took the body over before this one had sent it.
    Superseded,
    /// More was sent than may be recorded, or the original failed, before this one was begun: nothing of it was sent.
    NotWhole,
}

// ===== impl ReplayError =====

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "another attempt took over the request's body",
            Self::NotWhole => "the request's body was not recorded to its end",
        })
    }
}

impl Error for ReplayError {}
