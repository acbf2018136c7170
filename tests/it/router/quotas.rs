//! As much as all targets allow together, and never more than one of them does.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt;
use tower_throttle::router::RouterLayer;

use super::{Server, ask, over, targets};

/// Limits as 1 : 2 : 3.
fn servers() -> Vec<Server> {
    vec![
        Server::new("one", 60, 60_000),
        Server::new("two", 120, 120_000),
        Server::new("three", 180, 180_000),
    ]
}

const MINUTES: u64 = 5;

/// Offers more than all can take, and gives the share of their limits that was used, in percent.
async fn used(
    layer: RouterLayer<super::Req>,
    servers: Vec<Server>,
    tokens: impl Fn(u64) -> u64,
) -> (f64, f64) {
    let layer = targets(layer, &servers);
    let service = over!(layer, servers);
    let mut tasks = JoinSet::new();
    for number in 0..360 * (MINUTES + 1) {
        tasks.spawn(service.clone().oneshot(ask(tokens(number))));
    }
    sleep(Duration::from_secs(60 * MINUTES)).await;
    let (requests, tokens) = servers.iter().fold((0, 0), |(requests, tokens), server| {
        let ledger = server.ledger.lock().unwrap();
        assert_eq!(ledger.refused, 0, "{} refused", server.name);
        (requests + ledger.let_in, tokens + ledger.tokens)
    });
    let percent = |used: u64, limit: u64| 100.0 * used as f64 / (limit * MINUTES) as f64;
    (percent(requests, 360), percent(tokens, 360_000))
}

#[tokio::test(start_paused = true)]
async fn ranked_targets_use_all_that_they_allow_together() {
    let (requests, _) = used(RouterLayer::ranked(), servers(), |_| 100).await;
    assert!(requests >= 95.0, "{requests} %");
}

#[tokio::test(start_paused = true)]
async fn weighted_targets_use_all_that_they_allow_together() {
    let (requests, _) = used(RouterLayer::weighted(), servers(), |_| 100).await;
    assert!(requests >= 95.0, "{requests} %");
}

#[tokio::test(start_paused = true)]
async fn where_tokens_are_short_all_of_them_are_used() {
    for layer in [RouterLayer::ranked(), RouterLayer::weighted()] {
        // 1,000 on average is what a request may have; these have 3,000.
        let (_, tokens) = used(layer, servers(), |number| 1_000 + number * 37 % 4_001).await;
        assert!(tokens >= 95.0, "{tokens} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_always_fails_leaves_its_share_to_the_others_and_no_request_fails() {
    for layer in [RouterLayer::ranked(), RouterLayer::weighted()] {
        let mut servers = servers();
        servers[0].is_dead = true;
        let layer = targets(layer, &servers);
        let service = over!(layer, servers);
        let mut tasks = JoinSet::new();
        for _ in 0..300 * 3 {
            tasks.spawn(service.clone().oneshot(ask(100)));
        }
        let answers = tasks.join_all().await;
        let is_ok = |answer: &Result<http::Response<_>, _>| {
            answer
                .as_ref()
                .is_ok_and(|response| response.status() == 200)
        };
        assert_eq!(answers.iter().filter(|one| !is_ok(one)).count(), 0);
        let let_in: Vec<_> = servers.iter().map(Server::let_in).collect();
        assert_eq!(let_in[1] + let_in[2], 900);
        // Three minutes' worth.
        assert_eq!(let_in[1], 360);
        assert!(servers.iter().all(|server| server.refused() == 0));
    }
}
