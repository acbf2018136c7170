//! The fields of a usage object and their sum.

use crate::{ai::tokens::TokenUsage, payload::json::Json};

/// The last reported value of each count.
#[derive(Debug, Clone, Default)]
pub(super) struct UsageFields {
    /// Input, including cached tokens.
    prompt: Option<u64>,
    /// Input, excluding cached tokens if they are reported separately.
    input: Option<u64>,
    /// Additional input from tools.
    tool_input: Option<u64>,
    /// Part of the input: read from the cache.
    cached: Option<u64>,
    /// Part of the input: written to the cache.
    cache_write: Option<u64>,
    /// In addition to the input: read from the cache.
    cached_apart: Option<u64>,
    /// In addition to the input: written to the cache.
    cache_write_apart: Option<u64>,
    /// Output, including reasoning for all but one provider.
    output: Option<u64>,
    /// Output, excluding reasoning.
    candidates: Option<u64>,
    /// Reasoning, in addition to the output.
    thoughts: Option<u64>,
    /// Reasoning, part of the output or in addition to it.
    reasoning: Option<u64>,
    /// Input and output.
    total: Option<u64>,
}

// ===== impl UsageFields =====

impl UsageFields {
    /// Reads a usage object. A field that a later report omits keeps its value.
    pub(super) fn read(&mut self, usage: Json<'_>) {
        for (name, value) in usage.members() {
            let name = name.as_str().unwrap_or_default();
            self.set(&name, "", value);
            for (detail, value) in value.members() {
                let detail = detail.as_str().unwrap_or_default();
                self.set(&name, &detail, value);
            }
        }
    }

    /// Sets the field of a member of the usage object, or of a `detail` in a member. The names of
    /// different providers don't collide.
    fn set(&mut self, name: &str, detail: &str, value: Json<'_>) {
        let field = match (name, detail) {
            ("prompt_tokens" | "promptTokenCount", "") => &mut self.prompt,
            // Cohere's `tokens` are beside what is billed.
            ("input_tokens" | "inputTokens", "") | ("tokens", "input_tokens") => &mut self.input,
            ("toolUsePromptTokenCount", "") => &mut self.tool_input,
            ("cached_tokens" | "prompt_cache_hit_tokens" | "cachedContentTokenCount", "")
            | ("prompt_tokens_details" | "input_tokens_details", "cached_tokens")
            | ("input_token_details", "cached_tokens") => &mut self.cached,
            ("prompt_tokens_details" | "input_tokens_details", "cache_write_tokens") => {
                &mut self.cache_write
            }
            ("cache_read_input_tokens" | "cacheReadInputTokens", "") => &mut self.cached_apart,
            ("cache_creation_input_tokens" | "cacheWriteInputTokens", "") => {
                &mut self.cache_write_apart
            }
            ("completion_tokens" | "output_tokens" | "outputTokens", "")
            | ("tokens", "output_tokens") => &mut self.output,
            ("candidatesTokenCount", "") => &mut self.candidates,
            ("thoughtsTokenCount", "") => &mut self.thoughts,
            ("reasoning_tokens", "")
            | ("completion_tokens_details" | "output_tokens_details", "reasoning_tokens") => {
                &mut self.reasoning
            }
            ("total_tokens" | "totalTokenCount" | "totalTokens", "") => &mut self.total,
            _ => return,
        };
        *field = count(value).or(*field);
    }

    /// Returns the usage; `None` if no tokens are reported: some responses are measured in seconds.
    ///
    /// Sums saturate, and a part is never more than the whole.
    pub(super) fn usage(&self) -> Option<TokenUsage> {
        let rest = |part: u64| self.total.map_or(0, |total| total.saturating_sub(part));
        let (input, output) = match (self.input(), self.output()) {
            (Some(input), Some(output)) => (input, output),
            (Some(input), None) => (input, rest(input)),
            (None, Some(output)) => (rest(output), output),
            // Embeddings and rankings of some providers have no output.
            (None, None) => (self.total?, 0),
        };
        let part = |count: Option<u64>, whole: u64| count.unwrap_or(0).min(whole);
        let cached_input = part(self.cached.or(self.cached_apart), input);
        let uncached = input - cached_input;
        Some(TokenUsage {
            input,
            cached_input,
            cache_write_input: part(self.cache_write.or(self.cache_write_apart), uncached),
            output,
            reasoning: part(self.reasoning.or(self.thoughts), output),
        })
    }

    /// `prompt` includes cached tokens. `input` does too, if there are no separate counts.
    fn input(&self) -> Option<u64> {
        match self.prompt {
            Some(_) => sum([self.prompt, self.tool_input]),
            None => sum([self.input, self.cached_apart, self.cache_write_apart]),
        }
    }

    /// The output includes reasoning, except if the total shows that they are separate.
    fn output(&self) -> Option<u64> {
        let Some(output) = self.output else {
            return sum([self.candidates, self.thoughts]);
        };
        let both = output.saturating_add(self.reasoning.unwrap_or(0));
        let total = self.input().map(|input| input.saturating_add(both));
        let is_apart = total.is_some() && total == self.total;
        Some(if is_apart { both } else { output })
    }
}

/// Returns the sum of the counts that are reported, if there is one.
fn sum<const N: usize>(counts: [Option<u64>; N]) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}

/// Accepts digits, also with zeros after a point, and saturates. A sign, another fraction or an
/// exponent is no token count.
fn count(value: Json<'_>) -> Option<u64> {
    let number = value.text().trim_end_matches('0');
    let digits = number.strip_suffix('.').unwrap_or(value.text());
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Report = [(&'static str, u64)];

    const PROMPT: &str = "prompt_tokens";
    const INPUT: &str = "input_tokens";
    const TOOL_INPUT: &str = "toolUsePromptTokenCount";
    const CACHED: &str = "cached_tokens";
    const CACHED_APART: &str = "cache_read_input_tokens";
    const CACHE_WRITE_APART: &str = "cache_creation_input_tokens";
    const OUTPUT: &str = "output_tokens";
    const CANDIDATES: &str = "candidatesTokenCount";
    const THOUGHTS: &str = "thoughtsTokenCount";
    const REASONING: &str = "reasoning_tokens";
    const TOTAL: &str = "total_tokens";
    const CACHE_WRITE: &str = "cache_write_tokens";

    fn fields(told: &Report) -> UsageFields {
        let mut fields = UsageFields::default();
        for (name, count) in told {
            let text = match *name {
                CACHE_WRITE => format!("{{\"input_tokens_details\":{{\"{name}\":{count}}}}}"),
                name => format!("{{\"{name}\":{count}}}"),
            };
            fields.read(Json::lenient(&text));
        }
        fields
    }

    fn usage(told: &Report) -> Option<[u64; 5]> {
        let usage = fields(told).usage()?;
        Some([
            usage.input,
            usage.cached_input,
            usage.cache_write_input,
            usage.output,
            usage.reasoning,
        ])
    }

    #[test]
    fn the_last_count_of_a_field_holds() {
        let table = [
            (r#"{"output_tokens":0,"completion_tokens":12}"#, 12),
            (r#"{"completion_tokens":12,"output_tokens":7}"#, 7),
            (r#"{"output_tokens":12,"completion_tokens":null}"#, 12),
        ];
        for (text, output) in table {
            let mut fields = UsageFields::default();
            fields.read(Json::parse(text.as_bytes()).unwrap());
            assert_eq!(fields.usage().unwrap().output, output, "{text}");
        }
    }

    #[test]
    fn usage_is_normalized() {
        const MAX: u64 = u64::MAX;
        let table: &[(&Report, Option<[u64; 5]>)] = &[
            // No total token count.
            (&[], None),
            (&[(CACHED, 5), (CACHE_WRITE, 5), (REASONING, 5)], None),
            (&[(TOOL_INPUT, 5)], None),
            // One side, with and without a total.
            (&[(PROMPT, 5)], Some([5, 0, 0, 0, 0])),
            (&[(OUTPUT, 5)], Some([0, 0, 0, 5, 0])),
            (&[(TOTAL, 5)], Some([5, 0, 0, 0, 0])),
            (&[(PROMPT, 5), (TOTAL, 7)], Some([5, 0, 0, 2, 0])),
            (&[(OUTPUT, 5), (TOTAL, 7)], Some([2, 0, 0, 5, 0])),
            (&[(PROMPT, 9), (TOTAL, 7)], Some([9, 0, 0, 0, 0])),
            (
                &[(PROMPT, 1), (OUTPUT, 2), (TOTAL, 9)],
                Some([1, 0, 0, 2, 0]),
            ),
            // Included and separate.
            (
                &[(PROMPT, 9), (CACHED, 4), (CACHE_WRITE, 3)],
                Some([9, 4, 3, 0, 0]),
            ),
            (&[(INPUT, 9), (CACHED, 4)], Some([9, 4, 0, 0, 0])),
            (
                &[(INPUT, 9), (CACHED_APART, 4), (CACHE_WRITE_APART, 3)],
                Some([16, 4, 3, 0, 0]),
            ),
            (&[(CACHED_APART, 4)], Some([4, 4, 0, 0, 0])),
            // A gateway that reports both.
            (
                &[(PROMPT, 9), (CACHED_APART, 4), (CACHE_WRITE_APART, 3)],
                Some([9, 4, 3, 0, 0]),
            ),
            (&[(PROMPT, 9), (TOOL_INPUT, 2)], Some([11, 0, 0, 0, 0])),
            (
                &[(PROMPT, 9), (CANDIDATES, 3), (THOUGHTS, 2)],
                Some([9, 0, 0, 5, 2]),
            ),
            (&[(PROMPT, 9), (THOUGHTS, 2)], Some([9, 0, 0, 2, 2])),
            (&[(OUTPUT, 9), (REASONING, 2)], Some([0, 0, 0, 9, 2])),
            // Reasoning in addition to the output, as only the total shows.
            (
                &[(PROMPT, 32), (OUTPUT, 9), (REASONING, 94), (TOTAL, 135)],
                Some([32, 0, 0, 103, 94]),
            ),
            (
                &[(PROMPT, 32), (OUTPUT, 94), (REASONING, 9), (TOTAL, 126)],
                Some([32, 0, 0, 94, 9]),
            ),
            (
                &[(PROMPT, 32), (OUTPUT, 9), (REASONING, 94), (TOTAL, 136)],
                Some([32, 0, 0, 9, 9]),
            ),
            (
                &[(PROMPT, 1), (OUTPUT, MAX), (REASONING, MAX), (TOTAL, MAX)],
                Some([1, 0, 0, MAX, MAX]),
            ),
            // No part is more than the whole, and no sum wraps.
            (
                &[(PROMPT, 9), (CACHED, MAX), (CACHE_WRITE, MAX)],
                Some([9, 9, 0, 0, 0]),
            ),
            (
                &[(PROMPT, 9), (CACHED, 5), (CACHE_WRITE, 5)],
                Some([9, 5, 4, 0, 0]),
            ),
            (&[(OUTPUT, 9), (REASONING, MAX)], Some([0, 0, 0, 9, 9])),
            (
                &[(INPUT, MAX), (CACHED_APART, MAX), (CACHE_WRITE_APART, MAX)],
                Some([MAX, MAX, 0, 0, 0]),
            ),
            (
                &[(CANDIDATES, MAX), (THOUGHTS, MAX)],
                Some([0, 0, 0, MAX, MAX]),
            ),
        ];
        for (told, expected) in table {
            assert_eq!(usage(told), *expected, "{told:?}");
        }
    }
}
