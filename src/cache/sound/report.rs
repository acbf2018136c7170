//! What the members say that are at the top of a JSON text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer as Texts, value::RawValue};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) is_error: bool,
    /// It is part of an answer whose end is told.
    pub(super) begins: bool,
    /// It tells the end.
    pub(super) ends: bool,
    /// It says nothing but that the server is alive.
    pub(super) is_idle: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Error,
    Type,
    Object,
    Candidates,
    Done,
    Choices,
    #[serde(rename = "finish_reason")]
    FinishReason,
    Response,
    Delta,
    #[serde(other)]
    Other,
}

struct Reader;

/// What all JSON texts say in these pieces, of which each may have several, or `None` where there
/// are none.
pub(super) fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> serde_json::Result<Option<Report>> {
    let mut all = None;
    let texts = |piece| Texts::from_slice(piece).into_iter::<Report>();
    for report in pieces.into_iter().flat_map(texts) {
        let report = report?;
        all = Some(all.map_or(report, |all: Report| all.and(report)));
    }
    Ok(all)
}

// ===== impl Report =====

impl Report {
    /// Of both, one after the other.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            is_error: self.is_error || other.is_error,
            begins: self.begins || other.begins,
            ends: self.ends || other.ends,
            is_idle: self.is_idle && other.is_idle,
        }
    }

    /// Whether that is all of a stream, and a good one.
    pub(super) const fn is_sound(self) -> bool {
        !self.is_error && (!self.begins || self.ends)
    }

    fn member(&mut self, name: &Name, value: &str) {
        match (name, value) {
            (Name::Error, "null" | "false" | "\"\"") => {}
            (Name::Error, _)
            | (Name::Type | Name::Object | Name::FinishReason, "\"error\"")
            | (Name::FinishReason, "\"ERROR\"" | "\"TIMEOUT\"")
            | (Name::Type, "\"response.failed\"" | "\"conversation.response.error\"") => {
                self.is_error = true;
            }
            (Name::Type, "\"ping\"" | "\"keepalive\"") => self.is_idle = true,
            (
                Name::Type,
                "\"message_start\""
                | "\"message-start\""
                | "\"response.created\""
                | "\"conversation.response.started\""
                | "\"transcript.text.delta\""
                | "\"speech.audio.delta\""
                | "\"image_generation.partial_image\""
                | "\"image_edit.partial_image\"",
            )
            | (Name::Object, "\"chat.completion.chunk\"" | "\"text_completion\"")
            | (Name::Done, "false") => self.begins = true,
            (
                Name::Type,
                "\"message_stop\""
                | "\"message-end\""
                | "\"response.completed\""
                | "\"response.incomplete\""
                | "\"conversation.response.done\""
                | "\"transcript.text.done\""
                | "\"speech.audio.done\""
                | "\"image_generation.completed\""
                | "\"image_edit.completed\"",
            )
            | (Name::Done, "true") => self.ends = true,
            (Name::Candidates, candidates) => {
                self.begins = true;
                self.ends |= candidates.contains("\"finishReason\"");
            }
            _ => {}
        }
    }
}

/// Any JSON; what is neither an object nor a list of them says nothing.
impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Reader)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Report;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Report, A::Error> {
        let mut report = Report::default();
        while let Some(name) = members.next_key()? {
            match name {
                Name::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
                // An error may be one of these alone.
                Name::Choices | Name::Response | Name::Delta => {
                    report.is_error |= members.next_value::<Report>()?.is_error;
                }
                name => report.member(&name, members.next_value::<&RawValue>()?.get()),
            }
        }
        Ok(report)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Report, A::Error> {
        let mut report = Report::default();
        while let Some(element) = elements.next_element::<Report>()? {
            report = report.and(element);
        }
        Ok(report)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Report, E> {
        Ok(Report::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Report, E> {
        Ok(Report::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Report, E> {
        Ok(Report::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Report, E> {
        Ok(Report::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Report, E> {
        Ok(Report::default())
    }

    fn visit_unit<E>(self) -> Result<Report, E> {
        Ok(Report::default())
    }
}
