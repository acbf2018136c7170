use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{Backup, Chain, Outcome};
use crate::BoxError;

/// Answers with the first, and where that fails, too, with the second.
#[derive(Debug, Clone)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

pin_project! {
    /// The response future of an [`Or`]: that of the one whose turn it is.
    #[derive(Debug)]
    #[project = OrFutureProj]
    #[allow(missing_docs, reason = "which one it is says all")]
    pub enum OrFuture<A, B> {
        First { #[pin] future: A },
        Second { #[pin] future: B },
    }
}

// ===== impl Or =====

impl<A, B> Or<A, B> {
    pub(crate) const fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    /// Changes the second, and leaves the first as it is.
    pub(crate) fn map_second<B2>(self, f: impl FnOnce(B) -> B2) -> Or<A, B2> {
        Or::new(self.first, f(self.second))
    }
}

impl<A: Chain, B: Chain> Chain for Or<A, B> {
    fn count(&self) -> usize {
        self.first.count() + self.second.count()
    }

    #[inline]
    fn is_choosy(&self) -> bool {
        self.first.is_choosy() || self.second.is_choosy()
    }

    fn name(&self, index: usize) -> Option<Arc<str>> {
        match index.checked_sub(self.first.count()) {
            None => self.first.name(index),
            Some(index) => self.second.name(index),
        }
    }

    fn name_last(&mut self, name: Arc<str>) {
        self.second.name_last(name);
    }
}

impl<A, B, Request, Response> Backup<Request, Response> for Or<A, B>
where
    A: Backup<Request, Response>,
    B: Backup<Request, Response>,
{
    type Future = OrFuture<A::Future, B::Future>;

    fn keep(&self, request: &Request) -> Option<Request> {
        self.first
            .keep(request)
            .or_else(|| self.second.keep(request))
    }

    fn is_for(&self, index: usize, outcome: Result<&Response, &BoxError>) -> Option<bool> {
        match index.checked_sub(self.first.count()) {
            None => self.first.is_for(index, outcome),
            Some(index) => self.second.is_for(index, outcome),
        }
    }

    fn answer(
        &self,
        index: usize,
        request: &mut Option<Request>,
        failed: Outcome<Response>,
    ) -> Result<Self::Future, Outcome<Response>> {
        if let Some(index) = index.checked_sub(self.first.count()) {
            let future = self.second.answer(index, request, failed)?;
            return Ok(OrFuture::Second { future });
        }
        let for_second = request.as_ref().and_then(|it| self.second.keep(it));
        let future = self.first.answer(index, request, failed)?;
        if request.is_none() {
            *request = for_second;
        }
        Ok(OrFuture::First { future })
    }
}

// ===== impl OrFuture =====

impl<A, B> Future for OrFuture<A, B>
where
    A: Future,
    B: Future<Output = A::Output>,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            OrFutureProj::First { future } => future.poll(cx),
            OrFutureProj::Second { future } => future.poll(cx),
        }
    }
}
