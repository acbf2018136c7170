//! Whose headers, errors and token counts the provider has.

/// Whose headers and errors are sent, and how tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// What every response says about the limits.
    pub(crate) headers: RateHeaders,
    /// Whether a 429 says how long to wait.
    pub(crate) retry_after: bool,
    /// When tokens count, and how many.
    pub(crate) counting: Counting,
    /// The headers round what is left of tokens to multiples of this, if the limit has 50 of them.
    pub(crate) rounding: u64,
}

/// The headers that say how much is left, and the form of errors that goes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateHeaders {
    /// `x-ratelimit-…`.
    OpenAi,
    /// `anthropic-ratelimit-…`.
    Anthropic,
    /// None, with OpenAI's errors.
    None,
}

/// When tokens count, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// At admission the estimated prompt and the most that the response may have. Nothing is given
    /// back.
    Reserved,
    /// The same, until the response has ended: then what was not used is given back.
    Settled,
    /// At admission the estimated prompt, which is corrected when the response has ended; the
    /// response itself counts only then, and may push the sum over the limit. While it is over, no
    /// request is admitted.
    Completion,
}

// ===== impl Style =====

impl Style {
    /// OpenAI: a reservation that is never given back, and headers in Go's durations.
    pub(crate) const OPENAI: Self = Self {
        headers: RateHeaders::OpenAi,
        retry_after: true,
        counting: Counting::Reserved,
        rounding: 1,
    };
    /// Anthropic: real output only, and headers with dates.
    pub(crate) const ANTHROPIC: Self = Self {
        headers: RateHeaders::Anthropic,
        retry_after: true,
        counting: Counting::Completion,
        rounding: 1_000,
    };
    /// DeepSeek: a 429 and nothing else.
    pub(crate) const DEEPSEEK: Self = Self {
        headers: RateHeaders::None,
        retry_after: false,
        counting: Counting::Settled,
        rounding: 1,
    };
    /// AIPower: `retry-after` and nothing else.
    pub(crate) const AIPOWER: Self = Self {
        retry_after: true,
        ..Self::DEEPSEEK
    };

    /// The style of the provider and tier of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "openai-tier-1" | "openai-tier-4" => Some(Self::OPENAI),
            "anthropic-build" => Some(Self::ANTHROPIC),
            "deepseek" => Some(Self::DEEPSEEK),
            "aipower" => Some(Self::AIPOWER),
            _ => None,
        }
    }
}
