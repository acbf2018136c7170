#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a fake node has threads"
)]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use tokio::time;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(250);

/// A node that responds as `reply` says, to the name and the number of a call.
struct FakeNode {
    port: u16,
    calls: Arc<AtomicUsize>,
    is_frozen: Arc<AtomicBool>,
}

impl FakeNode {
    /// `reply` returns what is sent, or `None` to close the connection.
    fn start(reply: impl Fn(&str, usize) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(AtomicUsize::new(0));
        let (reply, counter) = (Arc::new(reply), calls.clone());
        let is_frozen = Arc::new(AtomicBool::new(false));
        let frozen = is_frozen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (reply, counter, frozen) = (reply.clone(), counter.clone(), frozen.clone());
                thread::spawn(move || {
                    while let Some(name) = read_name(&mut stream) {
                        while frozen.load(Ordering::SeqCst) {
                            thread::sleep(Duration::from_millis(1));
                        }
                        let reply = match name.as_str() {
                            "CLIENT" | "HELLO" => Some("+OK".to_owned()),
                            _ => reply(&name, counter.fetch_add(1, Ordering::SeqCst)),
                        };
                        let Some(reply) = reply else { return };
                        let stream = stream.get_mut();
                        stream.write_all(format!("{reply}\r\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        Self {
            port,
            calls,
            is_frozen,
        }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Reads a command, and returns its name.
fn read_name(stream: &mut impl BufRead) -> Option<String> {
    let mut words = Vec::new();
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    for _ in 0..line.strip_prefix('*')?.trim().parse().ok()? {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let mut word = vec![0; line.strip_prefix('$')?.trim().parse::<usize>().ok()? + 2];
        stream.read_exact(&mut word).ok()?;
        words.push(String::from_utf8_lossy(&word).trim().to_owned());
    }
    words.first().cloned()
}

/// Returns a port at which nobody listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn cluster(urls: &[String]) -> Cluster {
    let clients = urls.iter().map(|url| Client::open(url.as_str()).unwrap());
    Cluster::new(clients.collect()).unwrap()
}

async fn run(cluster: &Cluster, key: &str) -> Result<Value, StoreError> {
    let command = Command {
        script: &PROBE,
        key: key.to_owned(),
        args: Vec::new(),
    };
    cluster.run(&command, TIMEOUT).await
}

#[test]
fn hash_slots_are_those_of_the_specification() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
    for (key, expected) in [
        ("foo", 12_182),
        ("{foo}bar", 12_182),
        ("a{foo}{bar}", 12_182),
        ("foo{}{bar}", 8_363),
        ("foo{{bar}}zap", 4_015),
        ("", 0),
    ] {
        assert_eq!(hash_slot(key.as_bytes()), expected, "{key}");
    }
}

#[tokio::test]
async fn moved_keys_stay_known() {
    let owner = FakeNode::start(|_, _| Some(":1".to_owned()));
    let moved = format!("-MOVED 1 127.0.0.1:{}", owner.port);
    let first = FakeNode::start(move |_, _| Some(moved.clone()));
    let cluster = cluster(&[first.url()]);
    for _ in 0..3 {
        assert_eq!(run(&cluster, "n").await, Ok(Value::Int(1)));
    }
    assert_eq!((first.calls(), owner.calls()), (1, 3));
    // Another key may be anywhere. A node without a host has the one that was asked.
    assert_eq!(run(&cluster, "m").await, Ok(Value::Int(1)));
    assert_eq!(first.calls(), 2);
}

#[tokio::test]
async fn moved_without_a_host() {
    let owner = FakeNode::start(|_, _| Some(":1".to_owned()));
    let moved = format!("-MOVED 1 :{}", owner.port);
    let first = FakeNode::start(move |_, _| Some(moved.clone()));
    assert_eq!(run(&cluster(&[first.url()]), "n").await, Ok(Value::Int(1)));
}

#[tokio::test]
async fn keys_that_are_being_moved() {
    let target = FakeNode::start(|name, _| {
        Some(match name {
            "ASKING" => "+OK".to_owned(),
            "EVALSHA" => "-NOSCRIPT No matching script.".to_owned(),
            _ => ":1".to_owned(),
        })
    });
    let ask = format!("-ASK 1 127.0.0.1:{}", target.port);
    let first = FakeNode::start(move |_, _| Some(ask.clone()));
    let cluster = cluster(&[first.url()]);
    assert_eq!(run(&cluster, "n").await, Ok(Value::Int(1)));
    // `ASKING` counts for one command.
    assert_eq!(target.calls(), 4);
    assert_eq!(run(&cluster, "n").await, Ok(Value::Int(1)));
    assert_eq!(first.calls(), 2);
}

#[tokio::test]
async fn nodes_that_are_down_are_skipped() {
    let owner = FakeNode::start(|_, _| Some(":1".to_owned()));
    let urls =
        [closed_port(), closed_port(), owner.port].map(|port| format!("redis://127.0.0.1:{port}"));
    let cluster = cluster(&urls);
    assert_eq!(run(&cluster, "n").await, Ok(Value::Int(1)));
    assert_eq!(run(&cluster, "m").await, Ok(Value::Int(1)));
    assert_eq!(owner.calls(), 2);
}

#[tokio::test]
async fn all_nodes_are_down() {
    let urls = [closed_port(), closed_port()].map(|port| format!("redis://127.0.0.1:{port}"));
    let error = run(&cluster(&urls), "n").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn nodes_that_name_each_other() {
    let port = closed_port();
    let moved = format!("-MOVED 1 127.0.0.1:{port}");
    let first = FakeNode::start(move |_, _| Some(moved.clone()));
    let cluster = cluster(&[first.url()]);
    assert!(run(&cluster, "n").await.is_err());
    assert_eq!(first.calls(), MOST_TRIES / 2);
    assert!(unpoisoned(cluster.nodes.lock()).named.len() <= 1);
}

#[tokio::test]
async fn what_was_sent_is_not_sent_again() {
    let first = FakeNode::start(|_, number| (number > 0).then(|| ":1".to_owned()));
    let other = FakeNode::start(|_, _| Some(":2".to_owned()));
    let cluster = cluster(&[first.url(), other.url()]);
    let error = run(&cluster, "n").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert_eq!((first.calls(), other.calls()), (1, 0));
    // The next call asks another node.
    assert_eq!(run(&cluster, "n").await, Ok(Value::Int(2)));
}

#[tokio::test]
async fn replies_that_are_no_addresses() {
    let first = FakeNode::start(|_, _| Some("-MOVED 1 nowhere".to_owned()));
    let error = run(&cluster(&[first.url()]), "n").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(text) if text.starts_with("MOVED")));
}

#[tokio::test]
async fn a_silent_node_is_not_waited_for() {
    let owner = FakeNode::start(|_, _| Some(":1".to_owned()));
    let moved = format!("-MOVED 1 127.0.0.1:{}", owner.port);
    let first = FakeNode::start(move |_, _| Some(moved.clone()));
    let cluster = cluster(&[first.url()]);
    let run = async || {
        let reply = time::timeout(Duration::from_millis(200), run(&cluster, "n")).await;
        reply.unwrap_or(Err(StoreError::TimedOut))
    };
    assert_eq!(run().await, Ok(Value::Int(1)));
    owner.is_frozen.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(run().await, Err(StoreError::TimedOut));
    }
    for _ in 0..3 {
        assert_eq!(run().await, Err(StoreError::Unreachable(SILENT.into())));
    }
    assert!(cluster.probe(TIMEOUT).await.is_err());
    owner.is_frozen.store(false, Ordering::SeqCst);
    time::sleep(Duration::from_millis(50)).await;
    assert_eq!(run().await, Ok(Value::Int(1)));
}

#[tokio::test]
async fn what_has_failed_is_probed() {
    let first = FakeNode::start(|_, number| (number > 1).then(|| ":1".to_owned()));
    let cluster = cluster(&[first.url()]);
    assert_eq!(cluster.probe(TIMEOUT).await, Ok(()));
    assert_eq!(first.calls(), 0);
    assert!(run(&cluster, "n").await.is_err());
    assert!(cluster.probe(TIMEOUT).await.is_err());
    assert_eq!(cluster.probe(TIMEOUT).await, Ok(()));
    assert_eq!(first.calls(), 3);
    assert_eq!(cluster.probe(TIMEOUT).await, Ok(()));
    assert_eq!(first.calls(), 3);
}

#[test]
fn the_nodes_that_others_name_are_bounded() {
    let cluster = cluster(&["redis://127.0.0.1:1".to_owned()]);
    let first = cluster.node_of(0);
    let name = |port: u16| cluster.node_at(&format!("127.0.0.1:{port}"), &first);
    for port in 1..3_000 {
        name(port).unwrap();
    }
    let nodes = unpoisoned(cluster.nodes.lock());
    assert_eq!(nodes.named.len(), MOST_NAMED);
    assert_eq!(nodes.named[MOST_NAMED - 1].address(), "127.0.0.1:2999");
}
