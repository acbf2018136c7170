//! The parts of a request body that its tokens depend on, for all known APIs.

use super::count::{ContentCount, ReadMode};
use crate::payload::{is_one_of, json::Json};

/// Members whose own members are read as if they were members of the body.
const CONFIGS: &str = "generationConfig|generation_config|inferenceConfig";
/// Members that the model sees as JSON.
const SCHEMAS: &str = "tools|toolConfig|functions|response_format|output_format|output_config|text|\
    responseSchema|response_schema|responseJsonSchema|response_json_schema";
/// Members that only requests for embeddings have.
const OF_EMBEDDINGS: &str = "encoding_format|dimensions|input_type|output_dimension|\
    outputDimensionality|output_dimensionality|taskType|task_type";
/// The limits of the output, the first of which counts.
const LIMITS: [&str; 5] = [
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "maxOutputTokens",
    "maxTokens",
];

/// The parts of a request body that its tokens depend on.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    /// The content to tokenize.
    pub(super) count: ContentCount,
    /// It has a member for prompts.
    pub(super) is_known: bool,
    /// It has a member that no request for embeddings has.
    completes: bool,
    /// It has a member that only requests for embeddings have, or names an embedding model.
    embeds: bool,
    /// The values of [`LIMITS`].
    most: [Option<u64>; LIMITS.len()],
    choices: u64,
    prompts: u64,
}

// ===== impl Sketch =====

impl Sketch {
    /// Parses a body, which may be truncated or malformed.
    pub(super) fn of(body: Json<'_>) -> Self {
        let mut sketch = Self::default();
        for (name, value) in body.members() {
            let name = name.as_str().unwrap_or_default();
            sketch.member(&name, value);
            let inside = value.members().filter(|_| is_one_of(&name, CONFIGS));
            for (name, value) in inside {
                sketch.member(&name.as_str().unwrap_or_default(), value);
            }
        }
        sketch
    }

    /// Returns the most output tokens of all choices; `default` is for a request without a limit.
    pub(super) fn output(&self, default: u64) -> u64 {
        let most = self.most.into_iter().flatten().next();
        // Embeddings have no output tokens.
        if self.embeds && !self.completes && most.is_none() {
            return 0;
        }
        let choices = self.choices.max(1).saturating_mul(self.prompts.max(1));
        most.unwrap_or(default).saturating_mul(choices)
    }

    fn member(&mut self, name: &str, value: Json<'_>) {
        match name {
            "system" | "instructions" | "suffix" | "systemInstruction" | "system_instruction" => {
                self.text(value, ReadMode::Turns);
            }
            "messages" | "contents" => {
                self.completes = true;
                self.text(value, ReadMode::Turns);
            }
            "prompt" => {
                self.completes = true;
                let before = self.count.prompts;
                self.text(value, ReadMode::Prompt);
                self.prompts += self.count.prompts - before;
            }
            "input" => {
                let before = (self.count.prompts, self.count.tokens);
                self.text(value, ReadMode::Prompt);
                // A completion takes an array of messages.
                self.embeds |= before != (self.count.prompts, self.count.tokens);
            }
            // The text to embed in Gemini's API.
            "content" => {
                self.embeds = true;
                self.text(value, ReadMode::Turns);
            }
            "n" | "best_of" | "candidateCount" | "candidate_count" => {
                self.choices = self.choices.max(value.as_u64().unwrap_or(0));
            }
            "model" => {
                let name = value.as_str().unwrap_or_default();
                self.embeds |= name.to_ascii_lowercase().contains("embed");
            }
            name if is_one_of(name, SCHEMAS) => self.count.json(value),
            name if is_one_of(name, OF_EMBEDDINGS) => self.embeds |= value.text() != "null",
            name => {
                if let Some(place) = LIMITS.iter().position(|limit| *limit == name) {
                    self.most[place] = value.as_u64();
                }
            }
        }
    }

    fn text(&mut self, value: Json<'_>, reading: ReadMode) {
        self.is_known = true;
        self.count.read(value, reading);
    }
}
