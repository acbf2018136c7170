//! The usage that an answer reports, read while it passes.
//!
//! Formats are known by their shape, so that it need not be said whose answer it is. A body is never held up or kept:
//! the reader is of one size, however long the body and however it is cut.

mod fields;
mod json;
mod key;
mod place;
mod scan;
mod sse;
#[cfg(test)]
mod tests;

use http::HeaderMap;

use self::{json::Json, sse::Sse};
use crate::{
    TokenUsage,
    header::{is_compressed, media_type},
};

/// Reads the usage out of the bytes of an answer, however they are cut.
#[derive(Debug)]
pub(crate) struct UsageReader(Format);

#[derive(Debug)]
enum Format {
    Json(Json),
    Sse(Sse),
}

// ===== impl UsageReader =====

impl UsageReader {
    /// A reader for the body that `headers` announce; `None` where it can't be read, as when it is compressed.
    ///
    /// A body of no type is taken for JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        if is_compressed(headers) {
            return None;
        }
        match media_type(headers) {
            Some(media_type) => Format::of(media_type).map(Self),
            None => Some(Self(Format::Json(Json::new()))),
        }
    }

    /// The next bytes of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Format::Json(json) => json.feed(bytes),
            Format::Sse(sse) => sse.feed(bytes),
        }
    }

    /// What has been reported so far. An answer that reports more than once counts up, so its last word is the sum.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        match &self.0 {
            Format::Json(json) => json.usage(),
            Format::Sse(sse) => sse.usage(),
        }
    }

    /// Whether that is of more than the beginning of an answer: some streams tell their input first, with an output of
    /// one token or none.
    pub(crate) fn is_final(&self) -> bool {
        match &self.0 {
            Format::Json(json) => json.is_final(),
            Format::Sse(sse) => sse.is_final(),
        }
    }
}

// ===== impl Format =====

impl Format {
    fn of(media_type: &[u8]) -> Option<Self> {
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        if is("text/event-stream") {
            return Some(Self::Sse(Sse::new()));
        }
        let suffix = media_type.last_chunk::<5>();
        // JSON lines are JSON texts one after another.
        let json = is("application/json")
            || is("application/x-ndjson")
            || is("application/jsonl")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
        json.then(|| Self::Json(Json::new()))
    }
}
