//! Incremental parser of server-sent events.

use std::mem;

use memchr::memchr2;

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Finds the fields and the ends of events. Does not store their bytes.
#[derive(Debug, Default)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SseLine {
    /// The beginning of the first line, in which a byte order mark may come first.
    #[default]
    First,
    Start,
    /// The number of bytes of a field's name and its colon, or of the byte order mark.
    Name(&'static [u8], usize),
    /// The name and its colon; a space may follow.
    Colon(&'static [u8]),
    Value(&'static [u8]),
    /// Another field, or a comment.
    Other,
}

const DATA: &[u8] = b"data:";
const EVENT: &[u8] = b"event:";

// ===== impl Events =====

impl Events {
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
        if bytes.is_empty() || !mem::take(&mut self.after_return) {
            return bytes;
        }
        bytes.strip_prefix(b"\n").unwrap_or(bytes)
    }

    /// Returns `true` if no relevant part of an event has been read yet.
    pub(crate) const fn is_between_events(&self) -> bool {
        !self.begun && matches!(self.line, SseLine::First | SseLine::Start)
    }

    /// Notes that some events were skipped: the next line begins a new event.
    pub(crate) const fn passed_over(&mut self) {
        self.line = SseLine::Start;
    }

    fn part(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        for (at, &byte) in bytes.iter().enumerate() {
            self.line = match self.line {
                SseLine::First if byte == BYTE_ORDER_MARK[0] => SseLine::Name(BYTE_ORDER_MARK, 1),
                SseLine::First | SseLine::Start if byte == DATA[0] => SseLine::Name(DATA, 1),
                SseLine::First | SseLine::Start if byte == EVENT[0] => SseLine::Name(EVENT, 1),
                SseLine::Name(name, seen) if byte == name[seen] => match name {
                    _ if seen + 1 < name.len() => SseLine::Name(name, seen + 1),
                    BYTE_ORDER_MARK => SseLine::Start,
                    _ => {
                        if name == EVENT {
                            sink.rename();
                        }
                        SseLine::Colon(name)
                    }
                },
                SseLine::Colon(name) if byte == b' ' => SseLine::Value(name),
                SseLine::Colon(name) | SseLine::Value(name) => {
                    self.line = SseLine::Value(name);
                    if name == DATA {
                        self.begun = true;
                        sink.data(&bytes[at..]);
                    } else {
                        sink.name(&bytes[at..]);
                    }
                    return;
                }
                _ => {
                    self.line = SseLine::Other;
                    return;
                }
            };
        }
    }

    fn end_line(&mut self, sink: &mut impl Sink) {
        match self.line {
            SseLine::First | SseLine::Start => {
                sink.end();
                self.begun = false;
            }
            SseLine::Colon(DATA) | SseLine::Value(DATA) => sink.data(b"\n"),
            _ => {}
        }
        self.line = SseLine::Start;
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
            let mut events = Events::default();
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
