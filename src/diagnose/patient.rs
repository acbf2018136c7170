//! A response that is being looked at.

use std::{
    io,
    task::{Context, Poll, ready},
};

use http::{Response, response::Parts};
use http_body::Body;

use super::{
    ResponseBody,
    watch::{Verdict, Watch},
};
use crate::{
    BoxError,
    opening::{Bounds, Opening, Step},
};

pub(super) struct Patient<B: Body> {
    /// The head and what was read, until it was judged.
    response: Option<(Parts, Opening<B>)>,
    watch: Watch,
}

// ===== impl Patient =====

impl<B: Body> Patient<B> {
    pub(super) fn new(parts: Parts, body: B, watch: Watch, bounds: Bounds) -> Self {
        Self {
            response: Some((parts, Opening::new(body, bounds))),
            watch,
        }
    }

    /// The response with all of its body, once it is known what it is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<B>>, BoxError>>
    where
        B::Error: Into<BoxError>,
    {
        let verdict = ready!(self.poll_verdict(cx))?;
        let Some((mut parts, opening)) = self.response.take() else {
            unreachable!("polled after it was done")
        };
        verdict.write(&mut parts);
        let body = ResponseBody::new(opening.into_body());
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }

    fn poll_verdict(&mut self, cx: &mut Context<'_>) -> Poll<Result<Verdict, BoxError>>
    where
        B::Error: Into<BoxError>,
    {
        let Some((parts, opening)) = &mut self.response else {
            return Poll::Ready(Ok(Verdict::Pass));
        };
        loop {
            let step = ready!(opening.poll_step(cx));
            let verdict = match step {
                Step::Frame => self.watch.look(opening, &parts.headers),
                Step::End => Some(self.watch.end(opening, parts)),
                Step::Enough => Some(self.watch.give_up(opening, parts)),
                Step::Failed if self.watch.is_of_error() => {
                    Some(self.watch.give_up(opening, parts))
                }
                Step::Failed => match opening.take_error() {
                    Some(error) => return Poll::Ready(Err(broken(error.into()))),
                    None => Some(Verdict::Pass),
                },
            };
            if let Some(verdict) = verdict {
                return Poll::Ready(Ok(verdict));
            }
        }
    }
}

/// Nothing of the answer has reached anybody, so it is as if the connection had broken before it: whatever the body's error
/// is, this says so in words that a retry knows.
fn broken(error: BoxError) -> BoxError {
    io::Error::new(io::ErrorKind::UnexpectedEof, error).into()
}
