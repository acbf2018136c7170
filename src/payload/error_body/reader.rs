//! Reads the beginning of an error's body before the response is passed on.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body::Body;

use super::kind::Diagnosis;
use crate::{
    error::Outcome,
    http::peeked_body::{BodyPeek, PeekedBody, Step},
};

/// More than any provider sends.
const MAX_BYTES: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// An error response whose body is being read.
pub(crate) struct ErrorReader<B: Body>(Response<BodyPeek<B>>);

/// Returns `true` if the body of a response with this status may say more than the status.
pub(crate) fn says_more(status: StatusCode) -> bool {
    match Outcome::of_status(status) {
        Outcome::Success => false,
        Outcome::ClientError => matches!(status.as_u16(), 400 | 403 | 413 | 422),
        _ => true,
    }
}

/// Returns the diagnosis of an inner layer.
fn known<B>(response: &Response<B>) -> Option<&Diagnosis> {
    let known = response.extensions().get::<Diagnosis>();
    known.filter(|known| known.status == response.status())
}

// ===== impl ErrorReader =====

impl<B: Body> ErrorReader<B> {
    pub(crate) fn new(response: Response<B>) -> Self {
        Self(response.map(|body| BodyPeek::new(body, MAX_BYTES, PATIENCE)))
    }

    /// Ready once enough was read.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_known = known(&self.0).is_some();
        while !is_known && ready!(self.0.body_mut().poll_step(cx)) == Step::Frame {}
        Poll::Ready(())
    }

    /// Returns the unchanged response and the diagnosis of what was read.
    pub(crate) fn finish(self) -> (Response<PeekedBody<B>>, Diagnosis) {
        let Self(response) = self;
        let diagnosis = known(&response).cloned().unwrap_or_else(|| {
            let text = response.body().text();
            Diagnosis::of(response.status(), response.headers(), &text)
        });
        (response.map(BodyPeek::into_body), diagnosis)
    }
}
