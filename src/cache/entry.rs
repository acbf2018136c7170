//! An answer that is kept.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::Frame;

use super::{
    head::{Head, size_of_headers},
    key::Key,
};

/// What an entry costs beside what is in it: the cache's own book-keeping, and allocations.
const OVERHEAD: usize = 512;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Arc<Head>,
    pub(super) body: Body,
}

/// A body of which everything is there.
#[derive(Debug)]
pub(super) struct Body {
    data: Bytes,
    /// Where each frame of data ends.
    ends: Box<[usize]>,
    trailers: Option<HeaderMap>,
}

// ===== impl Entry =====

impl Entry {
    /// `None` where the body is not what its head says, or says that something went wrong.
    pub(super) fn new(head: Arc<Head>, body: Body) -> Option<Self> {
        let is_as_long = head
            .length
            .is_none_or(|length| length == body.data.len() as u64);
        let is_sound = is_as_long && !body.tells_an_error(is_event_stream(head.headers()));
        is_sound.then_some(Self { head, body })
    }

    /// In bytes.
    pub(super) fn weight(&self) -> u32 {
        let size = OVERHEAD + size_of::<Key>() + self.head.size() + self.body.size();
        u32::try_from(size).unwrap_or(u32::MAX)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let start = value.as_bytes().get(..EVENTS.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
    })
}

// ===== impl Body =====

impl Body {
    pub(super) fn new<'a>(
        frames: impl Iterator<Item = &'a Bytes> + Clone,
        trailers: Option<HeaderMap>,
    ) -> Self {
        let length = frames.clone().map(Bytes::len).sum();
        let mut data = BytesMut::with_capacity(length);
        let mut ends = Vec::new();
        for frame in frames {
            data.extend_from_slice(frame);
            ends.push(data.len());
        }
        Self {
            data: data.freeze(),
            ends: ends.into(),
            trailers,
        }
    }

    /// The frame `at`, as it came.
    pub(super) fn frame(&self, at: usize) -> Option<Frame<Bytes>> {
        match self.ends.get(at) {
            Some(end) => Some(Frame::data(self.data.slice(self.start(at)..*end))),
            None if at == self.ends.len() => self.trailers.clone().map(Frame::trailers),
            None => None,
        }
    }

    pub(super) const fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// How many frames there are.
    pub(super) fn frames(&self) -> usize {
        self.ends.len() + usize::from(self.trailers.is_some())
    }

    /// How many bytes come from the frame `at` on.
    pub(super) fn data_from(&self, at: usize) -> u64 {
        (self.data.len() - self.start(at)) as u64
    }

    fn start(&self, at: usize) -> usize {
        let before = at.min(self.ends.len()).checked_sub(1);
        before.map_or(0, |before| self.ends[before])
    }

    fn size(&self) -> usize {
        let trailers = self.trailers.as_ref().map_or(0, size_of_headers);
        self.data.len() + size_of_val(&*self.ends) + trailers
    }

    /// Whether an error was told under a status that says that all is well.
    fn tells_an_error(&self, is_event_stream: bool) -> bool {
        if !is_event_stream {
            return is_error(&self.data);
        }
        let is_cut = !self.data.is_empty()
            && !self.data.ends_with(b"\n")
            && !self.data.ends_with(b"\r")
            && !self.data.ends_with(b"[DONE]");
        let mut lines = self.data.split(|byte| matches!(byte, b'\n' | b'\r'));
        is_cut || lines.any(is_error_line)
    }
}

/// A line of a stream of events that says that the answer broke off.
fn is_error_line(line: &[u8]) -> bool {
    if let Some(event) = line.strip_prefix(b"event:") {
        return event.trim_ascii() == b"error" || event.trim_ascii() == b"response.failed";
    }
    line.strip_prefix(b"data:").is_some_and(is_error)
}

/// Whether a JSON text begins as errors do.
fn is_error(json: &[u8]) -> bool {
    let mut rest = json;
    let mut take = |token: &[u8]| {
        rest = rest.trim_ascii_start();
        let after = rest.strip_prefix(token);
        rest = after.unwrap_or(rest);
        after.is_some()
    };
    if !take(b"{") {
        return false;
    }
    if take(b"\"error\"") {
        return take(b":") && !take(b"null");
    }
    take(b"\"type\"") && take(b":") && take(b"\"error\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(data: &'static str) -> Body {
        Body::new([Bytes::from_static(data.as_bytes())].iter(), None)
    }

    #[test]
    fn an_error_under_a_good_status_is_found() {
        for (data, expected) in [
            ("", false),
            ("{}", false),
            (r#"{"error": {"message": "x"}}"#, true),
            (" {\n \"error\" : \"x\"}", true),
            (r#"{"error": null, "id": 1}"#, false),
            (r#"{"type":"error","error":{}}"#, true),
            (r#"{"type":"message"}"#, false),
            (r#"{"text": "{\"error\": 1}"}"#, false),
            (r#"["error"]"#, false),
        ] {
            assert_eq!(body(data).tells_an_error(false), expected, "{data}");
        }
    }

    #[test]
    fn an_error_in_a_stream_of_events_is_found_and_so_is_a_cut() {
        for (data, expected) in [
            ("", false),
            ("data: {\"a\":1}\n\ndata: [DONE]\n\n", false),
            ("data: [DONE]", false),
            ("data: {\"a\":1}\n\ndata: {\"a", true),
            ("data: {\"a\":1}\n\ndata: {\"error\":{}}\n\n", true),
            ("event: error\ndata: {}\n\n", true),
            ("event:error\r\ndata:{}\r\n\r\n", true),
            ("event: message\rdata: {\"type\":\"error\"}\r\r", true),
            ("data: the error\n\n", false),
            ("event: errors\ndata: 1\n\n", false),
        ] {
            assert_eq!(body(data).tells_an_error(true), expected, "{data:?}");
        }
    }

    #[test]
    fn frames_come_back_as_they_were() {
        let frames = ["ab", "", "cde"].map(|frame| Bytes::from_static(frame.as_bytes()));
        let mut trailers = HeaderMap::new();
        trailers.insert("a", http::HeaderValue::from_static("b"));
        let body = Body::new(frames.iter(), Some(trailers.clone()));
        assert_eq!(body.frames(), 4);
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!(body.frame(at).unwrap().into_data().unwrap(), frame);
        }
        assert_eq!(body.frame(3).unwrap().into_trailers().unwrap(), trailers);
        assert!(body.frame(4).is_none());
        let left: Vec<_> = (0..6).map(|at| body.data_from(at)).collect();
        assert_eq!(left, [5, 3, 3, 0, 0, 0]);
    }
}
