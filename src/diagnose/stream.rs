//! The beginning of a stream, up to the first content or the first error.

use std::mem;

use http::HeaderMap;
use memchr::memchr3;
use serde_json::Value;

use super::event::{Says, says};
use crate::{
    events::{Events, Sink},
    provider::Diagnosis,
};

/// Before each text of a JSON sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Reads a stream, however it is cut.
pub(super) struct Stream {
    format: Format,
    event: Event,
}

enum Format {
    Events(Events),
    /// A text in each line.
    Lines,
}

/// The event at hand.
#[derive(Default)]
struct Event {
    name: Vec<u8>,
    data: Vec<u8>,
    /// There was data, in this or in another one.
    is_stream: bool,
    beginning: Option<Beginning>,
}

/// What a stream begins with.
#[derive(Debug, PartialEq)]
pub(super) enum Beginning {
    Content,
    /// The value that an error is in.
    Error(Value),
    /// An error that is no JSON.
    Text(Vec<u8>),
}

// ===== impl Stream =====

impl Stream {
    pub(super) fn of_events() -> Self {
        Self {
            format: Format::Events(Events::new()),
            event: Event::default(),
        }
    }

    pub(super) fn of_lines() -> Self {
        Self {
            format: Format::Lines,
            event: Event::default(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.event.beginning.is_none() {
            rest = match &mut self.format {
                Format::Events(events) => events.feed_line(rest, &mut self.event),
                Format::Lines => self.event.feed_line(rest),
            };
        }
    }

    /// What it begins with, as soon as that is known.
    pub(super) const fn beginning(&self) -> Option<&Beginning> {
        self.event.beginning.as_ref()
    }

    /// What all of it is, where it has ended without content or an error so far. `text` is what was fed.
    pub(super) fn end(&mut self, text: impl FnOnce() -> Vec<u8>) -> Option<&Beginning> {
        // Some forget the line that ends the last event.
        self.event.end();
        if !self.event.is_stream {
            // An error that the server found before it made a stream of it.
            self.event.beginning = error_alone(&text());
        }
        self.beginning()
    }
}

/// The error that a body as a whole is.
pub(super) fn error_alone(text: &[u8]) -> Option<Beginning> {
    let root: Value = serde_json::from_slice(text).ok()?;
    let is_error = says(&root, false) == Says::Error;
    is_error.then_some(Beginning::Error(root))
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
        let name = mem::take(&mut self.name);
        let mut data = mem::take(&mut self.data);
        let text = data.trim_ascii();
        if text.is_empty() {
            return;
        }
        self.is_stream = true;
        let is_error = name == b"error";
        self.beginning = match serde_json::from_slice::<Value>(text) {
            Ok(root) => match says(&root, is_error) {
                Says::Nothing => None,
                Says::Content => Some(Beginning::Content),
                Says::Error => Some(Beginning::Error(root)),
            },
            Err(_) if is_error => Some(Beginning::Text(mem::take(&mut data))),
            // Such as `[DONE]`.
            Err(_) => Some(Beginning::Content),
        };
    }
}

// ===== impl Beginning =====

impl Beginning {
    /// The error, as if it had come in time.
    pub(super) fn late(&self, headers: &HeaderMap) -> Option<Diagnosis> {
        match self {
            Self::Content => None,
            Self::Error(root) => Some(Diagnosis::of(root, headers)),
            Self::Text(text) => Some(Diagnosis::of_text(text, headers)),
        }
    }
}
