//! How it is written first. For comparison only.

use reqwest::{Request, Response};
use tower::{Service, service_fn};
use tower_throttle::BoxError;

use crate::{stack::Answers, wire::Wire};

/// Whatever fails is tried again at once, three times in all.
pub(crate) fn three_times(wire: Wire) -> impl Answers {
    service_fn(move |request: Request| try_three_times(wire.clone(), request))
}

async fn try_three_times(mut wire: Wire, request: Request) -> Result<Response, BoxError> {
    for _ in 1..3 {
        let again = request.try_clone().ok_or("the body is a stream")?;
        match wire.call(again).await {
            Ok(response) if response.status().is_success() => return Ok(response),
            _ => {}
        }
    }
    wire.call(request).await
}
