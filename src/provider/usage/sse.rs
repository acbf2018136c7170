//! The usage in a stream of server-sent events.
//!
//! Nearly all events say nothing of usage. Where a whole event is at hand, a search for the name tells that, and costs
//! a fraction of what reading it would. Events that are cut are read as they come.

use std::{mem, sync::LazyLock};

use memchr::{memchr2, memmem::Finder, memrchr_iter};

use super::json::Json;
use crate::TokenUsage;

/// What each name starts with that usage can be found under at the top, and in a wrapper.
const NAME: &[u8] = b"\"usage";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

const FIELD: &[u8; 5] = b"data:";
const BYTE_ORDER_MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// Reads the data of events, each event a JSON text.
#[derive(Debug)]
pub(super) struct Sse {
    json: Json,
    line: Line,
    /// The event at hand has had data.
    begun: bool,
    /// The last line ended in a carriage return: a line feed that comes next is of the same end.
    after_return: bool,
}

/// How far the line at hand has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of the byte order mark; in the first line only.
    Mark(usize),
    /// So many bytes of the field's name.
    Name(usize),
    /// The name and its colon; a space may follow.
    Colon,
    Data,
    /// No data: another field, or a comment.
    Other,
}

// ===== impl Sse =====

impl Sse {
    pub(super) fn new() -> Self {
        Self {
            json: Json::new(),
            line: Line::Mark(0),
            begun: false,
            after_return: false,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // No byte is searched twice, however short the events are.
        let mut unsearched = bytes.len();
        while !rest.is_empty() {
            if mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            if self.is_between_events() && rest.len() <= unsearched {
                let silent = find_usage(rest).unwrap_or(rest.len());
                unsearched = (rest.len() - silent).saturating_sub(1);
                let end = last_event_end(&rest[..silent]);
                if end > 0 {
                    self.line = Line::Name(0);
                    rest = &rest[end..];
                    continue;
                }
            }
            rest = self.line(rest);
        }
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.json.usage()
    }

    /// The first event of some streams tells the input and no output, as if that were all.
    pub(super) fn is_final(&self) -> bool {
        self.json.is_final() && self.usage().is_some_and(|usage| usage.output > 0)
    }

    fn is_between_events(&self) -> bool {
        !self.begun && matches!(self.line, Line::Mark(0) | Line::Name(0))
    }

    /// Reads to the end of the line, or all there is of it.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr2(b'\n', b'\r', bytes) else {
            self.part(bytes);
            return &[];
        };
        self.part(&bytes[..end]);
        self.end_line();
        self.after_return = bytes[end] == b'\r';
        &bytes[end + 1..]
    }

    fn part(&mut self, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.line == Line::Mark(0) && byte != BYTE_ORDER_MARK[0] {
                self.line = Line::Name(0);
            }
            self.line = match self.line {
                Line::Mark(2) if byte == BYTE_ORDER_MARK[2] => Line::Name(0),
                Line::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => Line::Mark(seen + 1),
                Line::Name(4) if byte == FIELD[4] => Line::Colon,
                Line::Name(seen) if byte == FIELD[seen] => Line::Name(seen + 1),
                Line::Colon if byte == b' ' => Line::Data,
                Line::Colon | Line::Data => {
                    self.begun = true;
                    self.json.feed(&bytes[at..]);
                    self.line = Line::Data;
                    return;
                }
                Line::Mark(_) | Line::Name(_) | Line::Other => {
                    self.line = Line::Other;
                    return;
                }
            };
        }
    }

    fn end_line(&mut self) {
        match self.line {
            Line::Mark(0) | Line::Name(0) => {
                self.json.reset();
                self.begun = false;
            }
            // Data of more than one line is joined by line feeds.
            Line::Colon | Line::Data => self.json.feed(b"\n"),
            Line::Mark(_) | Line::Name(_) | Line::Other => {}
        }
        self.line = Line::Name(0);
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
