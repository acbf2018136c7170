//! What an admitted request allocates for metrics, counted in a binary of its own.
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

use metrics_exporter_prometheus::PrometheusBuilder;
use tower::{Layer, Service, service_fn};
use tower_throttle::{ConcurrencyLayer, Quota, TokenBucketLayer};

const CALLS: usize = 1_000;

fn call<S: Service<u64>>(service: &mut S) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    let response = pin!(service.call(7)).poll(&mut cx);
    assert!(matches!(response, Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn metrics_of_an_admitted_request_allocate_nothing() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let inner = service_fn(|number: u64| ready(Ok::<_, Infallible>(number)));
    let (mut rate, mut in_flight) = metrics::with_local_recorder(&recorder, || {
        let quota = Quota::per_second(1_000_000);
        let rate = TokenBucketLayer::new(quota).name("rate").layer(inner);
        let in_flight = ConcurrencyLayer::new(1).until_response().name("in_flight");
        (rate, in_flight.layer(inner))
    });
    let counted = allocation_counter::measure(|| {
        for _ in 0..CALLS {
            call(&mut rate);
            call(&mut in_flight);
        }
    });
    assert_eq!(counted.count_total, 0);
    let text = recorder.handle().render();
    let admitted = format!("outcome=\"admitted\"}} {CALLS}");
    assert_eq!(text.matches(&admitted).count(), 2, "{text}");
}
