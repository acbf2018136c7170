//! The request that asks the inner service.

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use super::{
    body::{Reader, ResponseBody},
    channel::Channel,
    flight::{Charge, Report},
    head::Head,
    landing::Landing,
    original::{Shareable, erase},
    rules::{Asked, Rules, Verdict},
    status::{Told, Why},
};

/// Held by a request from its call to its answer's head. Dropping it lets another one ask.
#[derive(Debug)]
pub(super) struct Lead {
    landing: Landing,
    charge: Option<(Charge, Waker)>,
    why: Why,
    asked: Asked,
    rules: Arc<Rules>,
}

// ===== impl Lead =====

impl Lead {
    /// Without a charge it asks for itself alone.
    pub(super) fn new(
        landing: Landing,
        charge: Option<Charge>,
        why: Why,
        asked: Asked,
        rules: Arc<Rules>,
    ) -> Self {
        landing.store.counts.misses.add();
        let with_waker = |charge: Charge| {
            let waker = charge.pulse.clone().into();
            (charge, waker)
        };
        Self {
            landing,
            charge: charge.map(with_waker),
            why,
            asked,
            rules,
        }
    }

    /// Polls something that those who follow wait for.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        match &self.charge {
            Some((charge, waker)) => {
                charge.pulse.begin(cx);
                poll(&mut Context::from_waker(waker))
            }
            None => poll(cx),
        }
    }

    /// There is no answer.
    pub(super) fn fail(mut self) {
        self.report(Report::Failed);
    }

    /// The answer is there.
    pub(super) fn answer<B: Shareable>(
        mut self,
        response: http::Response<B>,
    ) -> http::Response<ResponseBody> {
        let (parts, body) = response.into_parts();
        let verdict = self.rules.judge(&parts, &self.asked);
        let (why, mut is_stored) = (self.why, false);
        let body = match verdict {
            Verdict::Keep(head) => {
                is_stored = !self.rules.ttl.is_zero();
                ResponseBody::shared(self.share(&head, body))
            }
            Verdict::Failure => {
                self.report(Report::Failed);
                ResponseBody::new(body)
            }
            Verdict::Private => {
                self.report(Report::Private);
                ResponseBody::new(body)
            }
        };
        let mut response = http::Response::from_parts(parts, body);
        Told::Miss { why, is_stored }.note(&mut response);
        response
    }

    fn share<B: Shareable>(&mut self, head: &Arc<Head>, body: B) -> Reader {
        let id = self.landing.store.number();
        let max = self.rules.max_entry;
        // Of any type: done with before others depend on it.
        let original = erase(body);
        let open = |original, landing, readers| {
            Channel::open(head.clone(), original, max, landing, readers)
        };
        let opened = match self.charge.take() {
            Some((charge, _)) => charge.answer(original, |original, mut readers| {
                readers.insert(id);
                open(original, self.landing.clone(), readers)
            }),
            None => Err(original),
        };
        let channel =
            opened.unwrap_or_else(|original| open(original, self.landing.alone(), [id].into()));
        Reader::new(channel, id)
    }

    fn report(&mut self, report: Report) {
        if let Some((charge, _)) = self.charge.take() {
            charge.report(report);
        }
    }
}
