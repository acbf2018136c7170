use crate::ai::tokens::TokenUsage;

/// What a request costs if its response does not arrive completely.
///
/// Such a request was dropped, timed out, lost its connection or panicked, so it is not known how
/// many tokens the provider has counted. See
/// [`ProviderLayer::on_drop`](super::ProviderLayer::on_drop).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Charge {
    /// The tokens that were reserved. The default: the limits are never exceeded.
    #[default]
    Reserved,
    /// The tokens that the response has reported so far, such as the input tokens at the start of
    /// an Anthropic stream; 0 if it has reported none.
    ///
    /// For providers that stop if the client disconnects. If they do not, the limits may be
    /// exceeded.
    Reported,
}

// ===== impl Charge =====

impl Charge {
    /// Returns the usage to settle an incomplete response with; `None` keeps the reservation.
    pub(super) fn usage(self, reported: TokenUsage) -> Option<TokenUsage> {
        (self == Self::Reported).then_some(reported)
    }
}
