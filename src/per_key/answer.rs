//! What callers are told, in an answer's fields.

use http::{HeaderValue, header::CONTENT_TYPE};

use crate::{
    Rejected,
    fields::{Fields, Standing, problem_json},
    limit::{Hold, UntilResponse},
    refusal::{Fail, Refusal, Respond, Sealed},
    rejected,
};

use super::limiter::Admitted;

/// How a limit by caller shows itself: as an error, or in answers. Sealed.
pub trait Face: Clone + Sealed {
    /// What is done to the response of an admitted request.
    #[doc(hidden)]
    type Hold: Copy;

    #[doc(hidden)]
    fn hold(&self) -> Self::Hold;
}

/// Answers in place of errors, with fields that say where the caller stands, on admitted requests' answers, too.
#[derive(Debug, Clone, Copy)]
pub struct Answer<R> {
    refusal: R,
    pub(super) tell: Tell,
}

/// A refusal is a problem of RFC 9457 in JSON, which names the limit: 429, with a `Retry-After`.
///
/// For bodies that can be made of a `String`, such as axum's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Problem;

/// Writes into each answer where its caller stands.
#[derive(Debug, Clone, Copy)]
pub struct Tell {
    pub(super) fields: Fields,
    pub(super) name: &'static str,
}

impl Face for Fail {
    type Hold = UntilResponse;

    fn hold(&self) -> UntilResponse {
        UntilResponse
    }
}

// ===== impl Answer =====

impl<R> Answer<R> {
    pub(super) fn new(refusal: R) -> Self {
        let (fields, name) = (Fields::default(), "default");
        let tell = Tell { fields, name };
        Self { refusal, tell }
    }
}

impl<R> Sealed for Answer<R> {}

impl<R: Clone> Face for Answer<R> {
    type Hold = Tell;

    fn hold(&self) -> Tell {
        self.tell
    }
}

impl<R, B, Error> Refusal<http::Response<B>, Error> for Answer<R>
where
    R: Refusal<http::Response<B>, Error>,
{
    type Error = R::Error;

    fn refuse(&self, rejected: Rejected) -> Result<http::Response<B>, R::Error> {
        let standing = rejected.standing().copied();
        let mut response = self.refusal.refuse(rejected)?;
        if let Some(standing) = standing {
            self.tell.write(response.headers_mut(), &standing);
        }
        Ok(response)
    }

    fn pass(error: Error) -> R::Error {
        R::pass(error)
    }
}

impl<B, Error> Refusal<http::Response<B>, Error> for Answer<Problem>
where
    B: From<String>,
{
    type Error = Error;

    fn refuse(&self, rejected: Rejected) -> Result<http::Response<B>, Error> {
        let detail = rejected.to_string();
        let answer = Answer {
            refusal: Respond,
            tell: self.tell,
        };
        let response = Refusal::<http::Response<()>, Error>::refuse(&answer, rejected)?;
        let (mut head, ()) = response.into_parts();
        let json = problem_json(head.status, &[self.tell.name], &detail);
        let problem = HeaderValue::from_static("application/problem+json");
        head.headers.insert(CONTENT_TYPE, problem);
        Ok(http::Response::from_parts(head, json.into()))
    }

    fn pass(error: Error) -> Error {
        error
    }
}

// ===== impl Tell =====

impl Tell {
    fn write(self, headers: &mut http::HeaderMap, standing: &rejected::Standing) {
        let standing = Standing {
            name: self.name,
            quota: standing.quota,
            window: standing.window,
            remaining: standing.remaining,
            reset: standing.reset,
        };
        self.fields.write(headers, &standing, crate::clock::wall);
    }
}

impl<B> Hold<http::Response<B>, Admitted> for Tell {
    type Output = http::Response<B>;

    fn hold(self, mut response: http::Response<B>, admitted: Admitted) -> http::Response<B> {
        if let Some(standing) = admitted.standing() {
            self.write(response.headers_mut(), &standing);
        }
        response
    }
}
