//! The members of a body that tell of its tokens.

use crate::provider::plain::Plain;

/// A member of the body, by its name.
#[derive(Clone, Copy)]
pub(super) enum Member {
    Text,
    Turns,
    Prompt,
    Input,
    /// What is to be made a vector, by Gemini's API.
    Content,
    Json,
    Most(usize),
    Choices,
    Config,
    Embeds,
    Model,
    Other,
}

// ===== impl Member =====

impl Member {
    pub(super) fn of(name: Plain<'_>) -> Self {
        let Plain::Text(name) = name else {
            return Self::Other;
        };
        match name {
            "system" | "instructions" | "suffix" | "systemInstruction" | "system_instruction" => {
                Self::Text
            }
            "messages" | "contents" => Self::Turns,
            "prompt" => Self::Prompt,
            "input" => Self::Input,
            "content" => Self::Content,
            "tools" | "toolConfig" | "functions" | "response_format" | "output_format"
            | "output_config" | "text" => Self::Json,
            "max_completion_tokens" => Self::Most(0),
            "max_output_tokens" => Self::Most(1),
            "max_tokens" => Self::Most(2),
            "n" | "best_of" => Self::Choices,
            "generationConfig" | "generation_config" | "inferenceConfig" => Self::Config,
            "encoding_format"
            | "dimensions"
            | "input_type"
            | "output_dimension"
            | "outputDimensionality"
            | "output_dimensionality"
            | "taskType"
            | "task_type" => Self::Embeds,
            "model" => Self::Model,
            _ => Self::Other,
        }
    }

    /// Of the members of `generationConfig` and `inferenceConfig`.
    pub(super) fn of_config(name: Plain<'_>) -> Self {
        match name {
            Plain::Text("maxOutputTokens" | "max_output_tokens") => Self::Most(3),
            Plain::Text("maxTokens") => Self::Most(4),
            Plain::Text("candidateCount" | "candidate_count") => Self::Choices,
            Plain::Text(
                "responseSchema"
                | "response_schema"
                | "responseJsonSchema"
                | "response_json_schema",
            ) => Self::Json,
            _ => Self::Other,
        }
    }

    pub(super) fn has_prompt(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Turns | Self::Prompt | Self::Input | Self::Content
        )
    }
}
