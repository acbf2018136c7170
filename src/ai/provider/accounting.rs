//! How a provider counts tokens, and when.

use crate::{
    ai::tokens::{TokenUsage, Tokens},
    http::Dimension,
};

/// When the tokens of a request count against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counting {
    /// The estimate counts when the request arrives and is never corrected.
    Admission,
    /// The estimate counts when the request arrives. When the response has ended, unused tokens
    /// return to the window that they were taken from, and additional tokens are taken from it.
    Settled,
    /// The actual usage counts when the response has ended. Until then the estimate is reserved.
    Completion,
}

/// How a provider counts tokens, according to its documentation as of 2026. It has not been
/// measured.
///
/// | profile | counts | when | cached input counts | source |
/// | --- | --- | --- | --- | --- |
/// | [`OPENAI`](Self::OPENAI) | prompt and `max_tokens` | [`Admission`](Counting::Admission) | yes | rate limit and prompt caching guides |
/// | [`AZURE_OPENAI`](Self::AZURE_OPENAI) | prompt and `max_tokens` | [`Admission`](Counting::Admission) | yes | quota guide |
/// | [`ANTHROPIC`](Self::ANTHROPIC) | actual usage | [`Completion`](Counting::Completion) | no | rate limit guide |
/// | [`GROQ`](Self::GROQ) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | no | rate limit guide |
/// | [`BEDROCK`](Self::BEDROCK) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | no | quota guide |
/// | [`GEMINI`](Self::GEMINI) | actual usage | [`Completion`](Counting::Completion) | yes | not documented: a conservative guess |
/// | [`SETTLED`](Self::SETTLED) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | yes | gateways that count actual usage |
///
/// OpenAI documents the *larger* of `max_tokens` and the estimated prompt. This crate reserves
/// their sum, which is never less. Anthropic counts an estimate of the input at once and the output
/// as it is generated. This crate reserves the estimate of both until the response ends, which is
/// never less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Accounting {
    counting: Counting,
    counts_cached_input: bool,
}

// ===== impl Accounting =====

impl Accounting {
    /// OpenAI. Also the safe choice for a provider that documents nothing: no other profile counts
    /// more.
    pub const OPENAI: Self = Self::new(Counting::Admission);
    /// Azure OpenAI.
    pub const AZURE_OPENAI: Self = Self::new(Counting::Admission);
    /// Anthropic.
    pub const ANTHROPIC: Self = Self::new(Counting::Completion).without_cached_input();
    /// Groq.
    pub const GROQ: Self = Self::new(Counting::Settled).without_cached_input();
    /// Amazon Bedrock.
    pub const BEDROCK: Self = Self::new(Counting::Settled).without_cached_input();
    /// Gemini.
    pub const GEMINI: Self = Self::new(Counting::Completion);
    /// Reserves the estimate and settles it to the actual usage, as gateways do.
    pub const SETTLED: Self = Self::new(Counting::Settled);

    /// Creates a profile that counts tokens at the given time, including cached input.
    pub const fn new(counting: Counting) -> Self {
        Self {
            counting,
            counts_cached_input: true,
        }
    }

    /// Does not count input that was read from the provider's prompt cache.
    pub const fn without_cached_input(mut self) -> Self {
        self.counts_cached_input = false;
        self
    }

    /// Returns when tokens count.
    #[must_use]
    pub const fn counting(self) -> Counting {
        self.counting
    }

    /// Returns `true` if input that was read from the provider's prompt cache counts.
    #[must_use]
    pub const fn counts_cached_input(self) -> bool {
        self.counts_cached_input
    }

    /// Returns the units that a request reserves of a limit on `dimension`.
    pub(super) fn reserved(dimension: Dimension, tokens: Tokens) -> u64 {
        match dimension {
            Dimension::Requests | Dimension::Concurrency => 1,
            Dimension::Tokens => tokens.total(),
            Dimension::InputTokens => tokens.input,
            Dimension::OutputTokens => tokens.output,
        }
    }

    /// Returns the units that a request has used of a limit on `dimension`.
    pub(super) fn used(self, dimension: Dimension, usage: TokenUsage) -> u64 {
        let left_out = usage.cached_input * u64::from(!self.counts_cached_input);
        let input = usage.input.saturating_sub(left_out);
        Self::reserved(dimension, Tokens::new(input, usage.output))
    }
}

/// Returns [`Accounting::OPENAI`].
impl Default for Accounting {
    fn default() -> Self {
        Self::OPENAI
    }
}
