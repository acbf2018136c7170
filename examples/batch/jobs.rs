//! What is to be sent: read from a file, or made up.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_throttle::provider::{ByLength, Estimate};

/// Where a prompt goes that names no other URL.
const CHAT: &str = "/v1/chat/completions";
/// The default length of a response, for a prompt that does not say.
const MAX_TOKENS: u64 = 256;
/// What makes a prompt longer.
const PADDING: &str = " Take all the time that you need for it.";

/// One request to send.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The id of its response in the output.
    pub(crate) custom_id: String,
    /// The path, such as `/v1/chat/completions`.
    pub(crate) url: String,
    pub(crate) body: Value,
}

/// A line that is JSON: OpenAI's batch format has a body, the short form a prompt.
#[derive(Deserialize)]
struct Line {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    body: Option<Value>,
    prompt: Option<String>,
    max_tokens: Option<u64>,
}

// ===== impl Job =====

impl Job {
    fn prompt(custom_id: String, prompt: &str, max_tokens: u64, model: &str) -> Self {
        Self {
            custom_id,
            url: CHAT.to_owned(),
            body: json!({
                "model": model,
                "messages": [{ "role": "user", "content": prompt }],
                "max_tokens": max_tokens,
            }),
        }
    }

    /// Asks for the response as a stream, if the API has streams.
    pub(crate) fn stream(&mut self) {
        let is_chat = self.url.ends_with("/chat/completions");
        let Some(fields) = self.body.as_object_mut() else {
            return;
        };
        if is_chat || self.url.ends_with("/messages") {
            fields.insert("stream".to_owned(), true.into());
        }
        if is_chat {
            // Only OpenAI's says nothing of the usage unless asked.
            let options = fields.entry("stream_options").or_insert(json!({}));
            if let Some(options) = options.as_object_mut() {
                options.insert("include_usage".to_owned(), true.into());
            }
        }
    }

    /// A hash of everything that its response depends on.
    pub(crate) fn content(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.url, &self.body).hash(&mut hasher);
        hasher.finish()
    }

    /// The tokens that a provider may count for it, as the limits on this side reserve them.
    pub(crate) fn tokens(&self) -> u64 {
        let request = http::Request::new(self.body.to_string());
        ByLength::new().estimate(&request).total()
    }
}

/// `count` prompts, of `input` tokens each or of about 15. After so many as are to be `distinct`
/// they are the same again.
pub(crate) fn made_up(
    count: usize,
    distinct: Option<u64>,
    model: &str,
    max_tokens: u64,
    input: Option<u64>,
) -> Vec<Job> {
    let length = input.map_or(0, |tokens| 4 * tokens as usize);
    let distinct = distinct.unwrap_or(u64::MAX) as usize;
    (1..=count)
        .map(|n| {
            let about = (n - 1) % distinct + 1;
            let mut prompt =
                format!("Say in one sentence what is special about the number {about}.");
            let missing = length.saturating_sub(prompt.len());
            prompt.extend(PADDING.chars().cycle().take(missing));
            Job::prompt(format!("request-{n}"), &prompt, max_tokens, model)
        })
        .collect()
}

/// The requests of a file; blank lines don't count.
///
/// A line that begins with `{` is JSON, of the short form or of OpenAI's; every other line is a
/// prompt as it stands. A prompt without a `custom_id` is called after its place among the prompts:
/// `request-1`, `request-2` …
pub(crate) fn from_file(path: &Path, model: &str) -> Result<Vec<Job>> {
    let name = path.display();
    let text = fs::read(path).with_context(|| format!("cannot read --prompts {name}"))?;
    let text = String::from_utf8(text)
        .ok()
        .with_context(|| format!("{name} is not UTF-8: convert it first"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);

    let mut jobs = Vec::new();
    let mut seen = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let job = from_line(line.trim_end_matches('\r'), jobs.len() + 1, model)
            .with_context(|| format!("{name}, line {number}"))?;
        if let Some(first) = seen.insert(job.custom_id.clone(), number) {
            let id = &job.custom_id;
            bail!(
                "{name}, line {number}: custom_id {id:?} is also on line {first}: make it unique"
            );
        }
        jobs.push(job);
    }
    ensure!(!jobs.is_empty(), "{name} has no prompts: write one a line");
    Ok(jobs)
}

fn from_line(line: &str, place: usize, model: &str) -> Result<Job> {
    let default_id = || format!("request-{place}");
    if !line.trim_start().starts_with('{') {
        return Ok(Job::prompt(default_id(), line, MAX_TOKENS, model));
    }
    let hint = "a line that begins with { must be JSON; wrap a prompt that does as {\"prompt\": …}";
    let line: Line =
        serde_json::from_str(line).map_err(|error| anyhow::anyhow!("{error}").context(hint))?;
    let custom_id = line.custom_id.unwrap_or_else(default_id);
    match (line.body, line.prompt) {
        (Some(body), None) => from_body(custom_id, line.method, line.url, body, model),
        (None, Some(prompt)) => {
            let max_tokens = line.max_tokens.unwrap_or(MAX_TOKENS);
            Ok(Job::prompt(custom_id, &prompt, max_tokens, model))
        }
        _ => bail!("needs either a \"prompt\" or a \"body\""),
    }
}

fn from_body(
    custom_id: String,
    method: Option<String>,
    url: Option<String>,
    mut body: Value,
    model: &str,
) -> Result<Job> {
    let method = method.unwrap_or_else(|| "POST".to_owned());
    ensure!(method == "POST", "method {method:?} must be \"POST\"");
    let url = url.unwrap_or_else(|| CHAT.to_owned());
    ensure!(
        url.starts_with('/'),
        "url {url:?} must be a path such as {CHAT:?}"
    );
    let streams = body["stream"].as_bool() == Some(true);
    ensure!(!streams, "a batch has no streams: take \"stream\" out");
    let fields = body.as_object_mut().context("\"body\" must be an object")?;
    fields.entry("model").or_insert_with(|| model.into());
    Ok(Job {
        custom_id,
        url,
        body,
    })
}
