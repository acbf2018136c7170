//! What is looked for in which response.

use std::time::Duration;

use http::{HeaderMap, StatusCode, response::Parts};
use http_body::Body;

use super::stream::{Beginning, Stream, error_alone};
use crate::{
    Outcome, ResponseHead,
    header::{is_compressed, media_type},
    opening::{Bounds, Opening},
    provider::{Diagnosis, REFUSAL},
};

/// As much of the beginning of an answer is read.
const MOST_BYTES: usize = 64 * 1024;
const MOST_FRAMES: usize = 256;

/// What a layer was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) patience: Duration,
    pub(super) json: bool,
}

/// How the body of a response is looked at.
pub(super) enum Watch {
    /// A stream, until it has content or an error.
    Stream(Box<Stream>),
    /// JSON, which is read whole.
    Json { has_begun: bool },
    /// An error response.
    Error,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is changed.
    Pass,
    /// It is an error.
    Late(Diagnosis),
    /// It is the error that it says it is.
    InTime(Diagnosis),
}

// ===== impl Watch =====

impl Watch {
    /// `None` where there is nothing to look for.
    pub(super) fn of<R: ResponseHead>(response: &R, settings: Settings) -> Option<(Self, Bounds)> {
        let headers = response.headers();
        // What a layer further in found out stays.
        if is_compressed(headers) || response.extensions().get::<Outcome>().is_some() {
            return None;
        }
        let status = response.status();
        if is_telling(status) {
            return Some((Self::Error, REFUSAL));
        }
        if !status.is_success() {
            return None;
        }
        let media_type = media_type(headers)?;
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let watch = if is("text/event-stream") {
            Self::Stream(Box::new(Stream::of_events()))
        } else if is("application/x-ndjson") || is("application/json-seq") {
            Self::Stream(Box::new(Stream::of_lines()))
        } else if settings.json && is("application/json") {
            Self::Json { has_begun: false }
        } else {
            return None;
        };
        let bounds = Bounds {
            bytes: MOST_BYTES,
            frames: MOST_FRAMES,
            patience: settings.patience,
        };
        Some((watch, bounds))
    }

    pub(super) const fn is_of_error(&self) -> bool {
        matches!(self, Self::Error)
    }

    /// Looks at another frame. `None` as long as more has to be read.
    pub(super) fn look<B: Body>(
        &mut self,
        opening: &Opening<B>,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        match self {
            Self::Stream(stream) => {
                let is_whole = opening.newest(|bytes| stream.feed(bytes));
                let beginning = stream.beginning();
                // With a hole in it the rest would be misread.
                let is_known = beginning.is_some() || !is_whole;
                is_known.then(|| Verdict::of_answer(beginning, headers))
            }
            Self::Json { has_begun } => {
                let mut is_object = true;
                opening.newest(|bytes| {
                    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
                    if let (Some(first), false) = (first, *has_begun) {
                        *has_begun = true;
                        is_object = *first == b'{';
                    }
                });
                (!is_object).then_some(Verdict::Pass)
            }
            Self::Error => None,
        }
    }

    /// All of the body is there.
    pub(super) fn end<B: Body>(&mut self, opening: &Opening<B>, parts: &Parts) -> Verdict {
        let text = || opening.text();
        match self {
            Self::Stream(_) | Self::Json { .. } if opening.is_cut() => Verdict::Pass,
            Self::Stream(stream) => Verdict::of_answer(stream.end(text), &parts.headers),
            Self::Json { .. } => Verdict::of_answer(error_alone(&text()).as_ref(), &parts.headers),
            Self::Error => Verdict::of_error(parts, &text()),
        }
    }

    /// No more of the body will be read.
    pub(super) fn give_up<B: Body>(&self, opening: &Opening<B>, parts: &Parts) -> Verdict {
        match self {
            Self::Stream(_) | Self::Json { .. } => Verdict::Pass,
            Self::Error => Verdict::of_error(parts, &opening.text()),
        }
    }
}

/// Whether the body of a response with that status may say what the status does not.
fn is_telling(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 402 | 403 | 413 | 422 | 429 | 500..=599
    )
}

// ===== impl Verdict =====

impl Verdict {
    fn of_answer(beginning: Option<&Beginning>, headers: &HeaderMap) -> Self {
        let late = beginning.and_then(|beginning| beginning.late(headers));
        late.map_or(Self::Pass, Self::Late)
    }

    fn of_error(parts: &Parts, text: &[u8]) -> Self {
        Self::InTime(Diagnosis::in_time(parts.status, &parts.headers, text))
    }

    /// Makes the head say so.
    pub(super) fn write(self, parts: &mut Parts) {
        let diagnosis = match self {
            Self::Pass => return,
            Self::Late(late) => {
                #[cfg(feature = "tracing")]
                tracing::debug!(
                    status = late.status.as_u16(),
                    outcome = ?late.outcome,
                    "an answer turned out to be an error"
                );
                parts.status = late.status;
                late
            }
            Self::InTime(error) => {
                #[cfg(feature = "tracing")]
                if error.outcome != Outcome::ClientError {
                    tracing::debug!(
                        status = parts.status.as_u16(),
                        outcome = ?error.outcome,
                        "an error was read"
                    );
                }
                error
            }
        };
        parts.extensions.insert(diagnosis.outcome);
        parts.extensions.insert(diagnosis);
    }
}
