//! Reads a stream up to the first content or the first error.

use memchr::memchr3;

use crate::payload::{
    error_body::{Says, says},
    json,
    json::Json,
    sse::{Events, Sink},
};

/// Precedes each text of a JSON sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Incremental reader of a stream.
pub(super) struct Stream {
    format: Format,
    event: Event,
}

pub(super) enum Format {
    Events(Events),
    /// One JSON text per line.
    Lines,
    /// A single object rather than a stream.
    Object {
        has_begun: bool,
    },
}

/// The current event, or the first one that is an error.
struct Event {
    name: Vec<u8>,
    data: Vec<u8>,
    /// This or an earlier event had data.
    is_stream: bool,
    says: Says,
}

// ===== impl Stream =====

impl Stream {
    pub(super) const fn new(format: Format) -> Self {
        Self {
            format,
            event: Event {
                name: Vec::new(),
                data: Vec::new(),
                is_stream: false,
                says: Says::Nothing,
            },
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.says() == Says::Nothing {
            rest = match &mut self.format {
                Format::Events(events) => events.feed_line(rest, &mut self.event),
                Format::Lines => self.event.feed_line(rest),
                Format::Object { has_begun } => {
                    let first = rest.trim_ascii_start().first();
                    // An object, perhaps after a byte order mark.
                    if !*has_begun && first.is_some_and(|first| !b"{\xef".contains(first)) {
                        self.event.says = Says::Content;
                    }
                    *has_begun |= first.is_some();
                    &[]
                }
            };
        }
    }

    /// Returns what the stream contains so far.
    pub(super) const fn says(&self) -> Says {
        self.event.says
    }

    /// Returns what the whole stream contains, if it has ended without content or an error so far.
    /// `text` returns all bytes.
    pub(super) fn end(&mut self, text: impl FnOnce() -> Vec<u8>) -> Says {
        // Some servers omit the line end after the last event.
        self.event.end();
        if !self.event.is_stream {
            // An error that occurred before the server began the stream.
            self.event.data = text();
            self.event.says = said(&self.event.data, false);
        }
        self.says()
    }

    /// Returns the text of the error.
    pub(super) fn error(&self) -> &[u8] {
        &self.event.data
    }
}

/// Malformed JSON is read as far as possible. Anything else, such as `[DONE]`, is content.
fn said(data: &[u8], is_error: bool) -> Says {
    says(Json::lenient(&json::text(data)), is_error)
}

// ===== impl Event =====

impl Event {
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
