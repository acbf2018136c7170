//! Incremental parser of server-sent events.

use std::mem;

use memchr::memchr2;

pub(crate) const BYTE_ORDER_MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// Finds the fields and the ends of events. Does not store their bytes.
#[derive(Debug)]
pub(crate) struct Events {
    line: SseLine,
    /// The current event has had data.
    begun: bool,
    /// The last line ended in a carriage return; a line feed that follows is part of the same line
    /// end.
    after_return: bool,
}

/// Receives the contents of events.
pub(crate) trait Sink {
    /// Receives more data of the event. Its lines are joined and terminated by line feeds.
    fn data(&mut self, bytes: &[u8]);

    /// Called before a new name, which replaces the previous one.
    fn rename(&mut self) {}

    /// Receives more of the event's name.
    fn name(&mut self, _bytes: &[u8]) {}

    /// Called at the end of an event, with or without data.
    fn end(&mut self);
}

/// The state within the current line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SseLine {
    /// The number of bytes of the byte order mark; in the first line only.
    Mark(usize),
    Start,
    /// The number of bytes of the field's name and its colon.
    Name(SseField, usize),
    /// The name and its colon; a space may follow.
    Colon(SseField),
    Value(SseField),
    /// Another field, or a comment.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SseField {
    Data,
    Event,
}

// ===== impl Events =====

impl Events {
    pub(crate) const fn new() -> Self {
        Self {
            line: SseLine::Mark(0),
            begun: false,
            after_return: false,
        }
    }

    /// Reads up to the end of the line or of the bytes, and returns the rest.
    pub(crate) fn feed_line<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let bytes = self.skip_feed(bytes);
        let Some(end) = memchr2(b'\n', b'\r', bytes) else {
            self.part(bytes, sink);
            return &[];
        };
        self.part(&bytes[..end], sink);
        self.end_line(sink);
        self.after_return = bytes[end] == b'\r';
        &bytes[end + 1..]
    }

    /// Returns `bytes` without the second half of a line end.
    pub(crate) fn skip_feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes {
            [b'\n', rest @ ..] if mem::take(&mut self.after_return) => rest,
            [] => bytes,
            _ => {
                self.after_return = false;
                bytes
            }
        }
    }

    /// Returns `true` if no relevant part of an event has been read yet.
    #[cfg(feature = "provider")]
    pub(crate) const fn is_between_events(&self) -> bool {
        !self.begun && matches!(self.line, SseLine::Mark(0) | SseLine::Start)
    }

    /// Notes that some events were skipped: the next line begins a new event.
    #[cfg(feature = "provider")]
    pub(crate) const fn passed_over(&mut self) {
        self.line = SseLine::Start;
    }

    fn part(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.line == SseLine::Mark(0) && byte != BYTE_ORDER_MARK[0] {
                self.line = SseLine::Start;
            }
            self.line = match self.line {
                SseLine::Mark(2) if byte == BYTE_ORDER_MARK[2] => SseLine::Start,
                SseLine::Mark(seen) if byte == BYTE_ORDER_MARK[seen] => SseLine::Mark(seen + 1),
                SseLine::Start if byte == SseField::Data.name()[0] => {
                    SseLine::Name(SseField::Data, 1)
                }
                SseLine::Start if byte == SseField::Event.name()[0] => {
                    SseLine::Name(SseField::Event, 1)
                }
                SseLine::Name(field, seen) if byte == field.name()[seen] => {
                    if seen + 1 < field.name().len() {
                        SseLine::Name(field, seen + 1)
                    } else {
                        if field == SseField::Event {
                            sink.rename();
                        }
                        SseLine::Colon(field)
                    }
                }
                SseLine::Colon(field) if byte == b' ' => SseLine::Value(field),
                SseLine::Colon(field) | SseLine::Value(field) => {
                    self.line = SseLine::Value(field);
                    match field {
                        SseField::Data => {
                            self.begun = true;
                            sink.data(&bytes[at..]);
                        }
                        SseField::Event => sink.name(&bytes[at..]),
                    }
                    return;
                }
                SseLine::Mark(_) | SseLine::Start | SseLine::Name(..) | SseLine::Other => {
                    self.line = SseLine::Other;
                    return;
                }
            };
        }
    }

    fn end_line(&mut self, sink: &mut impl Sink) {
        match self.line {
            SseLine::Mark(0) | SseLine::Start => {
                sink.end();
                self.begun = false;
            }
            SseLine::Colon(SseField::Data) | SseLine::Value(SseField::Data) => sink.data(b"\n"),
            SseLine::Mark(_)
            | SseLine::Name(..)
            | SseLine::Colon(_)
            | SseLine::Value(_)
            | SseLine::Other => {}
        }
        self.line = SseLine::Start;
    }
}

// ===== impl SseField =====

impl SseField {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Data => b"data:",
            Self::Event => b"event:",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Taken(Vec<(String, String)>, String, String);

    impl Sink for Taken {
        fn data(&mut self, bytes: &[u8]) {
            self.2.push_str(std::str::from_utf8(bytes).unwrap());
        }

        fn rename(&mut self) {
            self.1.clear();
        }

        fn name(&mut self, bytes: &[u8]) {
            self.1.push_str(std::str::from_utf8(bytes).unwrap());
        }

        fn end(&mut self) {
            self.0
                .push((mem::take(&mut self.1), mem::take(&mut self.2)));
        }
    }

    #[test]
    fn names_and_data_in_any_pieces() {
        let stream = "\u{feff}event: a\r\ndata: 1\r\ndata:2\r\n\r\nevent: x\nevent: y\ndata: \
            3\n\n: no\n\ndata\nid: 3\nevent:b\nevents: c\ndata:  4\n\ndatum: 5\revent: \
            d\r\rdata: 6";
        let expected = [
            ("a", "1\n2\n"),
            ("y", "3\n"),
            ("", ""),
            ("b", " 4\n"),
            ("d", ""),
        ];
        for size in 1..stream.len() {
            let mut taken = Taken::default();
            let mut events = Events::new();
            for piece in stream.as_bytes().chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    rest = events.feed_line(rest, &mut taken);
                }
            }
            let got: Vec<_> = taken
                .0
                .iter()
                .map(|(name, data)| (&**name, &**data))
                .collect();
            assert_eq!(got, expected, "{size}");
            assert_eq!(taken.2, "6");
        }
    }
}
