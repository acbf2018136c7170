//! Checks the JSON texts of a response.

use std::iter;

use serde_json::{Deserializer, value::RawValue};

use crate::payload::{in_band::error_in, is_one_of, json::Json};

/// The `type` of an event that is followed by another one, if the response is complete.
const BEGINNINGS: &str = "conversation.response.started|image_edit.partial_image|\
    image_generation.partial_image|message-start|message_start|response.created|\
    speech.audio.delta|transcript.text.delta";

/// The `type` of the last event.
const ENDS: &str = "conversation.response.done|image_edit.completed|image_generation.completed|\
    message-end|message_stop|response.completed|response.incomplete|speech.audio.done|\
    transcript.text.done";

#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) is_error: bool,
    /// There is more than signs of life and an end.
    pub(super) has_content: bool,
    /// Some text is part of a response that has an end.
    begins: bool,
    pub(super) ends: bool,
    /// The name and the data of the current event, in a stream.
    pub(super) name: Vec<u8>,
    pub(super) data: Vec<u8>,
}

// ===== impl Report =====

impl Report {
    /// Adds what each of several texts says. Returns `false` if there is something else.
    pub(super) fn add(&mut self, texts: &[u8]) -> bool {
        let mut texts = Deserializer::from_slice(texts).into_iter::<&RawValue>();
        texts.all(|text| text.is_ok_and(|text| self.add_text(Json::lenient(text.get()))))
    }

    fn add_text(&mut self, root: Json<'_>) -> bool {
        self.is_error |= error_in(root).is_some();
        for value in iter::once(root).chain(root.elements()) {
            let member = |name| value.get(name).map_or("", Json::text).trim_matches('"');
            let (kind, object) = (member("type"), member("object"));
            let (done, candidates) = (member("done"), member("candidates"));
            self.has_content |= !matches!(kind, "ping" | "keepalive");
            self.begins |= is_one_of(kind, BEGINNINGS)
                || matches!(object, "chat.completion.chunk" | "text_completion")
                || done == "false"
                || !candidates.is_empty();
            self.ends |=
                is_one_of(kind, ENDS) || done == "true" || candidates.contains("\"finishReason\"");
        }
        true
    }

    /// Returns whether the end is missing.
    pub(super) const fn is_cut(&self) -> bool {
        self.begins && !self.ends
    }
}
