//! Reads the usage that a response reports while its body passes through.
//!
//! Formats are detected by their structure, so the provider need not be known. The body is not
//! buffered, and the size of the reader is constant.

mod fields;
mod scanner;
mod silent;
#[cfg(test)]
mod tests;

use http::HeaderMap;

use self::{scanner::Scanner, silent::silent_events};
use crate::{
    ai::tokens::TokenUsage,
    http::headers::encoding::{is_compressed, media_type},
    payload::sse::Events,
};

/// Incremental reader of the usage in a response body.
#[derive(Debug)]
pub(crate) struct UsageReader {
    scanner: Scanner,
    /// Set for event streams, whose events are JSON texts.
    events: Option<Events>,
}

// ===== impl UsageReader =====

impl UsageReader {
    /// Returns a reader for the body with these headers; `None` if it can't be read, such as a
    /// compressed one.
    ///
    /// A body without a content type is read as JSON.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = media_type(headers).unwrap_or(b"application/json");
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let suffix = media_type.last_chunk::<5>();
        let is_events = is("text/event-stream");
        let is_readable = is_events
            || is("application/json")
            // JSON lines are successive JSON texts.
            || is("application/x-ndjson")
            || is("application/jsonl")
            || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
        (is_readable && !is_compressed(headers)).then(|| Self {
            scanner: Scanner::default(),
            events: is_events.then(Events::default),
        })
    }

    /// Reads the next bytes of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Some(events) = &mut self.events else {
            return self.scanner.feed(bytes);
        };
        let mut rest = bytes;
        let mut is_searched = false;
        while !rest.is_empty() {
            rest = events.skip_feed(rest);
            // Search the same bytes only once, however short the events are.
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

    /// Returns the usage reported so far. A response that reports more than once reports cumulative
    /// counts, so the last report is the sum.
    pub(crate) fn usage(&self) -> Option<TokenUsage> {
        self.scanner.fields.usage()
    }

    /// Returns `true` if the body is an event stream.
    pub(crate) const fn is_stream(&self) -> bool {
        self.events.is_some()
    }

    /// Returns `true` if the usage is final: some streams report their input first, with an output
    /// of at most one token.
    pub(crate) fn is_final(&self) -> bool {
        let has_output = || self.usage().is_some_and(|usage| usage.output > 0);
        self.scanner.is_final && (self.events.is_none() || has_output())
    }
}
