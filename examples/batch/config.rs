//! `--config`: several providers in a file.

use std::{collections::HashSet, env, fs, num::NonZero, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use tower_throttle::{
    Dimension, Quota,
    provider::{Provider, ProviderLimiter, Shape},
};

use crate::{cli::Kind, endpoint::Endpoint, values::seconds};

/// As many as can be told apart.
const MOST: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "provider")]
    pub(crate) providers: Vec<Configured>,
    /// As `--shared`, and `--shared-name`.
    redis: Option<String>,
    shared_name: Option<String>,
}

/// A provider of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Entry")]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) limits: Provider,
    learns: bool,
    window: Duration,
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    base_url: String,
    /// The value of the environment variable that is named.
    #[serde(default, rename = "api_key_env", deserialize_with = "variable")]
    api_key: Option<String>,
    model: Option<String>,
    #[serde(default, deserialize_with = "row")]
    limits: Option<Provider>,
    rpm: Option<NonZero<u32>>,
    tpm: Option<NonZero<u32>>,
    concurrent: Option<NonZero<u32>>,
    #[serde(default, deserialize_with = "period")]
    window: Option<Duration>,
    #[serde(default)]
    kind: Option<Kind>,
    learn: Option<bool>,
}

/// Reads the providers.
pub(crate) fn read(path: &Path) -> Result<File> {
    let name = path.display().to_string();
    let file: File = parse(&name, &load(path)?)?;
    ensure!(
        file.redis.is_some() == file.shared_name.is_some(),
        "{name} has one of redis and shared_name: give both, or neither"
    );
    check(&name, file.providers.iter())?;
    Ok(file)
}

/// Reads the text of a file.
pub(crate) fn load(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|error| anyhow::anyhow!("cannot read --config {}: {error}", path.display()))
}

/// Parses the text of the file of this name. An error names the line.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        anyhow::anyhow!("{name}, line {}: {}", line(text, start), error.message())
    })
}

/// The line of a byte.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Checks that there are providers, and that each has another name.
pub(crate) fn check<'a>(name: &str, all: impl Iterator<Item = &'a Configured>) -> Result<()> {
    let mut names = HashSet::new();
    for one in all {
        ensure!(
            names.insert(&*one.name),
            "{name} has two providers of the name {:?}: change one",
            one.name
        );
    }
    ensure!(
        (1..=MOST).contains(&names.len()),
        "{name} has {} providers: give 1 to {MOST}, each below [[provider]]",
        names.len()
    );
    Ok(())
}

/// The limits of all together, as far as each has them, and their period: the longest.
pub(crate) fn sum(all: &[Configured]) -> (Provider, Duration) {
    let window = all.iter().map(|one| one.window).max().unwrap_or_default();
    let mut sum = Provider::new("all together").with_minute(window);
    for dimension in [Dimension::Requests, Dimension::Tokens] {
        let units = all.iter().map(|one| {
            let (_, quota) = one.limits.limits().find(|(of, _)| *of == dimension)?;
            Some(quota.units() as f64 * window.as_secs_f64() / one.window.as_secs_f64())
        });
        if let Some(units) = units.sum::<Option<f64>>() {
            sum = sum.limit(dimension, Quota::new(units as u64, window));
        }
    }
    if let Some(most) = all.iter().map(|one| one.limits.concurrency()).sum() {
        sum = sum.concurrent(most);
    }
    let is_bucket = all.iter().any(|one| one.limits.shape() == Shape::Bucket);
    (if is_bucket { sum.bucket() } else { sum }, window)
}

// ===== impl File =====

impl File {
    /// The URL of the store, and the name of the limits there.
    pub(crate) fn shared(&self) -> Option<(&str, &str)> {
        Some((self.redis.as_deref()?, self.shared_name.as_deref()?))
    }
}

// ===== impl Configured =====

impl Configured {
    /// Its limits on this side, with a state of their own.
    pub(crate) fn limiter(&self) -> ProviderLimiter {
        ProviderLimiter::new(self.limits).learn(self.learns)
    }
}

impl TryFrom<Entry> for Configured {
    type Error = anyhow::Error;

    fn try_from(entry: Entry) -> Result<Self> {
        let Entry { name, base_url, .. } = entry;
        let endpoint = Endpoint::new("base_url", &base_url, entry.api_key.as_deref())?;
        ensure!(
            endpoint.is_local() || endpoint.has_key(),
            "no key for {base_url}: name its environment variable as api_key_env"
        );
        let window = entry.window.unwrap_or(Duration::from_secs(60));
        let limits = entry.limits.unwrap_or(Provider::new("yours"));
        let numbers = [entry.rpm, entry.tpm, entry.concurrent];
        let numbers = numbers.map(|number| Some(number?.get().into()));
        let limits = shaped(with_numbers(limits, numbers), entry.kind, window);
        Ok(Self {
            name,
            endpoint: endpoint.with_model(entry.model),
            limits,
            learns: entry.learn.unwrap_or(true),
            window,
        })
    }
}

/// The value of the environment variable that is named.
pub(crate) fn variable<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(value)?;
    let set = env::var(&name).ok().filter(|key| !key.trim().is_empty());
    let set = set.with_context(|| format!("the environment variable {name:?} is not set: set it"));
    set.map(Some).map_err(D::Error::custom)
}

fn row<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Provider>, D::Error> {
    let name = String::deserialize(value)?;
    let row = Provider::by_name(&name);
    row.map(Some).map_err(D::Error::custom)
}

fn period<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let number = f64::deserialize(value)?;
    let period = seconds(&number.to_string());
    period.map(Some).map_err(D::Error::custom)
}

/// The provider with so many requests and tokens in each window, and requests in flight.
pub(crate) fn with_numbers(
    mut provider: Provider,
    [requests, tokens, concurrent]: [Option<u64>; 3],
) -> Provider {
    if let Some(requests) = requests {
        provider = provider.rpm(requests);
    }
    if let Some(tokens) = tokens {
        provider = provider.tpm(tokens);
    }
    if let Some(most) = concurrent {
        provider = provider.concurrent(most);
    }
    provider
}

/// The provider with limits of this kind, in each `window`.
pub(crate) fn shaped(provider: Provider, kind: Option<Kind>, window: Duration) -> Provider {
    let provider = provider.with_minute(window);
    match kind {
        Some(Kind::Window) => provider.window(),
        Some(Kind::Bucket) => provider.bucket(),
        None => provider,
    }
}
