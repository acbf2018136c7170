//! A request that waits for the answer of another one.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::{
    body::Reader,
    flight::{Charge, Owed},
    landing::Landing,
    lead::Lead,
    rules::{Asked, Rules},
    status::Why,
    ticket::{Ticket, Turn},
};
use crate::RequestHead;

/// A lead that is woken and not polled for so long, and at most twice as long, is passed over. Its caller may be waiting for this
/// very request.
const STALL: Duration = Duration::from_secs(1);

pub(super) struct Following<S, Request> {
    service: S,
    request: Option<Request>,
    stage: Stage,
    landing: Landing,
    /// How old an answer it takes, in seconds.
    max_age: u64,
    rules: Arc<Rules>,
    why: Why,
}

enum Stage {
    Waiting {
        ticket: Ticket,
        watch: Watch,
    },
    /// It asks itself, once its service is ready.
    Leading {
        lead: Option<Lead>,
    },
}

/// Looks at the lead from time to time.
#[derive(Default)]
struct Watch {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the lead owed the last time.
    owed: Option<Owed>,
}

/// What comes of waiting.
pub(super) enum Followed<F> {
    Read(Reader),
    Called(F, Lead),
}

// ===== impl Following =====

impl<S, Request> Following<S, Request> {
    pub(super) fn new(
        service: S,
        request: Request,
        ticket: Ticket,
        max_age: u64,
        rules: Arc<Rules>,
        why: Why,
    ) -> Self {
        #[cfg(feature = "tracing")]
        tracing::debug!("waiting for the answer of an equal request");
        let landing = ticket.landing().clone();
        let watch = Watch::default();
        Self {
            service,
            request: Some(request),
            stage: Stage::Waiting { ticket, watch },
            landing,
            max_age,
            rules,
            why,
        }
    }
}

impl<S, Request> Following<S, Request>
where
    S: Service<Request>,
    Request: RequestHead,
{
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Followed<S::Future>, S::Error>> {
        loop {
            let turn = match &mut self.stage {
                // ## Waiting => (Leading | done)
                Stage::Waiting { ticket, watch } => match ticket.poll(cx) {
                    Poll::Ready(turn) => turn,
                    Poll::Pending => Turn::Lead(ready!(watch.poll(ticket, cx))),
                },
                // ## Leading => done
                Stage::Leading { .. } => return self.call(cx),
            };
            match turn {
                Turn::Read(reader) if reader.head().was_young(self.max_age) => {
                    self.landing.store.counts.collapsed.add();
                    return Poll::Ready(Ok(Followed::Read(reader)));
                }
                Turn::Lead(charge) => self.lead(Some(charge)),
                Turn::Read(_) | Turn::Alone => self.lead(None),
            }
        }
    }

    fn lead(&mut self, charge: Option<Charge>) {
        let Some(request) = &self.request else { return };
        let landing = match charge {
            Some(_) => self.landing.clone(),
            None => self.landing.alone(),
        };
        let asked = Asked::new(request);
        let lead = Lead::new(landing, charge, self.why, asked, self.rules.clone());
        self.stage = Stage::Leading { lead: Some(lead) };
    }

    fn call(&mut self, cx: &mut Context<'_>) -> Poll<Result<Followed<S::Future>, S::Error>> {
        let service = &mut self.service;
        let Stage::Leading { lead: Some(lead) } = &self.stage else {
            unreachable!("polled after it was done")
        };
        let ready = ready!(lead.poll(cx, |cx| service.poll_ready(cx)));
        let done = mem::replace(&mut self.stage, Stage::Leading { lead: None });
        let (Stage::Leading { lead: Some(lead) }, Some(request)) = (done, self.request.take())
        else {
            unreachable!("polled after it was done")
        };
        Poll::Ready(match ready {
            Ok(()) => Ok(Followed::Called(self.service.call(request), lead)),
            Err(error) => {
                lead.fail();
                Err(error)
            }
        })
    }
}

// ===== impl Watch =====

impl Watch {
    /// Ready where this one is to take over.
    fn poll(&mut self, ticket: &mut Ticket, cx: &mut Context<'_>) -> Poll<Charge> {
        loop {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(STALL)));
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(Instant::now() + STALL);
            let owed = ticket.owed();
            if let Some(owed) = owed.filter(|_| owed == self.owed) {
                if let Some(charge) = ticket.take_over(owed) {
                    return Poll::Ready(charge);
                }
            }
            self.owed = owed;
        }
    }
}
