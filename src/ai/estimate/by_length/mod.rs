//! An estimate that needs no tokenizer.

use super::{Estimate, count::ContentCount, model, sketch::Sketch};
use crate::{ai::tokens::Tokens, http::PeekBody};

/// Estimates by how long the texts of a request are, and by what it says of its answer. The default.
///
/// It reads the bodies of OpenAI's chat completions, responses, embeddings and legacy completions, of Anthropic's
/// messages, of Gemini's `generateContent` and `embedContent`, of Bedrock's `Converse`, and of all that speak like one of
/// these.
///
/// ```
/// use tower_throttle::{Tokens, provider::{ByLength, Estimate}};
///
/// let request = http::Request::new(
///     r#"{"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "How do you do?"}]}"#,
/// );
/// // 14 bytes, at 4 of them for a token
/// assert_eq!(ByLength::new().estimate(&request), Tokens::new(4, 100));
/// ```
///
/// # Input
///
/// - **Text** is a token for every 4 bytes of ASCII and one for every other character, all texts of a request together
///   and rounded up. Text is what is in `messages`, `contents`, `input`, `prompt`, `content`, `suffix`, and in system
///   prompts, without roles, types and ids.
/// - **Tools**, schemas of answers, and what tools are called with count as long as they are in JSON, without spaces.
/// - **Lists of tokens**, as a prompt or an input may be, count one each.
/// - **Images, recordings and files** count 1,000 each, however large they are and whether they are in the request or
///   only linked to. A text that is a `data:` link in base64 is a file, whatever its member is called.
///
/// # Output
///
/// The first of `max_completion_tokens`, `max_output_tokens`, `max_tokens`, `generationConfig.maxOutputTokens` and
/// `inferenceConfig.maxTokens` that is given, or else 1,024; times the largest of `n`, `best_of` and `candidateCount`; times the number of prompts in
/// `prompt`.
///
/// Embeddings have none. A request is one for embeddings if it names no limit of the above and none of `messages`,
/// `contents` and `prompt`, and either
///
/// - has `content`, `dimensions`, `encoding_format`, `input_type`, `task_type` or `output_dimensionality`, or
/// - has an `input` that is a list of strings or of tokens, or
/// - names a model with "embed" in its name.
///
/// So an `input` of one string, without any of these signs, is taken for one to OpenAI's Responses API: what is taken
/// too much is given back with the answer. Say `.default_output(0)` where it is not.
///
/// # Values at the edge
///
/// | given | means |
/// | --- | --- |
/// | a body of no bytes, or none | no tokens |
/// | a body that can't be [peeked](PeekBody) | 1,000 of input, and the output where none is given |
/// | one that is not an object of JSON, or whose texts are nested over 32 deep or can't be read | a token for every 4 bytes of it, and the output where none is given |
/// | one that is no UTF-8, such as a recording in a form | the same, with at most 1,000 of input |
/// | one that has none of the members with text | a token for every 4 bytes of it, and the output as above |
/// | a negative limit, or one that is no number | as if not given |
/// | a limit with a fraction | the next whole number |
/// | a limit beyond 2⁶⁴ − 1, or such a product | 2⁶⁴ − 1 |
/// | 0 answers | 1 answer |
/// | the same member twice | texts add up; of limits, the last counts |
///
/// Nothing but the body is read: not the path, and so no model that is named there.
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

    /// The estimate with all numbers as above.
    pub const fn new() -> Self {
        Self {
            bytes_per_token: 4,
            tokens_per_image: 1_000,
            default_input: None,
            default_output: 1_024,
        }
    }

    /// How many bytes of ASCII are a token. Code and JSON have fewer to a token than prose. 0 is taken for 1.
    pub const fn bytes_per_token(mut self, bytes: u64) -> Self {
        self.bytes_per_token = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// How many tokens an image, a recording or a file is.
    pub const fn tokens_per_image(mut self, tokens: u64) -> Self {
        self.tokens_per_image = tokens;
        self
    }

    /// The input of a request that can't be read, whatever the length of its body. One without a body has none.
    pub const fn default_input(mut self, tokens: u64) -> Self {
        self.default_input = Some(tokens);
        self
    }

    /// The output of an answer whose request gives no limit.
    pub const fn default_output(mut self, tokens: u64) -> Self {
        self.default_output = tokens;
        self
    }

    fn of(&self, body: &[u8]) -> Tokens {
        if body.is_empty() {
            return Tokens::default();
        }
        let by_size = || match (body.len() as u64).div_ceil(self.bytes_per_token) {
            // No text, such as a recording in a form: its size tells nothing.
            size if size > Self::UNSEEN && std::str::from_utf8(body).is_err() => Self::UNSEEN,
            size => size,
        };
        let unread = || self.default_input.unwrap_or_else(by_size);
        match Sketch::of(body) {
            Some(sketch) => {
                let known = sketch.is_known.then(|| self.input(&sketch.count));
                Tokens::new(known.unwrap_or_else(unread), self.output(&sketch))
            }
            None => Tokens::new(unread(), self.default_output),
        }
    }

    fn input(&self, count: &ContentCount) -> u64 {
        let media = count.media.saturating_mul(self.tokens_per_image);
        count
            .ascii
            .div_ceil(self.bytes_per_token)
            .saturating_add(count.other)
            .saturating_add(count.tokens)
            .saturating_add(media)
    }

    fn output(&self, sketch: &Sketch) -> u64 {
        if sketch.is_embedding() {
            return 0;
        }
        let most = sketch.most().unwrap_or(self.default_output);
        most.saturating_mul(sketch.answers())
    }
}

impl Default for ByLength {
    fn default() -> Self {
        Self::new()
    }
}

impl<Request: PeekBody> Estimate<Request> for ByLength {
    fn estimate(&self, request: &Request) -> Tokens {
        request.peek(|body| self.of(body)).unwrap_or_else(|| {
            let input = self.default_input.unwrap_or(Self::UNSEEN);
            #[cfg(feature = "tracing")]
            tracing::debug!(
                input,
                "a request's body can't be looked at: its tokens are a guess"
            );
            Tokens::new(input, self.default_output)
        })
    }

    fn model(&self, request: &Request) -> Option<String> {
        request.peek(model::of).flatten()
    }
}

#[cfg(test)]
mod tests;
