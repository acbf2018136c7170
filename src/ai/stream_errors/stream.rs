//! Reads a stream up to the first content or the first error.

use memchr::memchr3;

use crate::payload::{
    in_band::{Says, says},
    json,
    json::Json,
    sse::{Events, Sink},
};

/// Precedes each text of a JSON sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// How a stream is split into events.
pub(super) enum Format {
    Events(Events),
    /// One JSON text per line.
    Lines,
    /// A single object rather than a stream.
    Object,
}

/// The current event, or the first one that is an error.
#[derive(Default)]
pub(super) struct Event {
    name: Vec<u8>,
    /// The text of the error, if it is one.
    pub(super) data: Vec<u8>,
    /// This or an earlier event had data.
    is_stream: bool,
    /// What the stream contains so far.
    pub(super) says: Says,
}

// ===== impl Format =====

impl Format {
    /// Reads the next bytes, up to the end of the first event that says anything.
    pub(super) fn feed(&mut self, bytes: &[u8], event: &mut Event) {
        let mut rest = bytes;
        while !rest.is_empty() && event.says == Says::Nothing {
            rest = match self {
                Self::Events(events) => events.feed_line(rest, event),
                Self::Lines => event.feed_line(rest),
                Self::Object => {
                    event.data(rest);
                    let first = event.data.trim_ascii_start().first();
                    // An object, perhaps after a byte order mark.
                    if first.is_some_and(|first| !b"{\xef".contains(first)) {
                        event.says = Says::Content;
                    }
                    &[]
                }
            };
        }
    }
}

/// Malformed JSON is read as far as possible. Anything else, such as `[DONE]`, is content.
fn said(data: &[u8], is_error: bool) -> Says {
    says(Json::lenient(&json::text(data)), is_error)
}

// ===== impl Event =====

impl Event {
    /// Reads the whole stream, if it has ended without content or an error so far. `text` returns
    /// all bytes.
    pub(super) fn end_stream(&mut self, text: impl FnOnce() -> Vec<u8>) {
        // Some servers omit the line end after the last event.
        self.end();
        if !self.is_stream {
            // An error that occurred before the server began the stream.
            self.data = text();
            self.says = said(&self.data, false);
        }
    }

    /// Reads up to the end of the line or of the bytes, and returns the rest.
    fn feed_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr3(b'\n', b'\r', RECORD_SEPARATOR, bytes) else {
            self.data(bytes);
            return &[];
        };
        self.data(&bytes[..end]);
        self.end();
        &bytes[end + 1..]
    }
}

impl Sink for Event {
    fn data(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    fn rename(&mut self) {
        self.name.clear();
    }

    fn name(&mut self, bytes: &[u8]) {
        self.name.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        let text = self.data.trim_ascii();
        if !text.is_empty() {
            self.is_stream = true;
            self.says = said(text, self.name == b"error");
        }
        self.name.clear();
        if self.says != Says::Error {
            self.data.clear();
        }
    }
}
