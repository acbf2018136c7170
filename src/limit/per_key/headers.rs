//! `RateLimit` headers, which tell clients where they stand.

use std::sync::Arc;

use super::{PerKeyLimiter, kind::Kind, permit::Permit};
#[cfg(feature = "grpc")]
use crate::limit::rejection::Grpc;
use crate::{
    error::Rejected,
    http::headers::{
        date::wall,
        rate_limit::emit::{PolicyItem, RateLimitHeaders},
    },
    limit::{
        engine::ReleasePolicy,
        rejection::{
            AsError, AsResponse, AsResponseWith, AsResponseWithHead, OnRejected, Problem, Text,
        },
    },
};

/// Whether a way of rejecting adds headers to responses.
pub trait AddHeaders<K: Kind> {
    type ReleasePolicy: Clone;

    fn policy(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> Self::ReleasePolicy;
}

/// Writes the state of the client's limits into each response.
#[derive(Debug, Clone)]
pub struct WriteHeaders<H> {
    headers: RateLimitHeaders,
    /// The policies of the limiter, which clients without limits of their own have.
    policies: Arc<[PolicyItem]>,
    until: H,
}

impl<K: Kind> AddHeaders<K> for AsError {
    type ReleasePolicy = K::Until;

    fn policy(_: &PerKeyLimiter<K>, _: RateLimitHeaders) -> K::Until {
        K::Until::default()
    }
}

impl<F: AddHeaders<K>, K: Kind> AddHeaders<K> for OnRejected<F> {
    type ReleasePolicy = F::ReleasePolicy;

    fn policy(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> F::ReleasePolicy {
        F::policy(limiter, headers)
    }
}

macro_rules! write_headers {
    ($($Rejection:ident $(<$R:ident>)?),+) => {$(
        impl<K: Kind $(, $R)?> AddHeaders<K> for $Rejection $(<$R>)? {
            type ReleasePolicy = WriteHeaders<K::Until>;

            fn policy(
                limiter: &PerKeyLimiter<K>,
                headers: RateLimitHeaders,
            ) -> WriteHeaders<K::Until> {
                WriteHeaders::new(limiter, headers)
            }
        }
    )+};
}

write_headers!(
    AsResponse,
    Text,
    Problem,
    AsResponseWith<R>,
    AsResponseWithHead<R>
);
#[cfg(feature = "grpc")]
write_headers!(Grpc);

// ===== impl WriteHeaders =====

impl<H: Default> WriteHeaders<H> {
    fn new<K: Kind>(limiter: &PerKeyLimiter<K>, headers: RateLimitHeaders) -> Self {
        let standings = limiter.0.table.full_standings();
        let policies = standings.iter().filter_map(PolicyItem::new);
        Self {
            headers,
            policies: policies.collect(),
            until: H::default(),
        }
    }
}

impl<B, K, H> ReleasePolicy<http::Response<B>, Permit<K>> for WriteHeaders<H>
where
    K: Kind,
    H: ReleasePolicy<http::Response<B>, Permit<K>>,
{
    type Output = H::Output;

    fn hold(&self, mut response: http::Response<B>, permit: Permit<K>) -> H::Output {
        let headers = response.headers_mut();
        permit.standings(&mut |standing| {
            self.headers.write(headers, &standing, &self.policies, wall);
        });
        self.until.hold(response, permit)
    }

    fn rejected(&self, mut response: http::Response<B>, rejected: &Rejected) -> H::Output {
        let standings = rejected.standings();
        for standing in standings.iter().flat_map(|standings| &standings.all) {
            self.headers
                .write(response.headers_mut(), standing, &[], wall);
        }
        self.until.rejected(response, rejected)
    }
}
