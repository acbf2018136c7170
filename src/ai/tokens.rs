//! Token counts of a request, before and after it is sent.

/// The tokens that a request may use, estimated before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tokens {
    /// Tokens of the prompt.
    pub input: u64,
    /// The largest number of tokens of the response.
    pub output: u64,
}

/// The token usage that a response reports, normalized across providers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TokenUsage {
    /// All tokens of the prompt, including those read from or written to a cache.
    pub input: u64,
    /// Part of the input that was read from the provider's prompt cache.
    pub cached_input: u64,
    /// Part of the input that was written to the provider's prompt cache.
    pub cache_write_input: u64,
    /// All tokens of the response, including reasoning.
    pub output: u64,
    /// Part of the output that was used for reasoning.
    pub reasoning: u64,
}

// ===== impl Tokens =====

impl Tokens {
    /// Creates an estimate of `input` tokens for the prompt and at most `output` for the response.
    #[must_use]
    pub const fn new(input: u64, output: u64) -> Self {
        Self { input, output }
    }

    /// Returns the sum of input and output.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

// ===== impl TokenUsage =====

impl TokenUsage {
    /// Returns the sum of input and output.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
