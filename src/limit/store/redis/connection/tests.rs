#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it waits for another program, on a real clock"
)]

use std::{net::TcpListener, thread, time::Instant};

use ::redis::{Client, parse_redis_value};
use futures::future::join_all;
use tokio::time;

use super::*;
use crate::limit::store::redis::{
    scripts::Script,
    server::{Reply, Server},
};

const TIMEOUT: Duration = Duration::from_millis(100);
/// What a call may take beyond its timeout.
const LATE: Duration = Duration::from_millis(50);

static ADD: Script = Script {
    text: "local n = (redis.call('GET', KEYS[1]) or 0) + ARGV[1]
redis.call('SET', KEYS[1], n)
return n",
    sha1: "f80b00f06cef2094300fb41a7a31f0fa60b17fe3",
};

fn connect(url: &str) -> Connection {
    Connection {
        servers: Servers::one(Client::open(url).unwrap()),
        prefix: "tt".into(),
        timeout: TIMEOUT,
    }
}

fn server_of(connection: &Connection) -> &super::Server {
    match &connection.servers {
        Servers::One(server) => server,
        Servers::Cluster(_) => panic!("a cluster"),
    }
}

/// Adds 1, and checks that it does not take for longer than it may.
async fn add(connection: &Connection) -> Result<i64, StoreError> {
    let command = Command {
        script: &ADD,
        key: "tt:n".to_owned(),
        args: vec![b"1".to_vec()],
    };
    let start = Instant::now();
    let reply = time::timeout(TIMEOUT, connection.run(&command)).await;
    let reply = reply.unwrap_or(Err(StoreError::TimedOut));
    let elapsed = start.elapsed();
    assert!(elapsed < TIMEOUT + LATE, "{elapsed:?}: {reply:?}");
    reply.map(|reply| match reply {
        Value::Int(n) => n,
        other => panic!("{other:?}"),
    })
}

async fn unreachable(connection: &Connection) -> String {
    match add(connection).await {
        Err(StoreError::Unreachable(reason)) => reason.as_ref().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Calls until there is a reply, for at most `most`.
async fn recovers(connection: &Connection, most: Duration) {
    let start = Instant::now();
    while add(connection).await.is_err() {
        assert!(start.elapsed() < most, "{:?}", add(connection).await);
        time::sleep(Duration::from_millis(10)).await;
    }
}

fn info(server: &Server, field: &str) -> u64 {
    let Reply::Text(info) = server.command(&["INFO", "all"]) else {
        panic!("no INFO");
    };
    let line = info.lines().find_map(|line| line.strip_prefix(field));
    let digits = line
        .unwrap_or("0")
        .trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap()
}

fn error(line: &str) -> RedisError {
    let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    value.extract_error().unwrap_err()
}

// ===== without a server =====

#[test]
fn replies_of_the_wrong_server_reopen() {
    for line in [
        "READONLY You can't write against a read only replica.",
        "MOVED 3999 127.0.0.1:6381",
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down",
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: \
         -READONLY You can't write against a read only replica.",
    ] {
        let expected = StoreError::Unreachable(line.into());
        assert_eq!(classify(&error(line)), (expected, false));
    }
}

#[test]
fn other_replies_keep_the_connection() {
    for line in [
        "OOM command not allowed when used memory > 'maxmemory'. script: f_1, on @user_script:1.",
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: \
         -OOM command not allowed when used memory > 'maxmemory'.",
        "NOPERM this user has no permissions to run the 'evalsha' command",
        "NOAUTH Authentication required.",
        "ERR unknown command 'EVALSHA'",
    ] {
        let expected = StoreError::Unreachable(line.into());
        assert_eq!(classify(&error(line)), (expected, true));
    }
    for line in [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR user_script:1: attempt to compare nil with number script: f_1, on @user_script:1.",
    ] {
        let expected = StoreError::Unreadable(line.into());
        assert_eq!(classify(&error(line)), (expected, true));
    }
}

#[test]
fn errors_are_one_line_of_text() {
    assert_eq!(*line("first\nsecond"), *"first");
    assert_eq!(*line("\u{1b}[31mred\u{7}"), *"[31mred");
    assert_eq!(*line(""), *"");
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let connection = connect(&format!("redis://user:secret@127.0.0.1:{port}"));
    assert!(!unreachable(&connection).await.contains("secret"));
    assert!(!format!("{connection:?}").contains("secret"));
}

#[tokio::test]
async fn slow_connects_are_shared() {
    // It accepts connections, and never responds.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = connect(&format!("redis://127.0.0.1:{port}"));
    for _ in 0..3 {
        let calls = join_all((0..10).map(|_| add(&connection))).await;
        assert!(calls.iter().all(|call| *call == Err(StoreError::TimedOut)));
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_ok());
    assert!(listener.accept().is_err(), "a second connection");
    // The next is opened when the first was given up.
    time::sleep(TIMEOUT * 2).await;
    assert!(add(&connection).await.is_err());
    assert!(add(&connection).await.is_err());
    assert!(listener.accept().is_ok());
}

// ===== with a server =====

#[tokio::test]
#[ignore = "needs redis-server"]
async fn calls_share_a_connection() {
    let server = Server::start();
    let connection = connect(&server.url());
    let before = info(&server, "total_connections_received");
    let mut replies = join_all((0..100).map(|_| add(&connection))).await;
    replies.sort_by_key(|reply| *reply.as_ref().unwrap());
    assert!(replies.into_iter().map(Result::unwrap).eq(1..=100));
    // One for the calls, and one for the question.
    assert_eq!(info(&server, "total_connections_received") - before, 2);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn scripts_are_sent_when_unknown() {
    let server = Server::start();
    let connection = connect(&server.url());
    for n in 1..=3 {
        assert_eq!(add(&connection).await, Ok(n));
    }
    server.command(&["SCRIPT", "FLUSH"]);
    for n in 4..=6 {
        assert_eq!(add(&connection).await, Ok(n));
    }
    assert_eq!(info(&server, "cmdstat_eval:"), 2);
    assert_eq!(info(&server, "cmdstat_evalsha:"), 6);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn killed_and_back() {
    let mut server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    for _ in 0..3 {
        server.kill();
        for _ in 0..5 {
            unreachable(&connection).await;
        }
        server.restart();
        recovers(&connection, Duration::from_secs(1)).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn killed_while_calls_wait() {
    let mut server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    server.freeze();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { add(&connection).await })
        })
        .collect();
    time::sleep(TIMEOUT / 4).await;
    server.kill();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn paused_server() {
    let server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    server.command(&["CLIENT", "PAUSE", "700"]);
    for _ in 0..5 {
        assert_eq!(add(&connection).await, Err(StoreError::TimedOut));
    }
    recovers(&connection, Duration::from_secs(1)).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn frozen_server() {
    let server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    let before = info(&server, "total_connections_received");
    server.freeze();
    for _ in 0..15 {
        assert_eq!(add(&connection).await, Err(StoreError::TimedOut));
    }
    server.unfreeze();
    recovers(&connection, Duration::from_secs(1)).await;
    // One after three timeouts, then one in four.
    let connections = info(&server, "total_connections_received") - before;
    assert!((2..=6).contains(&connections), "{connections}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn timeouts_in_a_row_reopen() {
    let server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    let first = server_of(&connection).session(TIMEOUT);
    let is_open = || Arc::ptr_eq(&first, &server_of(&connection).session(TIMEOUT));
    for timeouts in [2, 2, 3] {
        assert!(is_open());
        server.freeze();
        for _ in 0..timeouts {
            add(&connection).await.unwrap_err();
        }
        server.unfreeze();
        if timeouts < 3 {
            add(&connection).await.unwrap();
        }
    }
    assert!(!is_open());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn dropped_calls_count_as_timeouts() {
    let server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    let first = server_of(&connection).session(TIMEOUT);
    server.freeze();
    for _ in 0..3 {
        let _ = time::timeout(TIMEOUT / 10, add(&connection)).await;
    }
    server.unfreeze();
    assert!(!Arc::ptr_eq(
        &first,
        &server_of(&connection).session(TIMEOUT)
    ));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn demoted_and_promoted() {
    let (server, master) = (Server::start(), Server::start());
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    for _ in 0..3 {
        let before = info(&server, "total_connections_received");
        assert!(unreachable(&connection).await.starts_with("READONLY"));
        // The next call looks elsewhere.
        assert!(unreachable(&connection).await.starts_with("READONLY"));
        assert!(info(&server, "total_connections_received") > before + 1);
    }
    server.command(&["REPLICAOF", "NO", "ONE"]);
    add(&connection).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn memory_is_full() {
    let server = Server::start();
    let connection = connect(&server.url());
    add(&connection).await.unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(unreachable(&connection).await.starts_with("OOM"));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    add(&connection).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn key_of_another_type() {
    let server = Server::start();
    let connection = connect(&server.url());
    server.command(&["RPUSH", "tt:n", "1"]);
    let error = add(&connection).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    server.command(&["SET", "tt:n", "garbage"]);
    let error = add(&connection).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn wrong_passwords() {
    let server = Server::with(&["--requirepass", "right"]);
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}", server.port());
    assert_eq!(add(&connect(&url(":right@"))).await, Ok(1));
    assert!(unreachable(&connect(&url(""))).await.starts_with("NOAUTH"));
    for user in [":wrong-secret@", "nobody:wrong-secret@"] {
        let reason = unreachable(&connect(&url(user))).await;
        assert!(!reason.contains("secret"), "{reason}");
        assert!(
            reason.contains("WRONGPASS") || reason.contains("auth"),
            "{reason}"
        );
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn rights_of_the_docs_are_enough() {
    let server = Server::start();
    let docs = include_str!("../mod.rs").lines();
    let rights = docs.filter_map(|line| line.strip_prefix("//! ACL SETUSER throttle "));
    let rights: Vec<&str> = rights.flat_map(|rights| rights.split(' ')).collect();
    let command = [&["ACL", "SETUSER", "throttle", "on"], &rights[1..]].concat();
    assert_eq!(server.command(&command), Reply::Text("OK".to_owned()));

    let url = format!("redis://throttle:secret@127.0.0.1:{}", server.port());
    let connection = connect(&url);
    assert_eq!(add(&connection).await, Ok(1));
    assert_eq!(add(&connection).await, Ok(2));
    let command = Command {
        script: &ADD,
        key: "other".to_owned(),
        args: vec![b"1".to_vec()],
    };
    let error = connection.run(&command).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(reason) if reason.starts_with("NOPERM")));
}

#[test]
#[ignore = "needs redis-server"]
fn outlives_the_runtime_that_opened_it() {
    let server = Server::start();
    let connection = connect(&server.url());
    for n in 1..=3 {
        let connection = connection.clone();
        // The first call of each runtime but the first finds the connection broken.
        let run = async move {
            match add(&connection).await {
                Err(_) => add(&connection).await,
                reply => reply,
            }
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(run)
        });
        assert_eq!(thread.join().unwrap(), Ok(n));
    }
}
