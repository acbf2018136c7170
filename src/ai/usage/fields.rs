//! The fields of a usage object and their sum.

use crate::{ai::tokens::TokenUsage, payload::json::Json};

/// A count that some provider reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsageField {
    /// Input, including cached tokens.
    Prompt,
    /// Input, excluding cached tokens if they are reported separately.
    Input,
    /// Additional input from tools.
    ToolInput,
    /// Part of the input: read from the cache.
    Cached,
    /// Part of the input: written to the cache.
    CacheWrite,
    /// In addition to the input: read from the cache.
    CachedApart,
    /// In addition to the input: written to the cache.
    CacheWriteApart,
    /// Output, including reasoning for all but one provider.
    Output,
    /// Output, excluding reasoning.
    Candidates,
    /// Reasoning, in addition to the output.
    Thoughts,
    /// Reasoning, part of the output or in addition to it.
    Reasoning,
    /// Input and output.
    Total,
}

/// The last reported value of each field.
#[derive(Debug, Clone, Default)]
pub(super) struct UsageFields([Option<u64>; UsageField::Total as usize + 1]);

/// For each field its members in a usage object and in its detail objects. The names of different
/// providers don't collide.
const NAMES: [&str; UsageField::Total as usize + 1] = [
    "prompt_tokens|promptTokenCount",
    // Cohere's `tokens` are beside what is billed.
    "input_tokens|inputTokens|tokens/input_tokens",
    "toolUsePromptTokenCount",
    "cached_tokens|prompt_cache_hit_tokens|cachedContentTokenCount|\
        prompt_tokens_details/cached_tokens|input_tokens_details/cached_tokens|\
        input_token_details/cached_tokens",
    "prompt_tokens_details/cache_write_tokens|input_tokens_details/cache_write_tokens",
    "cache_read_input_tokens|cacheReadInputTokens",
    "cache_creation_input_tokens|cacheWriteInputTokens",
    "completion_tokens|output_tokens|outputTokens|tokens/output_tokens",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "reasoning_tokens|completion_tokens_details/reasoning_tokens|\
        output_tokens_details/reasoning_tokens",
    "total_tokens|totalTokenCount|totalTokens",
];

// ===== impl UsageFields =====

impl UsageFields {
    /// Reads a usage object. A field that a later report omits keeps its value.
    pub(super) fn read(&mut self, usage: Json<'_>) {
        for (name, value) in usage.members() {
            let name = name.as_str().unwrap_or_default();
            self.set((&name, ""), value);
            for (detail, value) in value.members() {
                let detail = detail.as_str().unwrap_or_default();
                self.set((&name, &detail), value);
            }
        }
    }

    fn set(&mut self, name: (&str, &str), value: Json<'_>) {
        let is_name = |known: &str| known.split_once('/').unwrap_or((known, "")) == name;
        let mut fields = NAMES.iter();
        let field = fields.position(|names| names.split('|').any(is_name));
        if let (Some(field), Some(count)) = (field, count(value)) {
            self.0[field] = Some(count);
        }
    }

    /// Returns the usage; `None` if no tokens are reported: some responses are measured in seconds.
    ///
    /// Sums saturate, and a part is never more than the whole.
    pub(super) fn usage(&self) -> Option<TokenUsage> {
        let total = self.get(UsageField::Total);
        let rest = |part: u64| total.map_or(0, |total| total.saturating_sub(part));
        let (input, output) = match (self.input(), self.output()) {
            (Some(input), Some(output)) => (input, output),
            (Some(input), None) => (input, rest(input)),
            (None, Some(output)) => (rest(output), output),
            // Embeddings and rankings of some providers have no output.
            (None, None) => (total?, 0),
        };
        let part = |field, other, whole: u64| {
            let value = self.get(field).or_else(|| self.get(other));
            value.unwrap_or(0).min(whole)
        };
        let cached_input = part(UsageField::Cached, UsageField::CachedApart, input);
        let uncached = input - cached_input;
        let written = part(
            UsageField::CacheWrite,
            UsageField::CacheWriteApart,
            uncached,
        );
        Some(TokenUsage {
            input,
            cached_input,
            cache_write_input: written,
            output,
            reasoning: part(UsageField::Reasoning, UsageField::Thoughts, output),
        })
    }

    /// `Prompt` includes cached tokens. `Input` does too, if there are no separate counts.
    fn input(&self) -> Option<u64> {
        if self.get(UsageField::Prompt).is_some() {
            return self.sum(&[UsageField::Prompt, UsageField::ToolInput]);
        }
        self.sum(&[
            UsageField::Input,
            UsageField::CachedApart,
            UsageField::CacheWriteApart,
        ])
    }

    /// The output includes reasoning, except if the total shows that they are separate.
    fn output(&self) -> Option<u64> {
        let Some(output) = self.get(UsageField::Output) else {
            return self.sum(&[UsageField::Candidates, UsageField::Thoughts]);
        };
        let both = output.saturating_add(self.get(UsageField::Reasoning).unwrap_or(0));
        let total = self.input().map(|input| input.saturating_add(both));
        let is_apart = total.is_some() && total == self.get(UsageField::Total);
        Some(if is_apart { both } else { output })
    }

    /// Returns the sum of the fields that are reported, if there is one.
    fn sum(&self, fields: &[UsageField]) -> Option<u64> {
        let told = fields.iter().filter_map(|field| self.get(*field));
        told.reduce(u64::saturating_add)
    }

    fn get(&self, field: UsageField) -> Option<u64> {
        self.0[field as usize]
    }
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

    type Report = [(UsageField, u64)];

    fn fields(told: &Report) -> UsageFields {
        let mut fields = UsageFields::default();
        for (field, value) in told {
            fields.0[*field as usize] = Some(*value);
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
        use UsageField::*;
        const MAX: u64 = u64::MAX;
        let table: &[(&Report, Option<[u64; 5]>)] = &[
            // No total token count.
            (&[], None),
            (&[(Cached, 5), (CacheWrite, 5), (Reasoning, 5)], None),
            (&[(ToolInput, 5)], None),
            // One side, with and without a total.
            (&[(Prompt, 5)], Some([5, 0, 0, 0, 0])),
            (&[(Output, 5)], Some([0, 0, 0, 5, 0])),
            (&[(Total, 5)], Some([5, 0, 0, 0, 0])),
            (&[(Prompt, 5), (Total, 7)], Some([5, 0, 0, 2, 0])),
            (&[(Output, 5), (Total, 7)], Some([2, 0, 0, 5, 0])),
            (&[(Prompt, 9), (Total, 7)], Some([9, 0, 0, 0, 0])),
            (
                &[(Prompt, 1), (Output, 2), (Total, 9)],
                Some([1, 0, 0, 2, 0]),
            ),
            // Included and separate.
            (
                &[(Prompt, 9), (Cached, 4), (CacheWrite, 3)],
                Some([9, 4, 3, 0, 0]),
            ),
            (&[(Input, 9), (Cached, 4)], Some([9, 4, 0, 0, 0])),
            (
                &[(Input, 9), (CachedApart, 4), (CacheWriteApart, 3)],
                Some([16, 4, 3, 0, 0]),
            ),
            (&[(CachedApart, 4)], Some([4, 4, 0, 0, 0])),
            // A gateway that reports both.
            (
                &[(Prompt, 9), (CachedApart, 4), (CacheWriteApart, 3)],
                Some([9, 4, 3, 0, 0]),
            ),
            (&[(Prompt, 9), (ToolInput, 2)], Some([11, 0, 0, 0, 0])),
            (
                &[(Prompt, 9), (Candidates, 3), (Thoughts, 2)],
                Some([9, 0, 0, 5, 2]),
            ),
            (&[(Prompt, 9), (Thoughts, 2)], Some([9, 0, 0, 2, 2])),
            (&[(Output, 9), (Reasoning, 2)], Some([0, 0, 0, 9, 2])),
            // Reasoning in addition to the output, as only the total shows.
            (
                &[(Prompt, 32), (Output, 9), (Reasoning, 94), (Total, 135)],
                Some([32, 0, 0, 103, 94]),
            ),
            (
                &[(Prompt, 32), (Output, 94), (Reasoning, 9), (Total, 126)],
                Some([32, 0, 0, 94, 9]),
            ),
            (
                &[(Prompt, 32), (Output, 9), (Reasoning, 94), (Total, 136)],
                Some([32, 0, 0, 9, 9]),
            ),
            (
                &[(Prompt, 1), (Output, MAX), (Reasoning, MAX), (Total, MAX)],
                Some([1, 0, 0, MAX, MAX]),
            ),
            // No part is more than the whole, and no sum wraps.
            (
                &[(Prompt, 9), (Cached, MAX), (CacheWrite, MAX)],
                Some([9, 9, 0, 0, 0]),
            ),
            (
                &[(Prompt, 9), (Cached, 5), (CacheWrite, 5)],
                Some([9, 5, 4, 0, 0]),
            ),
            (&[(Output, 9), (Reasoning, MAX)], Some([0, 0, 0, 9, 9])),
            (
                &[(Input, MAX), (CachedApart, MAX), (CacheWriteApart, MAX)],
                Some([MAX, MAX, 0, 0, 0]),
            ),
            (
                &[(Candidates, MAX), (Thoughts, MAX)],
                Some([0, 0, 0, MAX, MAX]),
            ),
        ];
        for (told, expected) in table {
            assert_eq!(usage(told), *expected, "{told:?}");
        }
    }
}
