//! Tokens: those that a request may use, and those that it has used.

/// The tokens that a request may use, as far as one can tell before it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tokens {
    /// Those of the prompt.
    pub input: u64,
    /// The most that the answer may have.
    pub output: u64,
}

/// The tokens that an answer says it used, in one meaning for all providers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TokenUsage {
    /// All tokens of the prompt, those that came from a cache or were written to one among them.
    pub input: u64,
    /// Of the input: what was read from the provider's prompt cache.
    pub cached_input: u64,
    /// Of the input: what was written to the provider's prompt cache.
    pub cache_write_input: u64,
    /// All tokens of the answer, those of its reasoning among them.
    pub output: u64,
    /// Of the output: what was spent on reasoning.
    pub reasoning: u64,
}

// ===== impl Tokens =====

impl Tokens {
    /// So many of the prompt, and at most so many of the answer.
    #[must_use]
    pub const fn new(input: u64, output: u64) -> Self {
        Self { input, output }
    }

    /// Both together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

// ===== impl TokenUsage =====

impl TokenUsage {
    /// Input and output together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
