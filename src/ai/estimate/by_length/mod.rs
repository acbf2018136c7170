//! Estimate without a tokenizer.

use std::borrow::Cow;

use super::{Estimate, count::ContentCount, learned::LONGEST_NAME, sketch::Sketch};
use crate::{
    ai::tokens::Tokens,
    http::PeekBody,
    payload::{json, json::Json},
};

/// Estimates the tokens of a request by the length of its texts and its output limit. The default
/// [`Estimate`].
///
/// It reads the bodies of OpenAI's chat completions, responses, embeddings and legacy completions,
/// Anthropic's messages, Gemini's `generateContent` and `embedContent`, Bedrock's `Converse`, and
/// compatible APIs.
///
/// # Examples
///
/// ```
/// use tower_throttle::{Tokens, provider::{ByLength, Estimate}};
///
/// let request = http::Request::new(
///     r#"{"model": "m", "max_tokens": 100, "messages": [
///         {"role": "user", "content": "How do you do?"}]}"#,
/// );
/// // 14 bytes, at 4 of them for a token
/// assert_eq!(ByLength::new().estimate(&request), Tokens::new(4, 100));
/// ```
///
/// # Input
///
/// - **Text** counts one token per 4 bytes of ASCII and one per other character, rounded up once
///   per request. Text is the content of `messages`, `contents`, `input`, `prompt`, `content`,
///   `suffix`, and system prompts, without roles, types and ids.
/// - **Tools**, response schemas, and the arguments of tool calls count by their length as JSON
///   without whitespace.
/// - **Token arrays** in a prompt or an input count one per token.
/// - **Images, audio and files** count 1,000 each, whatever their size, inline or linked. A text
///   that is a base64 `data:` URL is a file, whatever its member is called.
///
/// # Output
///
/// The first of `max_completion_tokens`, `max_output_tokens`, `max_tokens`,
/// `generationConfig.maxOutputTokens` and `inferenceConfig.maxTokens`, by default 1,024; multiplied
/// by the largest of `n`, `best_of` and `candidateCount`, and by the number of prompts in `prompt`.
///
/// Embeddings have no output. A request is for embeddings if it has none of these limits and none
/// of `messages`, `contents` and `prompt`, and either
///
/// - has `content`, `dimensions`, `encoding_format`, `input_type`, `task_type` or
///   `output_dimensionality`, or
/// - has an `input` that is an array of strings or of tokens, or
/// - names a model with "embed" in its name.
///
/// So an `input` of one string without any of these counts as a request to OpenAI's Responses API.
/// The excess is returned with the response. Use `.default_output(0)` for embeddings.
///
/// # Edge cases
///
/// | input | estimate |
/// | --- | --- |
/// | an empty body, or none | no tokens |
/// | a body that can't be [peeked](PeekBody) | 1,000 of input, and the default output |
/// | a body that is not a JSON object, or has none of the members with text | one token per 4 bytes, and the output as above |
/// | such a body that is not UTF-8, such as audio in a form | the same, with at most 1,000 of input |
/// | JSON that is truncated or malformed | what can be read of it |
/// | a string with an invalid escape, such as half a surrogate pair | its length as it is written |
/// | texts nested over 32 deep | their length as JSON |
/// | a limit that is negative or no number | ignored |
/// | a limit with a fraction | rounded up |
/// | a limit or a product beyond 2⁶⁴ − 1 | 2⁶⁴ − 1 |
/// | `n` of 0 | 1 |
/// | a duplicate member | texts add up; the last limit counts |
///
/// Only the body is read. A model in the path is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct ByLength {
    bytes_per_token: u64,
    tokens_per_image: u64,
    default_input: Option<u64>,
    default_output: u64,
}

// ===== impl ByLength =====

impl ByLength {
    /// The input of a body that can't be peeked.
    const UNSEEN: u64 = 1_000;

    /// Creates an estimate with the defaults above.
    pub const fn new() -> Self {
        Self {
            bytes_per_token: 4,
            tokens_per_image: 1_000,
            default_input: None,
            default_output: 1_024,
        }
    }

    /// Sets the bytes of ASCII per token. Code and JSON have fewer than prose. 0 counts as 1. The
    /// default is 4.
    pub const fn bytes_per_token(mut self, bytes: u64) -> Self {
        self.bytes_per_token = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Sets the tokens of an image, a recording or a file. The default is 1,000.
    pub const fn tokens_per_image(mut self, tokens: u64) -> Self {
        self.tokens_per_image = tokens;
        self
    }

    /// Sets the input of a request that can't be read, whatever the length of its body. An empty
    /// body has no input.
    pub const fn default_input(mut self, tokens: u64) -> Self {
        self.default_input = Some(tokens);
        self
    }

    /// Sets the output of a response whose request has no limit. The default is 1,024.
    pub const fn default_output(mut self, tokens: u64) -> Self {
        self.default_output = tokens;
        self
    }

    fn of(&self, body: &[u8]) -> Tokens {
        if body.is_empty() {
            return Tokens::default();
        }
        let by_size = || match (body.len() as u64).div_ceil(self.bytes_per_token) {
            // Binary data, such as audio in a form: its size does not matter.
            size if size > Self::UNSEEN && std::str::from_utf8(body).is_err() => Self::UNSEEN,
            size => size,
        };
        let unread = || self.default_input.unwrap_or_else(by_size);
        let sketch = Sketch::of(Json::lenient(&json::text(body)));
        let known = sketch.is_known.then(|| self.input(&sketch.count));
        Tokens::new(
            known.unwrap_or_else(unread),
            sketch.output(self.default_output),
        )
    }

    fn input(&self, count: &ContentCount) -> u64 {
        let media = count.media.saturating_mul(self.tokens_per_image);
        let ascii = count.ascii.div_ceil(self.bytes_per_token);
        let parts = [ascii, count.other, count.tokens, media];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

crate::macros::default!(ByLength);

impl<Request: PeekBody> Estimate<Request> for ByLength {
    fn estimate(&self, request: &Request) -> Tokens {
        request.peek(|body| self.of(body)).unwrap_or_else(|| {
            let input = self.default_input.unwrap_or(Self::UNSEEN);
            crate::macros::event!(
                target: "tower_throttle::provider",
                input,
                "request body can't be peeked: using the default input"
            );
            Tokens::new(input, self.default_output)
        })
    }

    fn model(&self, request: &Request) -> Option<String> {
        // Without parsing what follows it.
        let name = |body: &[u8]| {
            let text = json::text(body);
            let name = Json::lenient(&text).all("model").next()?;
            name.as_str().map(Cow::into_owned)
        };
        let name = request.peek(name).flatten();
        name.filter(|name| name.len() <= LONGEST_NAME)
    }
}

#[cfg(test)]
mod tests;
