//! Finds an error at the end of a stream that has begun well.

use http::HeaderMap;
use memchr::{memmem, memrchr};

use crate::payload::{
    error_body::{Diagnosis, Says, says},
    json::Json,
};

/// More than any error has.
const MOST: usize = 16 * 1024;

/// The last events of a stream, from one on that may be an error, or its unfinished line.
#[derive(Debug, Default)]
pub(super) struct StreamEnd {
    text: Vec<u8>,
}

// ===== impl StreamEnd =====

impl StreamEnd {
    /// Reads the next bytes. No whole line is kept of a stream in which the word is not found.
    #[inline]
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        if self.text.is_empty() && !has_error(bytes) {
            bytes = &bytes[last_line(bytes)..];
        }
        let bytes = &bytes[bytes.len().saturating_sub(MOST)..];
        if bytes.is_empty() {
            return;
        }
        if self.text.len() + bytes.len() > MOST {
            self.text.drain(..last_line(&self.text));
        }
        if self.text.len() + bytes.len() > MOST {
            self.text.clear();
        }
        self.text.extend_from_slice(bytes);
        if !has_error(&self.text) {
            self.text.drain(..last_line(&self.text));
        }
    }

    /// Returns the error with which the stream ended.
    pub(super) fn error(&self) -> Option<Diagnosis> {
        if self.text.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&self.text);
        let lines: Vec<_> = text.lines().collect();
        let data = |number: &usize| {
            let data = data(lines[*number])?;
            data.starts_with('{').then(|| Json::lenient(data))
        };
        // Others than the last event, and `[DONE]`, were not the end.
        let mut numbers = (0..lines.len()).rev();
        let last = numbers.find(|number| data(number).is_some())?;
        let is_named = last > 0 && lines[last - 1].replace(' ', "") == "event:error";
        match says(data(&last)?, is_named) {
            Says::Error => {
                let error = lines[last].strip_prefix("data:")?;
                Some(Diagnosis::late(error.as_bytes(), &HeaderMap::new()))
            }
            _ => None,
        }
    }
}

fn has_error(text: &[u8]) -> bool {
    memmem::find(text, b"error").is_some()
}

/// Returns where the last line begins, which has not ended yet.
fn last_line(text: &[u8]) -> usize {
    memrchr(b'\n', text).map_or(0, |end| end + 1)
}

fn data(line: &str) -> Option<&str> {
    line.strip_prefix("data:").map(str::trim)
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
