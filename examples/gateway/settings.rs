//! The file of `--config`, and what takes its place without one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Deserializer, de::Error};
use toml::Spanned;
use tower_throttle::Redis;

use crate::{
    config::{self, Configured, variable},
    figures::CallerCounts,
    simulator::{Limits, Simulator, Style},
};

/// What the gateway needs to know.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Providers that speak OpenAI's chat completions.
    pub(crate) provider: Vec<Configured>,
    /// Providers that speak OpenAI's embeddings.
    pub(crate) embeddings: Vec<Configured>,
    /// Providers that speak Anthropic's messages.
    pub(crate) messages: Vec<Configured>,
    /// Everybody without limits if it is empty.
    pub(crate) caller: Vec<Caller>,
    /// The names of the providers that respond if another one fails, in this order.
    pub(crate) fallback: Vec<Spanned<String>>,
    /// How long a response is kept, in seconds.
    pub(crate) cache: Option<u64>,
    /// How long a request may wait for a provider, in seconds. The default is 120.
    pub(crate) max_wait: Option<u64>,
    /// The server that limits are shared through.
    #[serde(deserialize_with = "server")]
    pub(crate) redis: Option<Redis>,
}

/// Who may send requests, and how many in a minute.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) key: Option<String>,
    /// The value of the environment variable that is named.
    #[serde(default, rename = "key_env", deserialize_with = "variable")]
    pub(crate) key_of_env: Option<String>,
    pub(crate) rpm: Option<u64>,
    pub(crate) tpm: Option<u64>,
    pub(crate) concurrent: Option<usize>,
    #[serde(skip)]
    pub(crate) counts: CallerCounts,
}

// ===== impl Settings =====

impl Settings {
    /// Parses and checks the text of the file of this name.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self> {
        let settings: Self = config::parse(file, text)?;
        let all = [&settings.provider, &settings.embeddings, &settings.messages];
        let providers = || all.into_iter().flatten();
        config::check(file, providers())?;
        for name in &settings.fallback {
            let line = config::line(text, name.span().start);
            let name = name.get_ref();
            ensure!(
                providers().any(|one| one.name == *name),
                "{file}, line {line}: no provider has the name {name:?}: change it, or add one"
            );
        }
        for (n, caller) in settings.caller.iter().enumerate() {
            let (name, secret) = (&caller.name, caller.secret());
            let is_twice = |other: &Caller| other.name == *name || other.secret() == secret;
            ensure!(
                secret.is_some() && !settings.caller[..n].iter().any(is_twice),
                "{file}: the caller {name:?} needs a name and a key of its own: give key or key_env"
            );
        }
        Ok(settings)
    }
}

// ===== impl Caller =====

impl Caller {
    /// What it sends as its API key.
    pub(crate) fn secret(&self) -> Option<&str> {
        let secret = self.key.as_deref().or(self.key_of_env.as_deref());
        secret.filter(|secret| !secret.is_empty())
    }
}

/// The server of a URL. The first request connects.
fn server<'de, D: Deserializer<'de>>(url: D) -> Result<Option<Redis>, D::Error> {
    let redis = Redis::new(&String::deserialize(url)?).map_err(D::Error::custom)?;
    Ok(Some(redis.prefix("gateway")))
}

/// Starts simulated providers, and returns the settings for them.
pub(crate) async fn simulated() -> Result<(Settings, Vec<Simulator>)> {
    let mut simulators = Vec::new();
    let mut text = include_str!("simulated.toml").to_owned();
    for (place, requests, style) in [
        ("$LARGE", 100, Style::OPENAI),
        ("$SMALL", 50, Style::AIPOWER),
        ("$VECTORS", 200, Style::OPENAI),
        ("$MESSAGES", 60, Style::ANTHROPIC),
    ] {
        let simulator = Simulator::start(Limits {
            requests: Some(requests),
            window: Duration::from_secs(3),
            latency: Duration::from_millis(200),
            style,
            ..Limits::default()
        });
        let simulator = simulator.await?;
        text = text.replace(place, &simulator.url());
        simulators.push(simulator);
    }
    Ok((Settings::parse("simulated.toml", &text)?, simulators))
}
