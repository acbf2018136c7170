//! `Redis::connect` and its errors.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use redis::{Client, TlsCertificates};
use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter, redis::RedisError};

use crate::server::{Server, free_port};

async fn reason(url: &str) -> String {
    match Redis::connect(url).await {
        Err(RedisError::Unreachable { address, reason }) => {
            assert!(url.ends_with(&address), "{address}");
            assert!(!reason.contains("secret"), "{reason}");
            reason.as_ref().to_owned()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connects() {
    let server = Server::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let status = redis.status();
    assert!(status.is_connected);
    assert_eq!((status.processes, status.errors), (1, 0));

    let other = Redis::connect(&server.url()).await.unwrap();
    assert_eq!(other.status().processes, 2);
    other.leave().await;
    let another = Redis::connect(&server.url()).await.unwrap();
    assert_eq!(another.status().processes, 2);
}

#[tokio::test]
async fn connects_with_the_rights_of_the_docs() {
    let server = Server::start();
    let docs = include_str!("../../src/limit/store/redis/mod.rs").lines();
    let rights = docs.filter_map(|line| line.strip_prefix("//! ACL SETUSER throttle "));
    let rights: Vec<&str> = rights.flat_map(|rights| rights.split(' ')).collect();
    server.command(&[&["ACL", "SETUSER", "throttle"], &rights[..]].concat());
    let host = format!("127.0.0.1:{}", server.port());
    let url = format!("redis://throttle:secret@{host}");
    let redis = Redis::connect(&url).await.unwrap();
    let bucket = TokenBucketLimiter::new(Quota::per_minute(60)).shared(&redis, "bucket");
    let window = SlidingWindowLimiter::new(Quota::per_minute(60)).shared(&redis, "window");
    for _ in 0..20 {
        bucket.acquire(1).await.unwrap();
        window.acquire(1).await.unwrap();
    }
    redis.leave().await;
    let status = redis.status();
    assert!(status.is_connected);
    assert_eq!((status.errors, status.last_error), (0, None));

    server.command(&["ACL", "SETUSER", "weak", "on", ">secret", "+@connection"]);
    let reason = reason(&format!("redis://weak:secret@{host}")).await;
    assert!(reason.starts_with("NOPERM"), "{reason}");
}

#[tokio::test]
async fn rejected_by_the_server() {
    let server = Server::with(&["--requirepass", "right-secret"]);
    let host = format!("127.0.0.1:{}", server.port());
    assert!(
        reason(&format!("redis://{host}"))
            .await
            .starts_with("NOAUTH")
    );
    reason(&format!("redis://:wrong-secret@{host}")).await;

    let (master, replica) = (Server::start(), Server::start());
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    assert!(reason(&replica.url()).await.starts_with("READONLY"));
    master.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(reason(&master.url()).await.starts_with("OOM"));
}

#[tokio::test]
async fn frozen_server() {
    let server = Server::start();
    server.freeze();
    let start = Instant::now();
    let error = Redis::connect(&server.url()).await.unwrap_err();
    assert!(matches!(error, RedisError::TimedOut { .. }), "{error:?}");
    assert!(start.elapsed() < Duration::from_millis(1_200));
}

#[tokio::test]
async fn over_tls() {
    let folder = env::temp_dir().join(format!("throttle-tls-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    let port = free_port().to_string();
    let _server = Server::with(&[
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
    ]);
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let url = format!("rediss://localhost:{port}");
    let reason = reason(&url).await;
    assert!(reason.contains("certificate"), "{reason}");

    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(fs::read(&certificate).unwrap()),
    };
    let client = Client::build_with_tls(url, certificates).unwrap();
    // Without optimizations, it takes a while to read the certificates of the system.
    let redis = Redis::from_client(client).timeout(Duration::from_secs(2));
    let limiter = TokenBucketLimiter::new(Quota::per_minute(60)).shared(&redis, "tls");
    limiter.acquire(1).await.unwrap();
    let status = redis.status();
    assert!(status.is_connected && status.errors == 0, "{status}");
    fs::remove_dir_all(folder).unwrap();
}
