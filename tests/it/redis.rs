//! A server that several processes share, as far as no server is needed.

use std::{error::Error, net::TcpListener, time::Duration};

use tower_throttle::{
    Redis, WhenDown,
    redis::{RedisError, Status},
};

fn invalid(url: &str) -> String {
    Redis::new(url).unwrap_err().to_string()
}

#[test]
fn urls() {
    for url in [
        "redis://127.0.0.1",
        "redis://user:secret@example.com:6380/2",
        "rediss://example.com",
        "valkey://example.com",
        "redis://[::1]:6379",
        "unix:///run/redis.sock?db=1",
    ] {
        let redis = Redis::new(url).unwrap();
        assert!(!format!("{redis:?}").contains("secret"), "{redis:?}");
    }
}

#[test]
fn invalid_urls() {
    assert_eq!(
        invalid("http://127.0.0.1"),
        "`http://` is not a URL of Redis: use `redis://`, `rediss://` for TLS, or `unix://`"
    );
    assert_eq!(
        invalid("127.0.0.1:6379"),
        "the URL of Redis has no scheme: use `redis://` before the host"
    );
    assert_eq!(
        invalid("redis://:secret@127.0.0.1/first"),
        "invalid URL of Redis: Invalid database number: \
         use `redis://user:password@host:port/database`"
    );
    for url in [
        "",
        "redis:",
        "redis://",
        "user:secret@host",
        "redis://u:secret@h:port",
    ] {
        assert!(!invalid(url).contains("secret"), "{}", invalid(url));
    }
}

#[test]
fn clusters_and_sentinels() {
    let urls = ["redis://user:secret@node-1:6379", "rediss://node-2:6380"];
    let redis = Redis::cluster(urls).unwrap();
    let debug = format!("{redis:?}");
    assert!(debug.contains("node-1:6379, node-2:6380"), "{debug}");
    assert!(!debug.contains("secret"), "{debug}");

    for master in ["mymaster", "redis://user:secret@mymaster/2"] {
        let redis = Redis::sentinel(master, urls.map(str::to_owned)).unwrap();
        let debug = format!("{redis:?}");
        assert!(debug.contains("\"mymaster\""), "{debug}");
        assert!(!debug.contains("secret"), "{debug}");
    }

    const NONE: [&str; 0] = [];
    let expected = "invalid URL of Redis: there is none: \
        use `redis://user:password@host:port/database`";
    for none in [Redis::cluster(NONE), Redis::sentinel("mymaster", NONE)] {
        assert_eq!(none.unwrap_err().to_string(), expected);
    }
    let other = ["redis://node-1", "http://node-2"];
    let expected = RedisError::UnknownScheme(Some("http".to_owned()));
    for error in [Redis::cluster(other), Redis::sentinel("mymaster", other)] {
        assert_eq!(error.unwrap_err(), expected);
    }
    let socket = Redis::sentinel("unix:///run/redis.sock", urls).unwrap_err();
    assert!(matches!(socket, RedisError::InvalidUrl(_)), "{socket:?}");
}

#[test]
fn settings_before_a_runtime() {
    let redis = Redis::new("redis://127.0.0.1")
        .unwrap()
        .prefix("api")
        .timeout(Duration::ZERO)
        .when_down(WhenDown::Closed)
        .processes(0);
    let Status {
        is_connected,
        since,
        processes,
        asks,
        last_error,
        ..
    } = redis.clone().status();
    assert!(!is_connected);
    assert_eq!((since, processes, asks, last_error), (None, 1, 0, None));
    assert_eq!(
        redis.status().to_string(),
        "not connected for 0 s, 1 processes, 0 asks, 0 errors, 0 restores"
    );
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = Redis::connect(&format!("redis://:secret@127.0.0.1:{port}"))
        .await
        .unwrap_err();
    let text = error.to_string();
    let start = format!("cannot use Redis at 127.0.0.1:{port}: Connection refused");
    assert!(text.starts_with(&start), "{text}");
    assert!(error.source().is_none());
    assert!(matches!(error, RedisError::Unreachable { .. }));
}

#[tokio::test]
async fn nobody_responds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let error = Redis::connect(&format!("redis://{address}"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Redis at {address} did not respond within 1s: \
             check the address, or use `Redis::new` with a longer `timeout`"
        )
    );
}
