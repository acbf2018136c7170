//! What metrics add to an admitted call.

use metrics_exporter_prometheus::PrometheusBuilder;
use tower::Layer;
use tower_throttle::{ConcurrencyLayer, Quota, TokenBucketLayer};

use crate::{
    calls::{Echo, echoes},
    measure::{Contender, Group},
};

pub(crate) const NAME: &str = "metrics of an admitted call";

/// A quota that nothing here exhausts.
const QUOTA: Quota = Quota::per_second(1_000_000_000);

fn token_bucket() -> Contender {
    echoes(TokenBucketLayer::new(QUOTA).layer(Echo))
}

fn concurrency() -> Contender {
    echoes(ConcurrencyLayer::new(50).until_response().layer(Echo))
}

/// To see what the feature adds without a recorder, compare with a run with
/// `--no-default-features`.
pub(crate) fn all() -> Group {
    let recorder = PrometheusBuilder::new().build_recorder();
    let recorded =
        |contender: fn() -> Contender| ::metrics::with_local_recorder(&recorder, contender);
    Group::new(NAME)
        .contender("a rate without a recorder", token_bucket())
        .contender("a rate with Prometheus", recorded(token_bucket))
        .contender("in flight without a recorder", concurrency())
        .contender("in flight with Prometheus", recorded(concurrency))
        .nanoseconds("a rate with Prometheus", "a rate without a recorder", 30.0)
        .nanoseconds(
            "in flight with Prometheus",
            "in flight without a recorder",
            30.0,
        )
}
