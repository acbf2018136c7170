//! The ways in which a request comes to grief.

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It is answered with 500.
    ServerError,
    /// It is answered with 503, and told when to come again.
    Unavailable,
    /// It is answered with 529, as Anthropic does.
    Overloaded,
    /// The connection is reset in the place of an answer.
    ResetBeforeHead,
    /// The connection is reset when the head of the answer was sent, and nothing of what it says.
    ResetAfterHead,
    /// Nothing ever comes.
    StallBeforeHead,
    /// The head comes, and then nothing of what it says.
    StallAfterHead,
    /// A stream opens with 200, and the first that it says is that it failed.
    ErrorStream,
    /// The connection is reset in the middle of a stream.
    CutStream,
}

// ===== impl Mishap =====

impl Mishap {
    pub(crate) const ALL: [Self; 9] = [
        Self::ServerError,
        Self::Unavailable,
        Self::Overloaded,
        Self::ResetBeforeHead,
        Self::ResetAfterHead,
        Self::StallBeforeHead,
        Self::StallAfterHead,
        Self::ErrorStream,
        Self::CutStream,
    ];

    /// Whether it can befall a stream only.
    pub(crate) const fn is_of_streams(self) -> bool {
        matches!(self, Self::ErrorStream | Self::CutStream)
    }

    /// Whether the client has part of an answer by then, which is paid for.
    pub(crate) const fn is_paid_for(self) -> bool {
        matches!(self, Self::CutStream)
    }
}
