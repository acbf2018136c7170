use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{
    Entered, enter,
    flight::{CloseReason, Reader},
    lead::Lead,
};
use crate::{
    cache::{
        body::{ResponseBody, Source},
        head::CachedHead,
        policy::Lookup,
        status::Status,
    },
    sync::Ordering,
};

/// If the leading request is woken and not polled for this long, or up to twice as long, another
/// request leads: the client of the leading request may wait for this follower.
const STALL: Duration = Duration::from_secs(1);

/// A request that waits for the response to an equal one.
pub(in crate::cache) struct Follower<S, Request> {
    service: S,
    request: Option<Request>,
    lookup: Lookup,
    /// `None` once it has responded or is called.
    stage: Option<Entered>,
    stall: Pin<Box<Sleep>>,
    /// It has waited for a request that failed or went away, and calls after the next one.
    has_failed: bool,
}

pub(in crate::cache) enum Followed<F> {
    Response(http::Response<ResponseBody>),
    Called(F, Lead),
}

// ===== impl Follower =====

impl<S, Request> Follower<S, Request> {
    pub(in crate::cache) fn new(
        (service, request): (S, Request),
        lookup: Lookup,
        reader: Reader,
    ) -> Self {
        crate::macros::event!(
            target: "tower_throttle::cache",
            "waiting for the response to an equal request"
        );
        Self {
            service,
            request: Some(request),
            lookup,
            stage: Some(Entered::Follow(reader)),
            stall: Box::pin(sleep(STALL)),
            has_failed: false,
        }
    }

    fn poll_head(
        &mut self,
        reader: &Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Arc<CachedHead>, CloseReason>> {
        loop {
            if let Poll::Ready(head) = reader.poll_head(cx) {
                return Poll::Ready(head);
            }
            ready!(self.stall.as_mut().poll(cx));
            self.stall.as_mut().reset(Instant::now() + STALL);
            if reader.flight.is_overdue(STALL) {
                reader.flight.close(CloseReason::Failed);
            }
        }
    }
}

impl<S: Service<Request>, Request> Follower<S, Request> {
    pub(in crate::cache) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Followed<S::Future>, S::Error>> {
        loop {
            self.stage = Some(match self.stage.take() {
                // ## Follow => (Follow | Lead | Hit | done)
                Some(Entered::Follow(reader)) => match self.poll_head(&reader, cx) {
                    Poll::Pending => {
                        self.stage = Some(Entered::Follow(reader));
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(head)) if head.was_young(self.lookup.max_age) => {
                        let collapsed = &self.lookup.store.collapsed;
                        collapsed.fetch_add(1, Ordering::Relaxed);
                        let body = ResponseBody::of(Source::Shared(reader), head.length);
                        let response =
                            Status::Collapsed.mark(head.respond(body), "fwd=miss; collapsed");
                        return Poll::Ready(Ok(Followed::Response(response)));
                    }
                    Poll::Ready(Err(CloseReason::Failed))
                        if !mem::replace(&mut self.has_failed, true) =>
                    {
                        enter(&mut self.lookup)
                    }
                    Poll::Ready(_) => Entered::Lead(Lead::alone(&self.lookup)),
                },
                // ## Lead => done
                Some(Entered::Lead(lead)) => {
                    let Poll::Ready(ready) = lead.flight.poll(cx, |cx| self.service.poll_ready(cx))
                    else {
                        self.stage = Some(Entered::Lead(lead));
                        return Poll::Pending;
                    };
                    ready?;
                    let Some(request) = self.request.take() else {
                        unreachable!("polled after it was done")
                    };
                    let future = self.service.call(request);
                    return Poll::Ready(Ok(Followed::Called(future, lead)));
                }
                // ## Hit => done
                Some(Entered::Hit(hit)) => {
                    return Poll::Ready(Ok(Followed::Response(hit.respond())));
                }
                None => unreachable!("polled after it was done"),
            });
        }
    }
}
