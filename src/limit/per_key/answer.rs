//! What callers are told, in an answer's fields.

use std::sync::Arc;

use crate::{
    error::Rejected,
    http::headers::{
        date::wall,
        rate_limit::emit::{PolicyItem, RateLimitHeaders},
    },
    limit::{
        engine::ReleasePolicy,
        rejection::{AsError, OnRejected, Rejection, Sealed},
    },
};

use super::{PerKeyLimiter, admitted::Admitted, kind::Kind};

/// How a limit by caller shows itself: as an error, or in answers. Sealed.
pub trait Face<K: Kind>: Clone + Sealed {
    /// What is done to the response of an admitted request.
    #[doc(hidden)]
    type ReleasePolicy: Clone;

    #[doc(hidden)]
    fn hold(&self, limiter: &PerKeyLimiter<K>) -> Self::ReleasePolicy;
}

/// Answers in place of errors, with fields that say where the caller stands, on admitted requests' answers, too.
#[derive(Debug, Clone, Copy)]
pub struct Answer<R> {
    refusal: R,
    pub(super) fields: RateLimitHeaders,
}

/// Writes into each answer where its caller stands.
#[derive(Debug, Clone)]
pub struct WriteFields<H> {
    fields: RateLimitHeaders,
    /// Of the limits that clients without their own share.
    policies: Arc<[PolicyItem]>,
    until: H,
}

impl<K: Kind> Face<K> for AsError {
    type ReleasePolicy = K::Until;

    fn hold(&self, _: &PerKeyLimiter<K>) -> K::Until {
        K::Until::default()
    }
}

impl<F: Face<K>, K: Kind> Face<K> for OnRejected<F> {
    type ReleasePolicy = F::ReleasePolicy;

    fn hold(&self, limiter: &PerKeyLimiter<K>) -> F::ReleasePolicy {
        self.rejection().hold(limiter)
    }
}

// ===== impl Answer =====

impl<R> Answer<R> {
    pub(super) fn new(refusal: R) -> Self {
        let fields = RateLimitHeaders::default();
        Self { refusal, fields }
    }
}

impl<R> Sealed for Answer<R> {}

impl<R: Clone, K: Kind> Face<K> for Answer<R> {
    type ReleasePolicy = WriteFields<K::Until>;

    fn hold(&self, limiter: &PerKeyLimiter<K>) -> Self::ReleasePolicy {
        let mut policies = Vec::new();
        limiter
            .0
            .table
            .full_standings(&mut |standing| policies.extend(PolicyItem::new(&standing)));
        WriteFields {
            fields: self.fields,
            policies: policies.into(),
            until: K::Until::default(),
        }
    }
}

impl<R, Request, B, Error> Rejection<Request, http::Response<B>, Error> for Answer<R>
where
    R: Rejection<Request, http::Response<B>, Error>,
{
    type Error = R::Error;

    fn reject(&self, request: &Request, rejected: Rejected) -> Result<http::Response<B>, R::Error> {
        let standings = rejected.standings();
        let mut response = self.refusal.reject(request, rejected)?;
        for standing in standings.iter().flat_map(|standings| standings.all()) {
            self.fields
                .write(response.headers_mut(), standing, &[], wall);
        }
        Ok(response)
    }

    fn pass(error: Error) -> R::Error {
        R::pass(error)
    }
}

// ===== impl WriteFields =====

impl<B, K, H> ReleasePolicy<http::Response<B>, Admitted<K>> for WriteFields<H>
where
    K: Kind,
    H: ReleasePolicy<http::Response<B>, Admitted<K>>,
{
    type Output = H::Output;

    fn hold(&self, mut response: http::Response<B>, admitted: Admitted<K>) -> H::Output {
        let headers = response.headers_mut();
        admitted.standings(&mut |standing| {
            self.fields.write(headers, &standing, &self.policies, wall);
        });
        self.until.hold(response, admitted)
    }

    fn empty(&self, response: http::Response<B>) -> H::Output {
        self.until.empty(response)
    }
}
