//! A response whose beginning is being read.

use std::{
    io,
    task::{Context, Poll, ready},
};

use http::{Response, response::Parts};
use http_body::Body;

use super::{
    StreamErrorLayer,
    body::ResponseBody,
    stream::{Format, Stream},
};
use crate::{
    error::{BoxError, Outcome, Rejected},
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
    /// A successful response that is read until it has content or an error.
    Success {
        response: Option<(Parts, BodyPeek<B>)>,
        stream: Stream,
    },
}

// ===== impl Inspection =====

impl<B: Body> Inspection<B> {
    /// Returns the response if there is nothing to read.
    pub(super) fn of(response: Response<B>, layer: StreamErrorLayer) -> Result<Self, Response<B>> {
        let headers = response.headers();
        let status = response.status();
        // The outcome of an inner layer is kept, and a rejection by this crate has none.
        let extensions = response.extensions();
        let is_known =
            extensions.get::<Outcome>().is_some() || extensions.get::<Rejected>().is_some();
        if is_known || is_compressed(headers) {
            return Err(response);
        }
        if ErrorReader::<B>::is_of_use(status) {
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

    /// Returns the response with its whole body, once its outcome is known.
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

/// Returns whether a stream begins with an error.
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
                    // If bytes are missing, the rest would be misread.
                    Says::Nothing if !is_whole => Says::Content,
                    Says::Nothing => continue,
                    says => says,
                }
            }
            Step::End if !opening.is_cut() => stream.end(|| opening.text()),
            Step::End | Step::Enough => Says::Content,
            Step::Failed => match opening.take_error() {
                // The client has not received any part of the response, so this is equivalent to a
                // connection error before the response. The error kind tells a retry so, whatever
                // the type of the body's error.
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

/// Returns the response with the status of its error and the diagnosis as an extension.
fn noted<B>(mut response: Response<B>, diagnosis: Diagnosis) -> Response<B> {
    let Diagnosis {
        status, outcome, ..
    } = diagnosis;
    let hint = diagnosis.hint();
    if outcome != Outcome::ClientError || status != response.status() {
        crate::telemetry::count!(STREAM_ERRORS, "outcome" => outcome.as_str());
        crate::macros::event!(
            target: "tower_throttle::stream_errors",
            status = status.as_u16(),
            ?outcome,
            "detected an error response"
        );
    }
    *response.status_mut() = status;
    let extensions = response.extensions_mut();
    extensions.insert(outcome);
    extensions.insert(diagnosis);
    if let Some(hint) = hint {
        extensions.insert(hint);
    }
    response
}
