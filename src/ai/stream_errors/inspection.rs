//! A response of which the beginning is being read.

use std::{
    io,
    task::{Context, Poll, ready},
};

use http::{Response, StatusCode, response::Parts};
use http_body::Body;

use super::{
    ResponseBody, StreamErrorLayer,
    stream::{Format, Stream},
};
use crate::{
    error::{BoxError, Outcome},
    http::{
        headers::{is_compressed, media_type},
        peeked_body::{BodyPeek, ReadLimits, Step},
    },
    payload::{
        error_body::{Diagnosis, ErrorReader, Says},
        sse::Events,
    },
};

pub(super) enum Inspection<B: Body> {
    /// An error response.
    Error(ErrorReader<B>),
    /// One that says that all is well, until it has content or an error.
    Success {
        response: Option<(Parts, BodyPeek<B>)>,
        stream: Stream,
    },
}

// ===== impl Inspection =====

impl<B: Body> Inspection<B> {
    /// Gives the response back if there is nothing to look for.
    pub(super) fn of(response: Response<B>, layer: StreamErrorLayer) -> Result<Self, Response<B>> {
        let headers = response.headers();
        let status = response.status();
        // What a layer further in found out stays.
        if is_compressed(headers) || response.extensions().get::<Outcome>().is_some() {
            return Err(response);
        }
        if is_telling(status) {
            return Ok(Self::Error(ErrorReader::new(response)));
        }
        let media_type = media_type(headers).unwrap_or_default();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let format = if is("text/event-stream") {
            Format::Events(Events::new())
        } else if is("application/x-ndjson") || is("application/json-seq") {
            Format::Lines
        } else if layer.json && is("application/json") {
            Format::Object { has_begun: false }
        } else {
            return Err(response);
        };
        if !status.is_success() || response.body().is_end_stream() {
            return Err(response);
        }
        let (parts, body) = response.into_parts();
        let bounds = ReadLimits {
            bytes: 64 * 1024,
            frames: 256,
            patience: layer.patience,
        };
        Ok(Self::Success {
            response: Some((parts, BodyPeek::new(body, bounds))),
            stream: Stream::new(format),
        })
    }

    /// The response with all of its body, once it is known what it is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<B>>, BoxError>>
    where
        B::Error: Into<BoxError>,
    {
        let response = match self {
            Self::Error(reader) => {
                ready!(reader.poll(cx));
                let read = reader.finish();
                read.map(|(response, diagnosis)| noted(response, diagnosis))
            }
            Self::Success { response, stream } => {
                let is_error = match response {
                    Some((_, opening)) => ready!(poll_error(opening, stream, cx))?,
                    None => false,
                };
                response.take().map(|(parts, opening)| {
                    let response = Response::from_parts(parts, opening.into_body());
                    if !is_error {
                        return response;
                    }
                    let late = Diagnosis::late(stream.error(), response.headers());
                    noted(response, late)
                })
            }
        };
        let Some(response) = response else {
            unreachable!("polled after it was done")
        };
        Poll::Ready(Ok(response))
    }
}

/// Whether a stream begins with an error.
fn poll_error<B: Body>(
    opening: &mut BodyPeek<B>,
    stream: &mut Stream,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, BoxError>>
where
    B::Error: Into<BoxError>,
{
    loop {
        let says = match ready!(opening.poll_step(cx)) {
            Step::Frame => {
                let is_whole = opening.newest(|bytes| stream.feed(bytes));
                match stream.says() {
                    // With a hole in it the rest would be misread.
                    Says::Nothing if !is_whole => Says::Content,
                    Says::Nothing => continue,
                    says => says,
                }
            }
            Step::End if !opening.is_cut() => stream.end(|| opening.text()),
            Step::End | Step::Enough => Says::Content,
            Step::Failed => match opening.take_error() {
                // Nothing of the answer has reached anybody, so it is as if the connection had
                // broken before it: whatever the body's error is, this says so in words that a
                // retry knows.
                Some(error) => {
                    let broken = io::Error::new(io::ErrorKind::UnexpectedEof, error);
                    return Poll::Ready(Err(broken.into()));
                }
                None => Says::Content,
            },
        };
        return Poll::Ready(Ok(says == Says::Error));
    }
}

/// Whether the body of a response with that status may say what the status does not.
fn is_telling(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 402 | 403 | 413 | 422 | 429 | 500..=599
    )
}

/// The response with the status of the error that it is, and a note of that.
fn noted<B>(mut response: Response<B>, diagnosis: Diagnosis) -> Response<B> {
    let Diagnosis {
        status, outcome, ..
    } = diagnosis;
    #[cfg(feature = "tracing")]
    if outcome != Outcome::ClientError || status != response.status() {
        tracing::debug!(status = status.as_u16(), ?outcome, "a response is an error");
    }
    *response.status_mut() = status;
    let extensions = response.extensions_mut();
    extensions.insert(outcome);
    extensions.insert(diagnosis);
    response
}
