//! Parses limits, their remainders and their resets.

mod name;
mod named;
mod policy;
mod set;
mod structured;
mod value;

use std::time::SystemTime;

use http::HeaderMap;

use self::{
    name::Family,
    named::Named,
    value::{Moment, joined},
};
use crate::http::headers::{
    date::{self, Now},
    rate_limit::limits::{RateLimits, Reported},
};

impl RateLimits {
    /// Reads the rate limits in `headers`.
    ///
    /// | family | headers | dimension | period |
    /// | --- | --- | --- | --- |
    /// | Anthropic | `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` | as named | a minute |
    /// | OpenAI, Azure, Groq | `x-ratelimit-{limit,remaining,reset}-{requests,tokens,project-tokens}` | as named | unknown |
    /// | Cerebras, Mistral | the same with a suffix such as `-minute` or `-day`, and `req` for requests | as named | as named |
    /// | IETF draft 08 and later | `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60;qu="requests"`, or `a` for `r`, `w` for `t`, a token for the name | by `qu`, else tokens if the name contains it, else requests | `w` of the policy |
    /// | IETF draft 07 | `RateLimit: limit=100, remaining=50, reset=5` with `RateLimit-Policy: 100;w=60` | requests | `w` of the policy of that limit |
    /// | IETF drafts to 06 | `RateLimit-{Limit,Remaining,Reset}`, with policies in `RateLimit-Limit` or `RateLimit-Policy` | requests | `w` of the policy of that limit |
    /// | all others | `X-RateLimit-{Limit,Remaining,Reset}`, `X-RateLimit-Reset-After`, and Kong's `X-RateLimit-{Limit,Remaining}-Minute` and similar | requests | as named, or by policy |
    ///
    /// `X-Rate-Limit-` is another spelling of `X-RateLimit-`, and `limit`, `remaining` or `reset`
    /// may be the last part of a name as well.
    ///
    /// If several families report the same dimension and period, the first counts. A month is 30
    /// days and a year is 365. A `qu` of bytes, Anthropic's `priority`, `fast` and `unified`
    /// quotas, and malformed structured fields are ignored. So are all headers of a response from a
    /// cache, with an `Age` of at least a second: they were for another request.
    ///
    /// # Numbers
    ///
    /// Limits and remainders are whole numbers. Fractions are truncated, and large numbers
    /// saturate. A limit with a negative number is ignored, and so is a remainder above the limit.
    /// If a header is repeated, the smallest number and the longest reset count. Other values are
    /// ignored.
    ///
    /// # Resets
    ///
    /// | value | meaning |
    /// | --- | --- |
    /// | a number under 10⁹, with a fraction | seconds from now |
    /// | under 10¹² | seconds since the Unix epoch |
    /// | any other number | milliseconds since the Unix epoch |
    /// | `6m0s`, `2m59.56s`, `17ms` | a duration from now |
    /// | an RFC 3339 timestamp, or an HTTP-date | that instant |
    ///
    /// An instant is compared with the response's own `Date` header, or else with the wall clock;
    /// one that has passed is zero.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::read(headers, &date::wall)
    }

    /// Like [`RateLimits::from_headers`], with `now` instead of the wall clock.
    #[must_use]
    pub fn from_headers_at(headers: &HeaderMap, now: SystemTime) -> Self {
        Self::read(headers, &|| now)
    }

    fn read(headers: &HeaderMap, now: Now<'_>) -> Self {
        // From a cache. Some proxies send an age of zero with all responses.
        if !date::age(headers).is_zero() {
            return Self::default();
        }
        let moment = Moment { headers, now };
        let mut named = Named::default();
        let mut ietf = false;
        for (name, value) in headers {
            ietf |= name.as_str().starts_with("ratelimit");
            named.read(name.as_str(), value, &moment);
        }
        let mut limits = Self::default();
        limits.add(named.of(Family::Anthropic));
        limits.add(named.of(Family::OpenAi));
        if ietf {
            let field = joined(headers, "ratelimit").unwrap_or_default();
            let policies = joined(headers, "ratelimit-policy").unwrap_or_default();
            let policies = structured::list(&policies).unwrap_or_default();
            limits.add(policy::by_name(&field, &policies));
            limits.add(policy::in_one(&field, &policies));
            limits.add(named.bare(Family::Ietf, &policies));
        }
        limits.add(named.of(Family::Kong));
        limits.add(named.bare(Family::Other, &[]));
        limits
    }

    /// Adds the limits of a family, except if an earlier family has reported them.
    fn add(&mut self, family: impl IntoIterator<Item = Reported>) {
        let before = *self;
        for reported in family {
            let same = |other: &Reported| {
                (other.dimension, other.period) == (reported.dimension, reported.period)
            };
            if !before.iter().any(same) {
                self.push(reported);
            }
        }
    }
}

#[cfg(test)]
mod tests;
