//! What the body of a request says of the tokens that it may use, in the form of any API that is
//! known.

use super::{
    count::{ContentCount, ReadMode},
    model,
};
use crate::payload::json::Json;

/// What a body says of the tokens that it may use.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    /// What there is to tokenize.
    pub(super) count: ContentCount,
    /// It has a member of those that hold prompts.
    pub(super) is_known: bool,
    /// A member that no request for vectors has.
    completes: bool,
    /// A member that no other request has, or a model with such a name.
    embeds: bool,
    /// By `max_completion_tokens`, `max_output_tokens`, `max_tokens`, `maxOutputTokens` and
    /// `maxTokens`, in this order.
    most: [Option<u64>; 5],
    choices: u64,
    prompts: u64,
}

// ===== impl Sketch =====

impl Sketch {
    /// Reads a body; `None` if it is not an object of JSON, or has text that is nested too deeply
    /// or can't be read.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let body = Json::parse(body).filter(|body| body.is_object())?;
        let mut sketch = Self::default();
        for (name, value) in body.members() {
            sketch.member(&name.as_str().unwrap_or_default(), value)?;
        }
        Some(sketch)
    }

    /// The most tokens of one answer.
    pub(super) fn most(&self) -> Option<u64> {
        self.most.into_iter().flatten().next()
    }

    /// How many answers are asked for, at least 1.
    pub(super) fn answers(&self) -> u64 {
        self.choices.max(1).saturating_mul(self.prompts.max(1))
    }

    /// Whether it asks for vectors, which are no tokens.
    pub(super) fn is_embedding(&self) -> bool {
        self.embeds && !self.completes && self.most().is_none()
    }

    fn member(&mut self, name: &str, value: Json<'_>) -> Option<()> {
        match name {
            "system" | "instructions" | "suffix" | "systemInstruction" | "system_instruction" => {
                self.text(value, ReadMode::Turns)?;
            }
            "messages" | "contents" => {
                self.completes = true;
                self.text(value, ReadMode::Turns)?;
            }
            "prompt" => {
                self.completes = true;
                let before = self.count.prompts;
                self.text(value, ReadMode::Prompt)?;
                self.prompts += self.count.prompts - before;
            }
            "input" => {
                let before = (self.count.prompts, self.count.tokens);
                self.text(value, ReadMode::Prompt)?;
                // The list that a completion takes is one of turns.
                self.embeds |= before != (self.count.prompts, self.count.tokens);
            }
            // What is to be made a vector, by Gemini's API.
            "content" => {
                self.embeds = true;
                self.text(value, ReadMode::Turns)?;
            }
            "tools" | "toolConfig" | "functions" | "response_format" | "output_format"
            | "output_config" | "text" => self.count.json(value)?,
            "max_completion_tokens" => self.most[0] = value.as_u64(),
            "max_output_tokens" => self.most[1] = value.as_u64(),
            "max_tokens" => self.most[2] = value.as_u64(),
            "n" | "best_of" => self.choices(value),
            "generationConfig" | "generation_config" | "inferenceConfig" => {
                for (name, value) in value.members() {
                    self.config(&name.as_str().unwrap_or_default(), value)?;
                }
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
        Some(())
    }

    fn config(&mut self, name: &str, value: Json<'_>) -> Option<()> {
        match name {
            "maxOutputTokens" | "max_output_tokens" => self.most[3] = value.as_u64(),
            "maxTokens" => self.most[4] = value.as_u64(),
            "candidateCount" | "candidate_count" => self.choices(value),
            "responseSchema"
            | "response_schema"
            | "responseJsonSchema"
            | "response_json_schema" => self.count.json(value)?,
            _ => {}
        }
        Some(())
    }

    fn text(&mut self, value: Json<'_>, reading: ReadMode) -> Option<()> {
        self.is_known = true;
        self.count.read(value, reading)
    }

    fn choices(&mut self, value: Json<'_>) {
        self.choices = self.choices.max(value.as_u64().unwrap_or(0));
    }
}
