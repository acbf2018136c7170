//! The usage that an answer reports, read while it passes.
//!
//! Formats are known by their shape, so that it need not be said whose answer it is. A body is
//! never held up or kept: the reader is of one size, however long the body and however it is cut.

mod fields;
mod scanner;
mod silent;
#[cfg(test)]
mod tests;

use http::HeaderMap;

use self::{scanner::Scanner, silent::silent_events};
use crate::{
    ai::tokens::TokenUsage,
    http::headers::{is_compressed, media_type},
    payload::sse::Events,
};

/// Reads the usage out of the bytes of an answer, however they are cut.
#[derive(Debug)]
pub(crate) struct UsageReader {
    scanner: Scanner,
    /// Of a stream, whose events are JSON texts.
    events: Option<Events>,
}

// ===== impl UsageReader =====

impl UsageReader {
    /// A reader for the body that `headers` announce; `None` where it can't be read, as when it is
    /// compressed.
    ///
    /// A body of no type is taken for JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = media_type(headers).unwrap_or(b"application/json");
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let suffix = media_type.last_chunk::<5>();
        let is_events = is("text/event-stream");
        let is_readable = is_events
            || is("application/json")
            // JSON lines are JSON texts one after another.
            || is("application/x-ndjson")
            || is("application/jsonl")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
        (is_readable && !is_compressed(headers)).then(|| Self {
            scanner: Scanner::default(),
            events: is_events.then(Events::new),
        })
    }

    /// The next bytes of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Some(events) = &mut self.events else {
            return self.scanner.feed(bytes);
        };
        let mut rest = bytes;
        let mut is_searched = false;
        while !rest.is_empty() {
            rest = events.skip_feed(rest);
            // Once for the same bytes, however short the events are.
            if events.is_between_events() && !is_searched {
                is_searched = true;
                let silent = silent_events(rest);
                if silent > 0 {
                    events.passed_over();
                    rest = &rest[silent..];
                }
            }
            rest = events.feed_line(rest, &mut self.scanner);
        }
    }

    /// What has been reported so far. An answer that reports more than once counts up, so its last
    /// word is the sum.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        self.scanner.fields.usage()
    }

    /// Whether that is of more than the beginning of an answer: some streams tell their input
    /// first, with an output of one token or none.
    pub(crate) fn is_final(&self) -> bool {
        let has_output = || self.usage().is_some_and(|usage| usage.output > 0);
        self.scanner.is_final && (self.events.is_none() || has_output())
    }
}
