//! `--shared`: several jobs keep one set of limits, in Redis or Valkey.

use anyhow::{Result, anyhow};
use tower_throttle::{
    Redis,
    provider::{ProviderLayer, ProviderLimiter},
};

/// A store, and the name of the limits in it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    redis: Redis,
    name: String,
}

// ===== impl Store =====

impl Store {
    /// Connects to the URL that the user gave; `given` is what to call it in an error.
    pub(crate) async fn connect(given: &str, url: &str, name: &str) -> Result<Self> {
        let redis = Redis::connect(url).await;
        Ok(Self {
            redis: redis.map_err(|error| anyhow!("{given}: {error}"))?,
            name: name.to_owned(),
        })
    }

    /// Shares the limits of the provider of this number: the first is 0.
    pub(crate) fn share(&self, limits: ProviderLayer, number: u8) -> ProviderLayer {
        match number {
            0 => limits.shared(&self.redis, &self.name),
            number => limits.shared(&self.redis, &format!("{}-backup-{number}", self.name)),
        }
    }

    /// Shares the limits of the provider of this name.
    pub(crate) fn share_limiter(
        &self,
        limiter: ProviderLimiter,
        provider: &str,
    ) -> ProviderLimiter {
        limiter.shared(&self.redis, &format!("{}-{provider}", self.name))
    }

    /// Gives back what was taken and not used.
    pub(crate) async fn leave(&self) {
        self.redis.leave().await;
    }
}
