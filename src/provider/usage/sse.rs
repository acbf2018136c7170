//! The usage in a stream of server-sent events.
//!
//! Nearly all events say nothing of usage. Where a whole event is at hand, a search for the name tells that, and costs
//! a fraction of what reading it would. Events that are cut are read as they come.

use std::sync::LazyLock;

use memchr::{memmem::Finder, memrchr_iter};

use super::json::Json;
use crate::{
    TokenUsage,
    events::{Events, Sink},
};

/// What each name starts with that usage can be found under at the top, and in a wrapper.
const NAME: &[u8] = b"\"usage";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

/// Reads the data of events, each event a JSON text.
#[derive(Debug)]
pub(super) struct Sse {
    json: Json,
    events: Events,
}

// ===== impl Sse =====

impl Sse {
    pub(super) fn new() -> Self {
        Self {
            json: Json::new(),
            events: Events::new(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // No byte is searched twice, however short the events are.
        let mut unsearched = bytes.len();
        while !rest.is_empty() {
            rest = self.events.skip_feed(rest);
            if self.events.is_between_events() && rest.len() <= unsearched {
                let silent = find_usage(rest).unwrap_or(rest.len());
                unsearched = (rest.len() - silent).saturating_sub(1);
                let end = last_event_end(&rest[..silent]);
                if end > 0 {
                    self.events.passed_over();
                    rest = &rest[end..];
                    continue;
                }
            }
            rest = self.events.feed_line(rest, &mut self.json);
        }
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.json.usage()
    }

    /// The first event of some streams tells the input and no output, as if that were all.
    pub(super) fn is_final(&self) -> bool {
        self.json.is_final() && self.usage().is_some_and(|usage| usage.output > 0)
    }
}

/// Each event is another text.
impl Sink for Json {
    fn data(&mut self, bytes: &[u8]) {
        self.feed(bytes);
    }

    fn end(&mut self) {
        self.reset();
    }
}

/// Where usage may be told for the first time; that there is none yet, as most say, is not to tell it.
fn find_usage(bytes: &[u8]) -> Option<usize> {
    let mut found = FINDER.find_iter(bytes);
    found.find(|at| {
        let after = &bytes[at + NAME.len()..];
        !after.starts_with(b"\":null") && !after.starts_with(b"\": null")
    })
}

/// Where the last event ends that is whole: behind an empty line. One that ends in a carriage return is not found.
fn last_event_end(bytes: &[u8]) -> usize {
    let mut feeds = memrchr_iter(b'\n', bytes);
    let end = feeds.find(|at| bytes[..*at].ends_with(b"\n") || bytes[..*at].ends_with(b"\n\r"));
    end.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_events_are_told_from_what_follows() {
        let table: &[(&str, usize)] = &[
            ("", 0),
            ("\n", 0),
            ("a\n", 0),
            ("a\nb\n", 0),
            ("a\r\n", 0),
            ("a\r\nb", 0),
            ("a\n\n", 3),
            ("a\n\nb", 3),
            ("a\n\nb\n", 3),
            ("a\n\nb\n\n", 6),
            ("a\r\n\r\n", 5),
            ("a\r\n\r\nb\r\n", 5),
            ("a\n\r\nb", 4),
            ("a\r\n\nb", 4),
        ];
        for (bytes, expected) in table {
            assert_eq!(last_event_end(bytes.as_bytes()), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn no_usage_yet_is_not_found() {
        let table: &[(&str, Option<usize>)] = &[
            ("", None),
            ("usage", None),
            ("\"usag", None),
            ("{\"usage\":null}", None),
            ("{\"usage\": null}", None),
            ("{\"usage\":null,\"usage\":{}}", Some(14)),
            ("{\"usage\":nul", Some(1)),
            ("{\"usage\" :null}", Some(1)),
            ("{\"usageMetadata\":null}", Some(1)),
            ("{\"usage\":{}}", Some(1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(find_usage(bytes.as_bytes()), *expected, "{bytes:?}");
        }
    }
}
