use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{flight::CloseReason, lead::Lead, reader::Reader};
use crate::{
    cache::{
        body::ResponseBody,
        enter::{Entered, Why, enter, lead},
        policy::Lookup,
        status::Status,
    },
    sync::Ordering,
};

/// If the leading request is woken and not polled for this long, or up to twice as long, another
/// request leads: the client of the leading request may wait for this follower.
const STALL: Duration = Duration::from_secs(1);

/// A follower of so many requests that failed or went away calls the inner service itself.
const MAX_FAILURES: u32 = 2;

/// A request that waits for the response to an equal one.
pub(in crate::cache) struct Follower<S, Request> {
    service: S,
    request: Option<Request>,
    lookup: Lookup,
    why: Why,
    /// `None` once it has responded or is called.
    stage: Option<Entered>,
    stall: Pin<Box<Sleep>>,
    /// Whether the leading request was gone when the timer fired last.
    was_gone: bool,
    failures: u32,
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
        why: Why,
        reader: Reader,
    ) -> Self {
        #[cfg(feature = "tracing")]
        tracing::debug!("waiting for the response to an equal request");
        Self {
            service,
            request: Some(request),
            lookup,
            why,
            stage: Some(Entered::Follow(reader, why)),
            stall: Box::pin(sleep(STALL)),
            was_gone: false,
            failures: 0,
        }
    }

    /// Waits for the head, and handles it.
    fn wait(
        &mut self,
        reader: Reader,
        cx: &mut Context<'_>,
    ) -> Poll<Option<http::Response<ResponseBody>>> {
        let Poll::Ready(head) = reader.poll_head(cx) else {
            let stalled = self.poll_stalled(&reader, cx);
            if stalled.is_ready() {
                reader.flight.close(CloseReason::Failed);
            }
            self.stage = Some(Entered::Follow(reader, self.why));
            return stalled.map(|()| None);
        };
        let store = &self.lookup.store;
        let entered = match head {
            Ok(head) if head.was_young(self.lookup.max_age) => {
                store.collapsed.fetch_add(1, Ordering::Relaxed);
                let mut response = head.respond(ResponseBody::shared(reader));
                Status::Collapsed.add_to(&mut response, "fwd=miss; collapsed");
                return Poll::Ready(Some(response));
            }
            Err(CloseReason::Gone | CloseReason::Failed) if self.failures + 1 < MAX_FAILURES => {
                self.failures += 1;
                enter(&self.lookup)
            }
            Ok(_) | Err(_) => Entered::Lead(lead(&self.lookup, self.why)),
        };
        self.stage = Some(entered);
        Poll::Ready(None)
    }

    /// Ready if the leading request is not being polled, or if it is gone and the followers that go
    /// first are not.
    fn poll_stalled(&mut self, reader: &Reader, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.stall.as_mut().poll(cx));
            self.stall.as_mut().reset(Instant::now() + STALL);
            let was_gone = mem::replace(&mut self.was_gone, reader.flight.is_gone());
            if reader.flight.pulse.is_overdue(STALL) || (was_gone && self.was_gone) {
                return Poll::Ready(());
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
            match self.stage.take() {
                // ## Follow => (Follow | Lead | Hit | done)
                Some(Entered::Follow(reader, _)) => {
                    if let Some(response) = ready!(self.wait(reader, cx)) {
                        return Poll::Ready(Ok(Followed::Response(response)));
                    }
                }
                // ## Lead => done
                Some(Entered::Lead(lead)) => {
                    let Poll::Ready(ready) = lead.poll(cx, |cx| self.service.poll_ready(cx)) else {
                        self.stage = Some(Entered::Lead(lead));
                        return Poll::Pending;
                    };
                    if let Err(error) = ready {
                        lead.flight.close(CloseReason::Failed);
                        return Poll::Ready(Err(error));
                    }
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
            }
        }
    }
}
