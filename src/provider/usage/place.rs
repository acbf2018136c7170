//! Where in an answer a key counts, and for what.

use super::fields::Field;

/// A place that the reader knows. All others are passed over, whatever is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside of any value.
    Outside,
    /// The list that some streams are as a whole.
    List,
    /// An object that is a whole answer, or an event of one.
    Top,
    /// The object that some events have the answer in.
    Wrapper,
    /// The same of an answer that has only begun.
    Begun,
    Usage,
    InputDetails,
    OutputDetails,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Nothing,
    Place(Place),
    Field(Field),
}

// ===== impl Place =====

impl Place {
    /// The longest key that means anything.
    pub(super) const LONGEST: usize = b"cache_creation_input_tokens".len();

    pub(super) fn meaning(self, key: &[u8]) -> Meaning {
        match self {
            Self::Outside | Self::List => Meaning::Nothing,
            Self::Top => match key {
                b"usage" | b"usageMetadata" => Meaning::Place(Self::Usage),
                b"message" => Meaning::Place(Self::Begun),
                b"response" | b"x_groq" => Meaning::Place(Self::Wrapper),
                _ => Meaning::Nothing,
            },
            Self::Wrapper | Self::Begun => match key {
                b"usage" => Meaning::Place(Self::Usage),
                _ => Meaning::Nothing,
            },
            Self::Usage => in_usage(key),
            Self::InputDetails => match key {
                b"cached_tokens" => Meaning::Field(Field::Cached),
                b"cache_write_tokens" => Meaning::Field(Field::CacheWrite),
                _ => Meaning::Nothing,
            },
            Self::OutputDetails => match key {
                b"reasoning_tokens" => Meaning::Field(Field::Reasoning),
                _ => Meaning::Nothing,
            },
        }
    }
}

/// The names don't collide, so that whose they are need not be known.
fn in_usage(key: &[u8]) -> Meaning {
    let field = match key {
        b"prompt_tokens_details" | b"input_tokens_details" => {
            return Meaning::Place(Place::InputDetails);
        }
        b"completion_tokens_details" | b"output_tokens_details" => {
            return Meaning::Place(Place::OutputDetails);
        }
        b"prompt_tokens" | b"promptTokenCount" => Field::Prompt,
        b"input_tokens" | b"inputTokens" => Field::Input,
        b"toolUsePromptTokenCount" => Field::ToolInput,
        b"prompt_cache_hit_tokens" | b"cachedContentTokenCount" => Field::Cached,
        b"cache_read_input_tokens" | b"cacheReadInputTokens" => Field::CachedApart,
        b"cache_creation_input_tokens" | b"cacheWriteInputTokens" => Field::CacheWriteApart,
        b"completion_tokens" | b"output_tokens" | b"outputTokens" => Field::Output,
        b"candidatesTokenCount" => Field::Candidates,
        b"thoughtsTokenCount" => Field::Thoughts,
        b"total_tokens" | b"totalTokenCount" | b"totalTokens" => Field::Total,
        _ => return Meaning::Nothing,
    };
    Meaning::Field(field)
}
