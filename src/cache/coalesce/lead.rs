use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{
    flight::{CloseReason, Flight, Phase},
    reader::Reader,
};
use crate::cache::{
    body::{BoxedBody, ResponseBody, Shareable, boxed},
    entry::Entry,
    error::SharedBodyError,
    head::Head,
    policy::{Lookup, Policy, ResponseKind},
    status::{Detail, Why},
    store::Store,
};

/// A reader that holds up the others is removed if it reads nothing for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The side of a flight that brings the response: first the leading request, then the task that
/// reads the body. Dropping it ends the flight.
#[derive(Debug)]
pub(in crate::cache) struct Lead {
    pub(in crate::cache) flight: Arc<Flight>,
    store: Arc<Store>,
    policy: Arc<Policy>,
    lookup: Lookup,
    /// Of the store when the flight began.
    generation: u64,
    why: Why,
}

// ===== impl Lead =====

impl Lead {
    pub(in crate::cache) fn new(
        store: &Arc<Store>,
        policy: &Arc<Policy>,
        lookup: &Lookup,
        generation: u64,
        why: Why,
    ) -> Self {
        store.counts.misses.add();
        Self {
            flight: Flight::new(policy.max_entry),
            store: store.clone(),
            policy: policy.clone(),
            lookup: lookup.clone(),
            generation,
            why,
        }
    }

    /// Polls what the followers wait for.
    pub(in crate::cache) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        self.flight.pulse.begin(cx);
        let waker = Waker::from(self.flight.pulse.clone());
        poll(&mut Context::from_waker(&waker))
    }

    /// There is no response.
    pub(in crate::cache) fn fail(self) {
        self.flight.close(CloseReason::Failed);
    }

    /// The response is there.
    pub(in crate::cache) fn respond<B: Shareable>(
        self,
        response: http::Response<B>,
    ) -> http::Response<ResponseBody> {
        let (parts, body) = response.into_parts();
        let exact = body.size_hint().exact();
        let body = boxed(body);
        let kind = self.policy.kind(&parts, exact, &self.lookup.method);
        let why = self.why;
        let is_stored = matches!(kind, ResponseKind::Cacheable(_)) && !self.policy.ttl.is_zero();
        let body = match kind {
            ResponseKind::Cacheable(head) => ResponseBody::shared(self.share(head, body)),
            ResponseKind::Failure => {
                self.flight.close(CloseReason::Failed);
                ResponseBody::boxed(body)
            }
            ResponseKind::Private => {
                self.flight.close(CloseReason::Private);
                ResponseBody::boxed(body)
            }
        };
        let mut response = http::Response::from_parts(parts, body);
        Detail::Miss { why, is_stored }.add_to(&mut response);
        response
    }

    fn share(mut self, head: Arc<Head>, body: BoxedBody) -> Reader {
        let reader = loop {
            match self.flight.open(head.clone()) {
                Some(id) => break Reader::new(self.flight.clone(), id),
                // The followers did not wait for this request. It reads its response alone.
                None => self.flight = Flight::new(self.policy.max_entry),
            }
        };
        if body.is_end_stream() {
            self.complete(head);
        } else {
            let task = tokio::spawn(self.read(head, body));
            reader.flight.set_task(task.abort_handle());
        }
        reader
    }

    async fn read(self, head: Arc<Head>, mut body: BoxedBody) {
        loop {
            self.wait_for_room().await;
            match body.frame().await {
                Some(Ok(frame)) => {
                    self.flight.lock().frames.push(frame);
                    // Some readers do not ask for more than the last frame.
                    if body.is_end_stream() {
                        break;
                    }
                    self.flight.update(|_| ());
                }
                Some(Err(error)) => {
                    return self.flight.update(|state| {
                        let is_alone = state.readers.len() < 2;
                        let (original, error) = SharedBodyError::share(error, is_alone);
                        state.phase = Phase::Broken { error, original };
                    });
                }
                None => break,
            }
        }
        self.complete(head);
    }

    async fn wait_for_room(&self) {
        while !self.flight.lock().make_room() {
            if timeout(PATIENCE, self.flight.moved.notified())
                .await
                .is_err()
            {
                #[cfg(feature = "tracing")]
                tracing::debug!("removing readers that are too slow");
                self.flight.update(|state| state.remove_slowest());
            }
        }
    }

    fn complete(&self, head: Arc<Head>) {
        let frames = self.flight.lock().frames.clone();
        if let Some(entry) = Entry::new(head.clone(), frames) {
            self.store.keep(self.lookup.key, self.generation, entry);
        }
        self.flight
            .update(|state| state.phase = Phase::Complete(head));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flight.end();
        self.store.land(&self.lookup.key, &self.flight);
    }
}
