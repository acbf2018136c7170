//! The ways in which a request comes to grief.

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It is answered with 500.
    ServerError,
    /// It is answered with 503 and a `retry-after`.
    Unavailable,
    /// It is answered with 529, as Anthropic does.
    Overloaded,
    /// The connection is reset instead of a response.
    ResetBeforeHead,
    /// The connection is reset after the head of the response.
    ResetAfterHead,
    /// No response is ever sent.
    StallBeforeHead,
    /// The head is sent, and then nothing.
    StallAfterHead,
    /// A stream opens with 200, and its first event is an error.
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

    /// Whether the client has part of a response by then, which is paid for.
    pub(crate) const fn is_paid_for(self) -> bool {
        matches!(self, Self::CutStream)
    }
}
