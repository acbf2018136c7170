//! The beginning of a stream, up to the first content or the first error.

use memchr::memchr3;

use crate::payload::{
    error_body::{Says, says},
    json::Json,
    sse::{Events, Sink},
};

/// Before each text of a JSON sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Reads a stream, however it is cut.
pub(super) struct Stream {
    format: Format,
    event: Event,
}

pub(super) enum Format {
    Events(Events),
    /// A text in each line.
    Lines,
    /// No stream, but one object.
    Object {
        has_begun: bool,
    },
}

/// The event at hand, or the first one that is an error.
struct Event {
    name: Vec<u8>,
    data: Vec<u8>,
    /// There was data, in this or in another one.
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
                    if !*has_begun && first.is_some_and(|first| *first != b'{') {
                        self.event.says = Says::Content;
                    }
                    *has_begun |= first.is_some();
                    &[]
                }
            };
        }
    }

    /// What it has said so far.
    pub(super) const fn says(&self) -> Says {
        self.event.says
    }

    /// What all of it says, if it has ended without content or an error so far. `text` is what was
    /// fed.
    pub(super) fn end(&mut self, text: impl FnOnce() -> Vec<u8>) -> Says {
        // Some forget the line that ends the last event.
        self.event.end();
        if !self.event.is_stream {
            // An error that the server found before it made a stream of it.
            self.event.data = text();
            let root = Json::parse(&self.event.data);
            self.event.says = root.map_or(Says::Content, |root| says(root, false));
        }
        self.says()
    }

    /// The text of the error.
    pub(super) fn error(&self) -> &[u8] {
        &self.event.data
    }
}

// ===== impl Event =====

impl Event {
    /// Reads to the end of the line, or all there is of it, and gives back what is left.
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
            let is_error = self.name == b"error";
            self.says = match Json::parse(text) {
                Some(root) => says(root, is_error),
                None if is_error => Says::Error,
                // Such as `[DONE]`.
                None => Says::Content,
            };
        }
        self.name.clear();
        if self.says != Says::Error {
            self.data.clear();
        }
    }
}
