//! A cluster of three masters with a replica each.

use std::{
    thread,
    time::{Duration, Instant},
};

use tower_throttle::Redis;

use crate::server::{Reply, Server, free_port};

/// How many nodes have hash slots; as many are replicas.
const MASTERS: usize = 3;
const HASH_SLOTS: usize = 16_384;

/// After this time without a sign of life a node counts as failed. A busy machine needs some.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the cluster may take for anything.
const MOST: Duration = Duration::from_secs(30);

/// Each master has the replica three further on.
pub(crate) struct Nodes(Vec<Server>);

// ===== impl Nodes =====

impl Nodes {
    pub(crate) fn start() -> Self {
        let timeout = NODE_TIMEOUT.as_millis().to_string();
        let ports: Vec<String> = (0..2 * MASTERS).map(|_| free_port().to_string()).collect();
        let start = |port: &String| {
            Server::with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                &timeout,
                "--cluster-port",
                port,
                "--repl-diskless-sync-delay",
                "0",
            ])
        };
        let nodes = Self(ports.iter().map(start).collect());
        for (number, node) in nodes.0.iter().enumerate() {
            let epoch = (number + 1).to_string();
            ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if number == 0 {
                continue;
            }
            let port = node.port().to_string();
            ok(
                &nodes.0[0],
                &["CLUSTER", "MEET", "127.0.0.1", &port, &ports[number]],
            );
        }
        for number in 0..MASTERS {
            let first = (number * HASH_SLOTS / MASTERS).to_string();
            let last = ((number + 1) * HASH_SLOTS / MASTERS - 1).to_string();
            ok(
                &nodes.0[number],
                &["CLUSTER", "ADDSLOTSRANGE", &first, &last],
            );
        }
        until("all nodes know each other", || {
            nodes
                .0
                .iter()
                .all(|node| info(node).contains("cluster_known_nodes:6"))
        });
        for number in 0..MASTERS {
            let master = nodes.id(number);
            ok(nodes.replica(number), &["CLUSTER", "REPLICATE", &master]);
        }
        nodes.until_well();
        until("all replicas have a copy", || {
            (0..MASTERS).all(|number| {
                text(nodes.replica(number), &["INFO", "replication"])
                    .contains("master_link_status:up")
            })
        });
        nodes
    }

    /// Returns the URLs of the masters.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.0[..MASTERS].iter().map(Server::url).collect()
    }

    /// Returns a process that uses the cluster.
    pub(crate) fn connect(&self) -> Redis {
        Redis::cluster(self.urls()).unwrap()
    }

    pub(crate) fn all(&self) -> &[Server] {
        &self.0
    }

    pub(crate) fn replica(&self, master: usize) -> &Server {
        &self.0[master + MASTERS]
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.0[node].kill();
    }

    /// Returns a key that contains `text`, with its master.
    pub(crate) fn key(&self, text: &str) -> (usize, String) {
        let pattern = format!("*{text}*");
        for (number, node) in self.0[..MASTERS].iter().enumerate() {
            if let Reply::Array(keys) = node.command(&["KEYS", &pattern]) {
                if let Some(Reply::Text(key)) = keys.first() {
                    return (number, key.clone());
                }
            }
        }
        panic!("no key with {text}");
    }

    /// Moves the hash slot of a key, which has keys for a while at both ends.
    pub(crate) fn move_hash_slot(&self, key: &str, from: usize, to: usize) {
        let pause = || thread::sleep(Duration::from_millis(200));
        let Reply::Integer(hash_slot) = self.0[from].command(&["CLUSTER", "KEYSLOT", key]) else {
            panic!("no hash slot");
        };
        let hash_slot = hash_slot.to_string();
        let [from_id, to_id] = [from, to].map(|node| self.id(node));
        let port = self.0[to].port().to_string();
        let set = ["CLUSTER", "SETSLOT", &hash_slot];
        ok(&self.0[to], &[&set[..], &["IMPORTING", &from_id]].concat());
        ok(&self.0[from], &[&set[..], &["MIGRATING", &to_id]].concat());
        pause();
        while let Reply::Array(keys) =
            self.0[from].command(&["CLUSTER", "GETKEYSINSLOT", &hash_slot, "10"])
        {
            let [Reply::Text(key), ..] = &keys[..] else {
                break;
            };
            let moved = self.0[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(matches!(moved, Reply::Text(_)), "{moved:?}");
        }
        pause();
        for node in [to, from] {
            ok(&self.0[node], &[&set[..], &["NODE", &to_id]].concat());
        }
        pause();
    }

    /// Waits until a replica has become a master.
    pub(crate) fn until_promoted(&self, master: usize) {
        until("the replica is promoted", || {
            text(self.replica(master), &["INFO", "replication"]).contains("role:master")
        });
    }

    /// Waits until all nodes say that the cluster is well.
    pub(crate) fn until_well(&self) {
        until("the cluster is well", || {
            self.0
                .iter()
                .all(|node| info(node).contains("cluster_state:ok"))
        });
    }

    fn id(&self, node: usize) -> String {
        text(&self.0[node], &["CLUSTER", "MYID"])
    }
}

fn info(node: &Server) -> String {
    text(node, &["CLUSTER", "INFO"])
}

pub(crate) fn text(node: &Server, command: &[&str]) -> String {
    match node.command(command) {
        Reply::Text(text) => text,
        other => panic!("{command:?}: {other:?}"),
    }
}

pub(crate) fn ok(node: &Server, command: &[&str]) {
    assert_eq!(text(node, command), "OK", "{command:?}");
}

pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < MOST, "not in {MOST:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
