//! Keys by the address of the peer, in front of servers that know it and of servers that do not.

use super::*;
use crate::support::Listening;
use tower_throttle::key::{ClientIp, PeerAddr, PeerIp};

fn bare() -> Request<()> {
    Request::new(())
}

fn connected(last: u8) -> Request<()> {
    let mut request = bare();
    let peer = PeerAddr(([192, 0, 2, last], 4711).into());
    request.extensions_mut().insert(peer);
    request
}

#[tokio::test(start_paused = true)]
async fn each_peer_has_a_limit() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(PeerIp)
        .respond();
    for (last, status) in [(1, 200), (2, 200), (1, 429), (2, 429)] {
        assert_eq!(ask(&layer, connected(last)).await.0, status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_peer_is_a_500_and_logged_once() {
    let events = Listening::start();
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(PeerIp)
        // It is not the client that has forgotten something.
        .missing_key(MissingKey::Share);
    for _ in 0..2 {
        let error = layer.layer(hello()).oneshot(bare()).await.unwrap_err();
        let rejected = error.downcast_ref::<Rejected>().unwrap();
        assert_eq!(rejected.reason(), Reason::MissingPeer);
        assert!(rejected.exceeds_capacity());
        let text = rejected.to_string();
        assert!(text.contains("`into_make_service_with_connect_info`"));
        assert!(text.contains("feature `axum`"));
    }
    assert_eq!(ask(&layer.clone().respond(), bare()).await.0, 500);
    assert_eq!(ask(&layer.clone().respond_as(Problem), bare()).await.0, 500);
    let lines = events.lines();
    let logged = lines.iter().filter(|line| line.contains("connect_info"));
    // The others are those of each rejection, of the level `DEBUG`.
    let logged = logged.filter(|line| !line.starts_with("refused rejected="));
    assert_eq!(logged.count(), 1, "{lines:?}");
    assert_eq!(layer.limiter().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_on_a_unix_socket_needs_no_peer() {
    let from = |client: &str| {
        let mut request = bare();
        let client = client.parse().unwrap();
        request.headers_mut().insert("x-forwarded-for", client);
        request
    };
    let trusting = ClientIp::trusting(["10.0.0.0/8"]).unwrap();
    let layer = |key: &ClientIp| {
        let bucket = TokenBucketLayer::new(Quota::per_minute(1));
        bucket.per(key.clone()).respond()
    };
    assert_eq!(ask(&layer(&trusting), from("192.0.2.1")).await.0, 500);
    for key in [trusting, ClientIp::behind(1)] {
        let layer = layer(&key.unix_socket_proxy());
        assert_eq!(ask(&layer, from("192.0.2.1")).await.0, 200);
        assert_eq!(ask(&layer, from("192.0.2.1")).await.0, 429);
        assert_eq!(ask(&layer, from("192.0.2.2")).await.0, 200);
        // What the proxy does not say counts as the proxy's own.
        assert_eq!(ask(&layer, bare()).await.0, 200);
        assert_eq!(ask(&layer, bare()).await.0, 429);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_or_else_an_address() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(API_KEY().or(PeerIp))
        .respond();
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    assert_eq!(ask(&layer, from("ann")).await.0, 429);
    assert_eq!(ask(&layer, connected(1)).await.0, 200);
    assert_eq!(ask(&layer, connected(1)).await.0, 429);
    assert_eq!(ask(&layer, bare()).await.0, 500);
}
