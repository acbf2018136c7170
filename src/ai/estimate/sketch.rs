//! The parts of a request body that its tokens depend on, for all known APIs.

use super::{
    count::{ContentCount, ReadMode},
    model,
};
use crate::payload::json::Json;

/// Members whose own members are like those of the body.
const CONFIGS: [&str; 3] = ["generationConfig", "generation_config", "inferenceConfig"];

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
    /// From `max_completion_tokens`, `max_output_tokens`, `max_tokens`, `maxOutputTokens` and
    /// `maxTokens`, in this order.
    most: [Option<u64>; 5],
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
            let inside = value.members().filter(|_| CONFIGS.contains(&&*name));
            for (name, value) in inside {
                sketch.member(&name.as_str().unwrap_or_default(), value);
            }
        }
        sketch
    }

    /// Returns the output limit of one choice.
    pub(super) fn most(&self) -> Option<u64> {
        self.most.into_iter().flatten().next()
    }

    /// Returns the number of choices, at least 1.
    pub(super) fn answers(&self) -> u64 {
        self.choices.max(1).saturating_mul(self.prompts.max(1))
    }

    /// Returns `true` if the request is for embeddings, which have no output tokens.
    pub(super) fn is_embedding(&self) -> bool {
        self.embeds && !self.completes && self.most().is_none()
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
            "tools"
            | "toolConfig"
            | "functions"
            | "response_format"
            | "output_format"
            | "output_config"
            | "text"
            | "responseSchema"
            | "response_schema"
            | "responseJsonSchema"
            | "response_json_schema" => self.count.json(value),
            "max_completion_tokens" => self.most[0] = value.as_u64(),
            "max_output_tokens" => self.most[1] = value.as_u64(),
            "max_tokens" => self.most[2] = value.as_u64(),
            "maxOutputTokens" => self.most[3] = value.as_u64(),
            "maxTokens" => self.most[4] = value.as_u64(),
            "n" | "best_of" | "candidateCount" | "candidate_count" => {
                self.choices = self.choices.max(value.as_u64().unwrap_or(0));
            }
            "encoding_format"
            | "dimensions"
            | "input_type"
            | "output_dimension"
            | "outputDimensionality"
            | "output_dimensionality"
            | "taskType"
            | "task_type" => self.embeds |= value.text() != "null",
            "model" => {
                self.embeds |= value
                    .as_str()
                    .is_some_and(|name| model::makes_vectors(&name))
            }
            _ => {}
        }
    }

    fn text(&mut self, value: Json<'_>, reading: ReadMode) {
        self.is_known = true;
        self.count.read(value, reading);
    }
}
