//! The response future.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    StreamErrorLayer,
    body::ResponseBody,
    stream::{Event, Format},
};
use crate::{
    error::{BoxError, Outcome, Rejected},
    http::{
        IntoHttp, WithBody,
        headers::encoding::{is_compressed, media_type},
        peeked_body::{BodyPeek, Step},
    },
    payload::{
        error_body::{Diagnosis, ErrorReader, says_more},
        in_band::Says,
        sse::Events,
    },
};

/// A response whose body may have been read in part.
pub type Diagnosed<R> = <R as WithBody<ResponseBody<<R as IntoHttp>::Body>>>::Output;

pin_project! {
    /// Response future of [`StreamErrorService`](super::StreamErrorService).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point. The response is dropped, with what was read of it.
    pub struct ResponseFuture<F, R: IntoHttp> {
        #[pin]
        pub(super) inner: F,
        pub(super) layer: StreamErrorLayer,
        // Set once there is a response to read.
        pub(super) inspection: Option<Box<Inspection<R::Body>>>,
    }
}

/// A response whose beginning is being read.
pub(super) enum Inspection<B: Body> {
    /// An error response.
    Error(ErrorReader<B>),
    /// A successful response that is read until it has content or an error.
    Success(Opening<B>),
}

/// A successful response, and what its beginning says.
pub(super) struct Opening<B: Body> {
    response: Response<BodyPeek<B>>,
    format: Format,
    event: Event,
}

// ===== impl ResponseFuture =====

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<R, E>>,
    R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    E: Into<BoxError>,
    <R::Body as Body>::Error: Into<BoxError>,
{
    type Output = Result<Diagnosed<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(inspection) = this.inspection {
                ready!(inspection.poll(cx))?;
            }
            if let Some(inspection) = this.inspection.take() {
                return Poll::Ready(Ok(R::from_http(inspection.finish())));
            }
            let response = ready!(this.inner.as_mut().poll(cx)).map_err(Into::into)?;
            match Inspection::of(response.into_http(), *this.layer) {
                Ok(inspection) => *this.inspection = Some(Box::new(inspection)),
                Err(response) => {
                    return Poll::Ready(Ok(R::from_http(response.map(Into::into))));
                }
            }
        }
    }
}

crate::macros::debug!(impl<F: std::fmt::Debug, R: IntoHttp> Debug for ResponseFuture<F, R> |self| {
    inner,
    layer,
    ..
});

// ===== impl Inspection =====

impl<B: Body> Inspection<B> {
    /// Returns the response if there is nothing to read.
    fn of(response: Response<B>, layer: StreamErrorLayer) -> Result<Self, Response<B>> {
        let headers = response.headers();
        let status = response.status();
        // The outcome of an inner layer is kept, and a rejection by this crate has none.
        let extensions = response.extensions();
        let is_known =
            extensions.get::<Outcome>().is_some() || extensions.get::<Rejected>().is_some();
        if is_known || is_compressed(headers) {
            return Err(response);
        }
        if says_more(status) {
            return Ok(Self::Error(ErrorReader::new(response)));
        }
        let media_type = media_type(headers).unwrap_or_default();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let format = if is("text/event-stream") {
            Format::Events(Events::default())
        } else if is("application/x-ndjson") || is("application/json-seq") {
            Format::Lines
        } else if layer.json && is("application/json") {
            Format::Object
        } else {
            return Err(response);
        };
        if !status.is_success() || response.body().is_end_stream() {
            return Err(response);
        }
        let peek = |body| BodyPeek::new(body, 64 * 1024, layer.patience);
        Ok(Self::Success(Opening {
            response: response.map(peek),
            format,
            event: Event::default(),
        }))
    }

    /// Ready once the outcome is known. Returns an error if the body has one before any content.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
    where
        B::Error: Into<BoxError>,
    {
        match self {
            Self::Error(reader) => reader.poll(cx).map(Ok),
            Self::Success(opening) => opening.poll(cx),
        }
    }

    /// Returns the response with its whole body.
    fn finish(self) -> Response<ResponseBody<B>> {
        let (response, diagnosis) = match self {
            Self::Error(reader) => reader.finish(),
            Self::Success(opening) => {
                let response = opening.response.map(BodyPeek::into_body);
                if opening.event.says != Says::Error {
                    return response;
                }
                let diagnosis = Diagnosis::of(None, response.headers(), &opening.event.data);
                (response, diagnosis)
            }
        };
        noted(response, diagnosis)
    }
}

// ===== impl Opening =====

impl<B: Body> Opening<B> {
    /// Reads up to the first event that says anything, the end, or a limit.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>
    where
        B::Error: Into<BoxError>,
    {
        let (body, event) = (self.response.body_mut(), &mut self.event);
        loop {
            match ready!(body.poll_step(cx)) {
                Step::Frame => {
                    let is_whole = body.newest(|bytes| self.format.feed(bytes, event));
                    // If bytes are missing, the rest would be misread.
                    if event.says == Says::Nothing && is_whole {
                        continue;
                    }
                }
                Step::End if !body.is_cut() => event.end_stream(|| body.text()),
                Step::End | Step::Enough => {}
                Step::Failed => {
                    // The client has not received any part of the response, so this is equivalent
                    // to a connection error before the response. The error kind tells a retry so,
                    // whatever the type of the body's error.
                    if let Some(error) = body.take_error() {
                        let broken = io::Error::new(io::ErrorKind::UnexpectedEof, error);
                        return Poll::Ready(Err(broken.into()));
                    }
                }
            }
            return Poll::Ready(Ok(()));
        }
    }
}

/// Returns the response with the status of its error and the diagnosis as an extension.
fn noted<B>(mut response: Response<B>, diagnosis: Diagnosis) -> Response<B> {
    let (status, outcome) = (diagnosis.status, diagnosis.outcome);
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
    if let Some(hint) = diagnosis.hint() {
        extensions.insert(hint);
    }
    extensions.insert(outcome);
    extensions.insert(diagnosis);
    response
}
