use std::{sync::Arc, time::Duration};

use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::flight::{Phase, Reader, SingleFlight, State};
use crate::{
    cache::{
        body::{BoxedBody, ResponseBody, Shareable, Source, boxed},
        entry::Entry,
        error::{Kind, SharedBodyError},
        head::CachedHead,
        policy::Lookup,
        status::Status,
    },
    sync::Ordering,
};

/// A reader that holds up the others is removed if it reads nothing for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The side of a flight that brings the response: first the leading request, then the task that
/// reads the body. Dropping it ends the flight.
pub(in crate::cache) struct Lead {
    pub(in crate::cache) flight: Arc<SingleFlight>,
    lookup: Lookup,
    /// Of the store when the flight began.
    generation: u64,
}

// ===== impl Lead =====

impl Lead {
    /// Begins a flight that no other request follows.
    pub(in crate::cache) fn alone(lookup: &Lookup) -> Self {
        Self::new(lookup, lookup.store.flights().generation)
    }

    pub(in crate::cache) fn new(lookup: &Lookup, generation: u64) -> Self {
        lookup.store.misses.fetch_add(1, Ordering::Relaxed);
        Self {
            flight: SingleFlight::new(lookup.policy.max_entry),
            lookup: lookup.clone(),
            generation,
        }
    }

    /// Shares the response.
    pub(in crate::cache) fn respond<B: Shareable>(
        self,
        response: http::Response<B>,
    ) -> http::Response<ResponseBody> {
        let (parts, body) = response.into_parts();
        let head = self.lookup.head(&parts, body.size_hint().exact());
        let is_stored = head.is_ok() && !self.lookup.policy.ttl.is_zero();
        let stored = if is_stored { "; stored" } else { "" };
        let detail = format!("fwd={}{stored}", self.lookup.why);
        let body = match head {
            Ok(head) => self.share(Arc::new(head), boxed(body)),
            Err(reason) => {
                self.flight.close(reason);
                ResponseBody::new(body)
            }
        };
        Status::Miss.mark(http::Response::from_parts(parts, body), &detail)
    }

    fn share(mut self, head: Arc<CachedHead>, body: BoxedBody) -> ResponseBody {
        let (id, length) = (self.lookup.id, head.length);
        while !self.flight.open(id, &head) {
            // The followers did not wait for this request. It reads its response alone.
            self.flight = SingleFlight::new(self.lookup.policy.max_entry);
        }
        let reader = Reader::new(self.flight.clone(), id);
        if body.is_end_stream() {
            self.complete(head);
        } else {
            let task = tokio::spawn(self.read(head, body));
            reader.flight.lock().task = Some(task.abort_handle());
        }
        ResponseBody::of(Source::Shared(reader), length)
    }

    async fn read(self, head: Arc<CachedHead>, mut body: BoxedBody) {
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
                        let (kind, original) = match state.readers.len() {
                            0 | 1 => (Kind::Dropped, Some(error)),
                            _ => (Kind::Broken(error.into()), None),
                        };
                        state.phase = Phase::Broken(SharedBodyError(kind), original);
                    });
                }
                None => break,
            }
        }
        self.complete(head);
    }

    async fn wait_for_room(&self) {
        while !self.flight.lock().make_room() {
            let moved = timeout(PATIENCE, self.flight.moved.notified()).await;
            if moved.is_err() {
                self.flight.update(State::remove_slowest);
            }
        }
    }

    fn complete(&self, head: Arc<CachedHead>) {
        let frames = self.flight.lock().frames.clone();
        if let Some(entry) = Entry::new(head.clone(), frames) {
            let lookup = &self.lookup;
            lookup.store.keep(lookup.key, self.generation, entry);
        }
        self.flight
            .update(|state| state.phase = Phase::Complete(head));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flight.end();
        self.lookup.store.land(&self.lookup.key, &self.flight);
    }
}
