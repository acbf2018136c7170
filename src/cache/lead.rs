//! The request that asks the inner service.

use std::sync::Arc;

use http::response::Parts;

use super::{
    body::{Reader, ResponseBody},
    channel::{Channel, Shareable},
    key::Key,
    landing::Landing,
    rules::{Asked, Rules, Verdict},
    status::{Told, Why},
    store::Store,
};

/// Held by a request from its call to its answer's head.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) key: Key,
    pub(super) why: Why,
    pub(super) asked: Asked,
    pub(super) rules: Arc<Rules>,
    pub(super) store: Arc<Store>,
    pub(super) generation: u64,
}

// ===== impl Lead =====

impl Lead {
    /// The answer is there.
    pub(super) fn answer<B: Shareable>(
        self,
        response: http::Response<B>,
    ) -> http::Response<ResponseBody<B>> {
        let (parts, body) = response.into_parts();
        let (parts, verdict) = self.rules.judge(parts, &self.asked, &self.store.keyring);
        let why = self.why;
        let is_stored = matches!(verdict, Verdict::Keep(_)) && !self.rules.ttl.is_zero();
        let body = match verdict {
            Verdict::Keep(head) => ResponseBody::shared(self.share(head, body)),
            Verdict::Failure | Verdict::Private => body.into(),
        };
        let mut response = from_parts(parts, body);
        Told::Miss { why, is_stored }.note(&mut response);
        response
    }

    fn share<B: Shareable>(self, head: Arc<super::head::Head>, body: B) -> Reader {
        let id = self.store.number();
        let landing = Landing {
            store: self.store,
            key: self.key,
            generation: self.generation,
        };
        let channel = Channel::open(head, body, self.rules.max_entry, landing, [id]);
        Reader::new(channel, id)
    }
}

fn from_parts<B>(parts: Parts, body: B) -> http::Response<B> {
    http::Response::from_parts(parts, body)
}
