//! The nodes of a cluster, and which of them has a key.
//!
//! Any node says where a key is: `MOVED` with the address of its master, or `ASK` for one call,
//! while the key is being moved. So a call for an unknown hash slot goes to any node, and follows
//! what that says. If a call of a hash slot fails, the slot is unknown again.
//!
//! A call that may have been carried out is not sent again.
//!
//! If one node is down, the cluster is: a beat, which ends the time in which limits do without it,
//! also probes the key of the last call that failed. Otherwise the limits whose nodes are up would
//! end that time again and again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::redis::{Client, ConnectionInfo, Value};

use super::{
    server::{Failure, Server},
    with_address,
};
use crate::{
    limit::store::{
        call::StoreError,
        redis::scripts::{Command, Script},
    },
    sync::{Mutex, unpoisoned},
};

/// How many hash slots a cluster has.
const HASH_SLOTS: u16 = 16_384;

/// The most nodes that others have named which are known at a time. A cluster has fewer.
const MOST_NAMED: usize = 1_000;

/// What is known of a node that does not respond.
const SILENT: &str = "a node of the cluster does not respond";

static PROBE: Script = Script {
    text: "return 1",
    sha1: "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
};

/// How many nodes a call tries: twice one that is down, one that names another, and that one.
const MOST_TRIES: usize = 8;

pub(crate) struct Cluster {
    /// User, password and TLS of all nodes.
    info: ConnectionInfo,
    nodes: Mutex<Nodes>,
}

struct Nodes {
    /// The nodes of the URLs, which are never removed.
    first: Vec<Arc<Server>>,
    /// The nodes that others have named, until one fails.
    named: Vec<Arc<Server>>,
    /// The nodes that have responded for a hash slot last.
    owners: HashMap<u16, Arc<Server>>,
    /// Which is asked for an unknown hash slot, if it has a connection.
    next: usize,
    /// The key of the last call that failed.
    failed: Option<String>,
}

/// Forgets which node has a hash slot, if a call ends without a reply of use.
struct Attempt<'a> {
    cluster: &'a Cluster,
    key: &'a str,
    hash_slot: u16,
    has_succeeded: bool,
}

// ===== impl Cluster =====

impl Cluster {
    /// Returns `None` without a node.
    pub(crate) fn new(nodes: Vec<Client>) -> Option<Self> {
        let info = nodes.first()?.get_connection_info().clone();
        let first = nodes
            .into_iter()
            .map(|node| Arc::new(Server::new(node)))
            .collect();
        Some(Self {
            info,
            nodes: Mutex::new(Nodes {
                first,
                named: Vec::new(),
                owners: HashMap::new(),
                next: 0,
                failed: None,
            }),
        })
    }

    /// Returns the addresses of the URLs.
    pub(super) fn address(&self) -> String {
        let nodes = unpoisoned(self.nodes.lock());
        let addresses: Vec<String> = nodes.first.iter().map(|node| node.address()).collect();
        addresses.join(", ")
    }

    /// Calls the node that has the key of the last call that failed.
    pub(super) async fn probe(&self, timeout: Duration) -> Result<(), StoreError> {
        let failed = unpoisoned(self.nodes.lock()).failed.clone();
        let Some(key) = failed else {
            return Ok(());
        };
        let command = Command {
            script: &PROBE,
            key,
            args: Vec::new(),
        };
        self.run(&command, timeout).await.map(drop)
    }

    pub(super) async fn run(
        &self,
        command: &Command,
        timeout: Duration,
    ) -> Result<Value, StoreError> {
        let hash_slot = hash_slot(command.key.as_bytes());
        let mut attempt = Attempt {
            cluster: self,
            key: &command.key,
            hash_slot,
            has_succeeded: false,
        };
        let mut node = self.node_of(hash_slot);
        let mut is_asking = false;
        let mut tries = 1;
        loop {
            if node.is_silent(timeout) {
                return Err(StoreError::Unreachable(SILENT.into()));
            }
            let Failure {
                error,
                was_sent,
                redirect,
            } = match node.run(command, is_asking, timeout).await {
                Ok(reply) => {
                    attempt.has_succeeded = true;
                    return Ok(reply);
                }
                Err(failure) => failure,
            };
            if tries == MOST_TRIES {
                return Err(error);
            }
            tries += 1;
            is_asking = redirect.as_ref().is_some_and(|to| to.is_asking);
            match redirect {
                Some(to) => {
                    node = self.node_at(&to.address, &node).ok_or(error)?;
                    if !is_asking {
                        self.set_owner(hash_slot, &node);
                    }
                }
                None if was_sent => return Err(error),
                None => {
                    self.remove(hash_slot, &node);
                    node = self.node_of(hash_slot);
                }
            }
        }
    }

    /// Returns the node that has a hash slot, or else one that may know it.
    fn node_of(&self, hash_slot: u16) -> Arc<Server> {
        let nodes = unpoisoned(self.nodes.lock());
        if let Some(owner) = nodes.owners.get(&hash_slot) {
            return owner.clone();
        }
        let all: Vec<_> = nodes.first.iter().chain(&nodes.named).collect();
        let (before, next) = all.split_at(nodes.next % all.len());
        let mut in_turn = next.iter().chain(before);
        let open = in_turn.find(|node| node.is_open());
        Arc::clone(open.unwrap_or(&next[0]))
    }

    /// Returns the node at an address that another has named, or `None` if it is no address.
    fn node_at(&self, address: &str, named_by: &Server) -> Option<Arc<Server>> {
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let other = named_by.address();
        let host = match host {
            "" | "?" => other.rsplit_once(':')?.0,
            _ => host,
        };
        let address = format!("{host}:{port}");
        let mut nodes = unpoisoned(self.nodes.lock());
        let known = nodes.first.iter().chain(&nodes.named);
        if let Some(node) = { known }.find(|node| node.address() == address) {
            return Some(node.clone());
        }
        let client = Client::open(with_address(&self.info, host.to_owned(), port)).ok()?;
        let node = Arc::new(Server::new(client));
        if nodes.named.len() == MOST_NAMED {
            nodes.named.remove(0);
        }
        nodes.named.push(node.clone());
        Some(node)
    }

    fn set_owner(&self, hash_slot: u16, node: &Arc<Server>) {
        let mut nodes = unpoisoned(self.nodes.lock());
        nodes.owners.insert(hash_slot, node.clone());
    }

    /// Removes a node that can't be reached, until another one names it again.
    fn remove(&self, hash_slot: u16, node: &Arc<Server>) {
        let mut nodes = unpoisoned(self.nodes.lock());
        nodes.named.retain(|other| !Arc::ptr_eq(other, node));
        nodes.forget(hash_slot);
    }
}

// ===== impl Nodes =====

impl Nodes {
    /// Lets another node say which one has a hash slot.
    fn forget(&mut self, hash_slot: u16) {
        self.owners.remove(&hash_slot);
        self.next = self.next.wrapping_add(1);
    }
}

// ===== impl Attempt =====

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut nodes = unpoisoned(self.cluster.nodes.lock());
        if !self.has_succeeded {
            nodes.forget(self.hash_slot);
            nodes.failed = Some(self.key.to_owned());
        } else if nodes.failed.as_deref() == Some(self.key) {
            nodes.failed = None;
        }
    }
}

/// Returns the hash slot of a key: of the part in its first braces, if there is one.
fn hash_slot(key: &[u8]) -> u16 {
    let tag = || {
        let start = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[start..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[start..start + length])
    };
    crc16(tag().unwrap_or(key)) % HASH_SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

#[cfg(all(test, not(throttle_loom)))]
mod tests;
