//! Predefined providers.

use std::{fmt, str::FromStr};

use super::{Accounting, Provider};

/// Predefined providers, with limits as published.
///
/// Limits depend on the model and change over time. Use these as a start, [change](Provider) what
/// your account's page says, or let the layer [learn](super#learning) the limits.
///
/// | constant | name | RPM | TPM | concurrent | counting | as of |
/// | --- | --- | --- | --- | --- | --- | --- |
/// | [`OPENAI_TIER_1`](Self::OPENAI_TIER_1) | `openai-tier-1` | 500 | 200,000 | | [`OPENAI`](Accounting::OPENAI) | 2026-04-17 \[1\] |
/// | [`OPENAI_TIER_4`](Self::OPENAI_TIER_4) | `openai-tier-4` | 10,000 | 2,000,000 | | [`OPENAI`](Accounting::OPENAI) | 2026-04-17 \[1\] |
/// | [`ANTHROPIC_BUILD`](Self::ANTHROPIC_BUILD) | `anthropic-build` | 1,000 | 400,000 | | [`ANTHROPIC`](Accounting::ANTHROPIC) | 2026-04-17 \[1\] |
/// | [`DEEPSEEK`](Self::DEEPSEEK) | `deepseek` | 300 | 300,000 | 50 | [`SETTLED`](Accounting::SETTLED) | 2026-04-17 \[1\] |
/// | [`AIPOWER`](Self::AIPOWER) | `aipower` | 600 | | 100 | [`SETTLED`](Accounting::SETTLED) | 2026-04-17 \[1\] |
///
/// \[1\] *AI API Rate Limiting Best Practices*, 17 April 2026. The counting is from the
/// providers' own guides, see [`Accounting`]; DeepSeek and AIPower document none.
impl Provider {
    /// OpenAI, usage tier 1. Its limits are token buckets.
    pub const OPENAI_TIER_1: Self = Self::new("openai-tier-1")
        .rpm(500)
        .tpm(200_000)
        .bucket()
        .counting(Accounting::OPENAI);

    /// OpenAI, usage tier 4. Its limits are token buckets.
    pub const OPENAI_TIER_4: Self = Self::new("openai-tier-4")
        .rpm(10_000)
        .tpm(2_000_000)
        .bucket()
        .counting(Accounting::OPENAI);

    /// Anthropic, Build plan. Its limits are token buckets.
    pub const ANTHROPIC_BUILD: Self = Self::new("anthropic-build")
        .rpm(1_000)
        .tpm(400_000)
        .bucket()
        .counting(Accounting::ANTHROPIC);

    /// DeepSeek.
    pub const DEEPSEEK: Self = Self::new("deepseek")
        .rpm(300)
        .tpm(300_000)
        .concurrent(50)
        .counting(Accounting::SETTLED);

    /// AIPower, a gateway. It does not limit tokens.
    pub const AIPOWER: Self = Self::new("aipower")
        .rpm(600)
        .concurrent(100)
        .counting(Accounting::SETTLED);

    /// All predefined providers.
    pub const ALL: &'static [Self] = &[
        Self::OPENAI_TIER_1,
        Self::OPENAI_TIER_4,
        Self::ANTHROPIC_BUILD,
        Self::DEEPSEEK,
        Self::AIPOWER,
    ];

    /// Returns the provider of that name. Case is ignored, and `_` equals `-`.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownProvider`], which lists the known names, if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::provider::Provider;
    ///
    /// assert_eq!(Provider::by_name("openai-tier-1")?, Provider::OPENAI_TIER_1);
    /// assert_eq!(Provider::by_name("DEEPSEEK")?, Provider::DEEPSEEK);
    /// let error = "openai".parse::<Provider>().unwrap_err();
    /// let message = error.to_string();
    /// assert!(message.starts_with("unknown provider \"openai\": use one of openai-tier-1, "));
    /// # Ok::<(), tower_throttle::provider::UnknownProvider>(())
    /// ```
    pub fn by_name(name: &str) -> Result<Self, UnknownProvider> {
        let wanted = name.trim().to_ascii_lowercase().replace('_', "-");
        let found = Self::ALL.iter().find(|provider| provider.name() == wanted);
        found.copied().ok_or_else(|| UnknownProvider(name.into()))
    }
}

/// Error returned by [`Provider::by_name`] if no predefined provider has the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProvider(Box<str>);

// ===== impl UnknownProvider =====

impl UnknownProvider {
    /// Returns the unknown name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Provider::ALL.iter().map(Provider::name).collect();
        let (name, names) = (&self.0, names.join(", "));
        write!(f, "unknown provider {name:?}: use one of {names}")
    }
}

impl std::error::Error for UnknownProvider {}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        Self::by_name(name)
    }
}
