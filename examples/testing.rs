//! Tests of your own code on a paused clock: `cargo run --example testing`, or
//! `cargo test --example testing`.
//!
//! All waits of the layers use tokio's clock. If it is paused, a minute of a rate limit passes in
//! no time, and always in the same way.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use tokio::{runtime, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{BoxError, Quota, RetryAfterBackoffLayer, SlidingWindowLayer};

/// The code under test: the layers of a client, around whatever sends its requests.
fn client<S>(
    http_client: S,
) -> impl Service<Request<String>, Response = Response<String>, Error = BoxError>
where
    S: Service<Request<String>, Response = Response<String>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(SlidingWindowLayer::new(Quota::per_minute(3)))
        .map_err(BoxError::from)
        .service(http_client)
}

/// The provider of the tests. It counts by the same clock, and rejects what is too much.
mod provider {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::{Duration, Infallible, Instant, Request, Response, Service, service_fn};

    /// The instants of the requests that it has admitted.
    pub(super) type Starts = Arc<Mutex<VecDeque<Instant>>>;

    pub(super) fn new(
        starts: &Starts,
        limit: usize,
    ) -> impl Service<Request<String>, Response = Response<String>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static {
        let starts = starts.clone();
        service_fn(move |_: Request<String>| {
            let mut starts = starts.lock().unwrap_or_else(|error| error.into_inner());
            let now = Instant::now();
            let in_period = starts
                .iter()
                .filter(|start| now - **start < Duration::from_secs(60))
                .count();
            let mut response = Response::new(String::from("an answer"));
            if in_period < limit {
                starts.push_back(now);
            } else {
                *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
                let seconds = http::HeaderValue::from_static("20");
                response.headers_mut().insert("retry-after", seconds);
            }
            async { Ok(response) }
        })
    }
}

/// Sends `requests`, one after the other, and returns how long it took.
async fn send(provider: usize, requests: usize) -> Result<Duration, BoxError> {
    let starts = provider::Starts::default();
    let mut client = client(provider::new(&starts, provider));
    let start = Instant::now();
    for number in 0..requests {
        let request = Request::new(format!("prompt {number}"));
        let response = client.ready().await?.call(request).await?;
        assert_eq!(response.status(), 200);
    }
    Ok(start.elapsed())
}

fn main() -> Result<(), BoxError> {
    // What `#[tokio::test(start_paused = true)]` does.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    let time = runtime.block_on(send(3, 10))?;
    println!("10 requests at 3 a minute: {time:?} on the paused clock");
    assert_eq!(time, Duration::from_secs(180));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_keep_to_the_limit() {
        assert_eq!(send(3, 3).await.unwrap(), Duration::ZERO);
        assert_eq!(send(3, 4).await.unwrap(), Duration::from_secs(60));
        assert_eq!(send(3, 7).await.unwrap(), Duration::from_secs(120));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_with_a_lower_limit_is_asked_again() {
        // The third is rejected until the first has left the provider's window.
        let time = send(2, 3).await.unwrap();
        assert!(
            time >= Duration::from_secs(60) && time < Duration::from_secs(90),
            "{time:?}"
        );
    }
}
