//! Finds an error at the end of a stream that has begun well.

use http::HeaderMap;
use memchr::{memmem, memrchr};

use crate::payload::{
    error_body::Diagnosis,
    in_band::{Says, says},
    json::Json,
};

/// More than twice as many bytes as any error has.
const MOST: usize = 32 * 1024;

/// The last events of a stream, from one on that may be an error, or its unfinished line.
#[derive(Debug, Default)]
pub(super) struct StreamEnd {
    text: Vec<u8>,
}

// ===== impl StreamEnd =====

impl StreamEnd {
    /// Reads the next bytes. No whole line is kept of a stream in which the word is not found.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        if self.text.is_empty() {
            bytes = &bytes[unused(bytes)..];
        }
        if bytes.is_empty() {
            // Nearly always: nothing is kept of whole events.
            return;
        }
        self.text
            .extend_from_slice(&bytes[bytes.len().saturating_sub(MOST / 2)..]);
        self.text.drain(..unused(&self.text));
        // Rarely, and half of it at once.
        if self.text.len() > MOST {
            self.text.drain(..self.text.len() - MOST / 2);
        }
    }

    /// Returns the error with which the stream ended.
    pub(super) fn error(&self) -> Option<Diagnosis> {
        let text = String::from_utf8_lossy(&self.text);
        let mut lines = text.lines().rev();
        // Others than the last event, and `[DONE]`, were not the end.
        let data = lines.find_map(|line| {
            let data = line.strip_prefix("data:")?.trim();
            data.starts_with('{').then_some(data)
        })?;
        let is_named = lines
            .next()
            .is_some_and(|line| line.replace(' ', "") == "event:error");
        let is_error = says(Json::lenient(data), is_named) == Says::Error;
        is_error.then(|| Diagnosis::of(None, &HeaderMap::new(), data.as_bytes()))
    }
}

/// Returns how many bytes are not kept: all lines that have ended, unless the word is in the text.
fn unused(text: &[u8]) -> usize {
    match memmem::find(text, b"error") {
        Some(_) => 0,
        None => memrchr(b'\n', text).map_or(0, |end| end + 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Outcome;

    const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"an error\"}}]}\n\n";
    const LIMIT: &str = "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\
                         \"Rate limit reached. Please try again in 20s.\"}}\n\n";
    const OVERLOADED: &str =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";

    fn end(chunks: &[&str]) -> Option<(Outcome, Option<Duration>)> {
        let mut end = StreamEnd::default();
        for chunk in chunks {
            end.feed(chunk.as_bytes());
        }
        let error = end.error()?;
        let wait = error.limit.and_then(|limit| limit.retry_after);
        Some((error.outcome, wait))
    }

    #[test]
    fn errors_at_the_end() {
        let limit = Some((Outcome::RateLimited, Some(Duration::from_secs(20))));
        let overloaded = Some((Outcome::Overloaded, None));
        for (chunks, expected) in [
            (&[CONTENT][..], None),
            (&[CONTENT, LIMIT], limit),
            (&[CONTENT, LIMIT, "data: [DONE]\n\n"], limit),
            (&[CONTENT, &LIMIT[..20], &LIMIT[20..]], limit),
            (&[CONTENT, OVERLOADED], overloaded),
            (&[&OVERLOADED.replace('\n', "\r\n")], overloaded),
            (&[LIMIT, CONTENT], None),
            (&["data: [DONE]\n\n"], None),
            (&["error"], None),
            (&["data: {\"error\": null}\n\n"], None),
        ] {
            assert_eq!(end(chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn errors_may_be_split_anywhere() {
        let limit = Some((Outcome::RateLimited, Some(Duration::from_secs(20))));
        let overloaded = Some((Outcome::Overloaded, None));
        for content in ["data: {\"a\":1}\n\n", CONTENT] {
            for (error, expected) in [(LIMIT, limit), (OVERLOADED, overloaded)] {
                for at in 1..error.len() {
                    let chunks = [content, &error[..at], &error[at..]];
                    assert_eq!(end(&chunks), expected, "{at}");
                }
            }
        }
        // However much there was before it.
        for times in 0..MOST / CONTENT.len() + 2 {
            let before = CONTENT.repeat(times);
            assert_eq!(
                end(&[&before, &LIMIT[..30], &LIMIT[30..]]),
                limit,
                "{times}"
            );
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut end = StreamEnd::default();
        for _ in 0..1_000 {
            end.feed(CONTENT.as_bytes());
            assert!(end.text.len() <= MOST);
        }
        end.feed(&CONTENT.as_bytes().repeat(1_000));
        assert!(end.text.len() <= MOST);
        end.feed(LIMIT.as_bytes());
        assert_eq!(end.error().unwrap().outcome, Outcome::RateLimited);
    }
}
