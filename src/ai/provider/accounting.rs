//! What a provider counts of tokens, and when.

use crate::{
    ai::tokens::{TokenUsage, Tokens},
    http::Dimension,
};

/// When the tokens of a request count against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counting {
    /// What is estimated counts when the request arrives, and stays counted, whatever is used in the end.
    Admission,
    /// What is estimated counts when the request arrives. When the answer has ended, what was not used comes back to
    /// the window that it was taken from, and what was used on top is taken from there.
    Settled,
    /// What is used counts at the moment when the answer has ended. Until then the estimate is held back.
    Completion,
}

/// How a provider counts tokens: as their guides said in 2026, where they say it, which is not to say that it was measured.
///
/// | profile | counts | when | cached input counts | source |
/// | --- | --- | --- | --- | --- |
/// | [`OPENAI`](Self::OPENAI) | prompt and `max_tokens` | [`Admission`](Counting::Admission) | yes | rate limit and prompt caching guides |
/// | [`AZURE_OPENAI`](Self::AZURE_OPENAI) | prompt and `max_tokens` | [`Admission`](Counting::Admission) | yes | quota guide |
/// | [`ANTHROPIC`](Self::ANTHROPIC) | what was used | [`Completion`](Counting::Completion) | no | rate limit guide |
/// | [`GROQ`](Self::GROQ) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | no | rate limit guide |
/// | [`BEDROCK`](Self::BEDROCK) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | no | quota guide |
/// | [`GEMINI`](Self::GEMINI) | what was used | [`Completion`](Counting::Completion) | yes | not documented: a careful guess |
/// | [`SETTLED`](Self::SETTLED) | prompt and `max_tokens` | [`Settled`](Counting::Settled) | yes | gateways that count real usage |
///
/// OpenAI documents the *larger* of `max_tokens` and the estimated prompt. The sum is never less than that, so it is
/// what is reserved here. Anthropic counts an estimate of the input at once and the output as it is made; holding back the
/// estimate of both until the end never has less than that counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Accounting {
    counting: Counting,
    counts_cached_input: bool,
}

// ===== impl Accounting =====

impl Accounting {
    /// OpenAI. Also the choice for a provider that says nothing: nothing counts for less than with any other profile.
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
    /// A reservation that is settled to real usage, as gateways keep it.
    pub const SETTLED: Self = Self::new(Counting::Settled);

    /// Tokens that count at a certain time, those of cached input among them.
    pub const fn new(counting: Counting) -> Self {
        Self {
            counting,
            counts_cached_input: true,
        }
    }

    /// Input that was read from the provider's cache does not count.
    pub const fn without_cached_input(mut self) -> Self {
        self.counts_cached_input = false;
        self
    }

    /// When tokens count.
    #[must_use]
    pub const fn counting(self) -> Counting {
        self.counting
    }

    /// Whether input that was read from the provider's cache counts.
    #[must_use]
    pub const fn counts_cached_input(self) -> bool {
        self.counts_cached_input
    }

    /// What a request reserves of a limit on `dimension`.
    pub(super) fn reserved(dimension: Dimension, tokens: Tokens) -> u64 {
        match dimension {
            Dimension::Requests | Dimension::Concurrency => 1,
            Dimension::Tokens => tokens.total(),
            Dimension::InputTokens => tokens.input,
            Dimension::OutputTokens => tokens.output,
        }
    }

    /// What it turned out to have used.
    pub(super) fn used(self, dimension: Dimension, usage: TokenUsage) -> u64 {
        let cached = if self.counts_cached_input {
            0
        } else {
            usage.cached_input
        };
        let input = usage.input.saturating_sub(cached);
        Self::reserved(dimension, Tokens::new(input, usage.output))
    }
}

/// That of [`Accounting::OPENAI`].
impl Default for Accounting {
    fn default() -> Self {
        Self::OPENAI
    }
}
