//! A rejection as problem details in JSON (RFC 9457).

use http::StatusCode;

use super::{Rejection, respond, sealed::Responds, status, text::words};
use crate::{
    error::Rejected,
    http::{TextBody, headers::quoted_string::quote},
};

/// Rejects with an HTTP response in JSON, problem details by RFC 9457.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_throttle::{ConcurrencyLayer, rejection::Problem};
///
/// let mut server = ServiceBuilder::new()
///     .layer(ConcurrencyLayer::new(0).respond_as(Problem))
///     .service(service_fn(async |_: Request<()>| {
///         Ok::<_, Infallible>(Response::new(String::from("hello")))
///     }));
///
/// let rejected = server.ready().await?.call(Request::new(())).await?;
/// assert_eq!(rejected.headers()["content-type"], "application/problem+json");
/// assert!(rejected.body().get_ref().contains(r#""status":503"#));
/// # Ok(())
/// # }
/// ```
///
/// The body has the type of the problem, the reason, and the names of the client's limits that had
/// no room, as in its `RateLimit` headers. It can be any [`TextBody`]. Status, `Retry-After` and
/// extensions are as with [`AsResponse`](super::AsResponse).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Problem;

// ===== impl Problem =====

impl Responds for Problem {}

impl<Request, B: TextBody, Error> Rejection<Request, http::Response<B>, Error> for Problem {
    same_error!();

    fn reject(&self, _: &Request, rejected: Rejected) -> Result<http::Response<B>, Error> {
        #[cfg(feature = "per-key")]
        let names = rejected.violated();
        #[cfg(not(feature = "per-key"))]
        let names = [];
        let json = problem_json(status(&rejected), &names, &words(&rejected));
        let problem = Some("application/problem+json");
        Ok(respond(rejected, problem, B::from_text(json)))
    }
}

/// Returns the reason of a rejection and its limits as JSON. The types are registered by the IETF's
/// draft.
fn problem_json(status: StatusCode, names: &[&str], detail: &str) -> String {
    let (kind, title) = match status {
        StatusCode::TOO_MANY_REQUESTS => (
            "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "Request cannot be satisfied as assigned quota has been exceeded",
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "Request cannot be satisfied due to temporary server capacity constraints",
        ),
        // RFC 9457 §4.2.1: no more than the status.
        _ => ("about:blank", status.canonical_reason().unwrap_or_default()),
    };
    // Nothing in these texts has to be escaped.
    let status_code = status.as_str();
    let mut json = format!(
        r#"{{"type":"{kind}","title":"{title}","status":{status_code},"detail":"{detail}""#
    );
    if status == StatusCode::TOO_MANY_REQUESTS && !names.is_empty() {
        json.push_str(",\"violated-policies\":");
        for (index, name) in names.iter().enumerate() {
            json.push(if index == 0 { '[' } else { ',' });
            // As in a `RateLimit` header, so that a name is the same in both.
            quote(name, |byte| json.push(byte.into()));
        }
        json.push(']');
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::{Value, json};

    use super::*;

    fn parsed(status: StatusCode, names: &[&str], detail: &str) -> Value {
        serde_json::from_str(&problem_json(status, names, detail)).unwrap()
    }

    #[test]
    fn each_status_has_its_type() {
        let quota = parsed(StatusCode::TOO_MANY_REQUESTS, &["day", "hour"], "wait");
        let expected = json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "detail": "wait",
            "violated-policies": ["day", "hour"],
        });
        assert_eq!(quota, expected);
        let capacity = parsed(StatusCode::SERVICE_UNAVAILABLE, &["day"], "wait");
        let expected = json!({
            "type": "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
            "title": "Request cannot be satisfied due to temporary server capacity constraints",
            "status": 503,
            "detail": "wait",
        });
        assert_eq!(capacity, expected);
        let other = parsed(StatusCode::FORBIDDEN, &[], "");
        assert_eq!(other["type"], "about:blank");
        assert_eq!(other["title"], "Forbidden");
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_as_far_as_a_field_can_have_it(names in vec(any::<String>(), 1..4)) {
            let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
            let problem = parsed(StatusCode::TOO_MANY_REQUESTS, &borrowed, "wait");
            let plain = |byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '_' };
            let told = names.iter().map(|name| name.bytes().map(plain).collect());
            let told: Vec<String> = told.collect();
            prop_assert_eq!(&problem["violated-policies"], &json!(told));
        }
    }
}
