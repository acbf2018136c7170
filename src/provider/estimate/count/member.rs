//! What the members of a turn of a conversation are, by their names.

use crate::provider::plain::{NUMBER, Plain};

/// What a member of [`Reading::Turns`](super::Reading::Turns) is, by its name.
pub(super) enum Member {
    /// Text, or something that holds text.
    Said,
    /// Not for the model to read.
    Label,
    /// One image, recording or file, however it is given.
    Media,
    /// Of a document: text, or media.
    Source,
    /// What a tool was called with, or answered.
    Json,
    /// See [`NUMBER`].
    Number,
}

// ===== impl Member =====

impl Member {
    pub(super) fn of(name: Plain<'_>) -> Self {
        let Plain::Text(name) = name else {
            return Self::Said;
        };
        match name {
            "type" | "role" | "id" | "call_id" | "tool_call_id" | "tool_use_id" | "status"
            | "detail" | "cache_control" | "signature" | "thoughtSignature"
            | "thought_signature" => Self::Label,
            "image_url" | "input_audio" | "audio" | "audio_url" | "video_url" | "file"
            | "file_data" | "file_id" | "file_url" | "fileData" | "inlineData" | "inline_data" => {
                Self::Media
            }
            "source" => Self::Source,
            "input" | "args" | "response" => Self::Json,
            NUMBER => Self::Number,
            _ => Self::Said,
        }
    }
}
