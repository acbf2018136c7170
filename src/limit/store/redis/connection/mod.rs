//! The connection to one server, or to the nodes of a cluster.
//!
//! A call does not open a connection, it waits for the one that a task opens for all. Its caller
//! drops it after its timeout.

mod cluster;
mod sentinel;
mod server;

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{ConnectionAddr, ConnectionInfo, RedisError, Value};

use self::server::{Server, Source};
pub(super) use self::{cluster::Cluster, sentinel::Sentinel};
use super::scripts::{self, Command};
use crate::limit::store::call::{Call, CallFuture, Store, StoreError};

/// How long opening may take, in timeouts of a call: over TLS it takes four round trips, and a name
/// has to be resolved. No call waits for it.
pub(super) const OPENING: u32 = 4;

/// Replies of a server that has become the wrong one, or is not ready: another connection may lead
/// to the right one.
const REOPENED: [&str; 5] = ["CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "READONLY"];

/// A store in Redis or Valkey, to which the first call connects.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) servers: Servers,
    pub(super) prefix: Arc<str>,
    /// How long a call may take.
    pub(super) timeout: Duration,
}

/// Where the state is.
#[derive(Clone)]
pub(super) enum Servers {
    One(Arc<Server>),
    Cluster(Arc<Cluster>),
}

// ===== impl Connection =====

impl Connection {
    /// Returns hosts and ports, the path, or the name of a master, without user and password.
    pub(super) fn address(&self) -> String {
        match &self.servers {
            Servers::One(server) => server.address(),
            Servers::Cluster(cluster) => cluster.address(),
        }
    }

    async fn run(&self, command: &Command) -> Result<Value, StoreError> {
        match &self.servers {
            Servers::One(server) => {
                let reply = server.run(command, false, self.timeout).await;
                reply.map_err(|failure| {
                    // Another connection may lead to the right node.
                    if failure.redirect.is_some() {
                        server.reopen();
                    }
                    failure.error
                })
            }
            Servers::Cluster(cluster) => cluster.run(command, self.timeout).await,
        }
    }
}

impl Store for Connection {
    fn call(&self, call: Call) -> CallFuture {
        let connection = self.clone();
        Box::pin(async move {
            let command = scripts::encode(&call, &connection.prefix);
            let reply = scripts::decode(&call, &connection.run(&command).await?)?;
            if let (Call::Beat { .. }, Servers::Cluster(cluster)) = (&call, &connection.servers) {
                cluster.probe(connection.timeout).await?;
            }
            Ok(reply)
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

// ===== impl Servers =====

impl Servers {
    pub(super) fn one(source: impl Into<Source>) -> Self {
        Self::One(Arc::new(Server::new(source)))
    }
}

/// Returns the same user, password, database and TLS at another address.
fn with_address(info: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let mut address = info.addr().clone();
    match &mut address {
        ConnectionAddr::TcpTls {
            host: other_host,
            port: other_port,
            ..
        } => (*other_host, *other_port) = (host, port),
        address => *address = ConnectionAddr::Tcp(host, port),
    }
    info.clone().set_addr(address)
}

// ===== errors =====

/// Returns the error, and whether the connection is still of use.
fn classify(error: &RedisError) -> (StoreError, bool) {
    if error.is_timeout() {
        return (StoreError::TimedOut, false);
    }
    let Some(code) = error.code() else {
        return (StoreError::Unreachable(line(&error.to_string())), false);
    };
    let text = line(&format!("{code} {}", error.detail().unwrap_or_default()));
    // Before Redis 7, an error inside a script is quoted: "ERR Error running script … -READONLY …".
    let says = |code: &str| text.starts_with(code) || text.contains(&format!("-{code} "));
    if REOPENED.iter().any(|code| says(code)) {
        (StoreError::Unreachable(text), false)
    } else if says("WRONGTYPE") || (code == "ERR" && text.contains("user_script") && !says("OOM")) {
        (StoreError::Unreadable(text), true)
    } else {
        (StoreError::Unreachable(text), true)
    }
}

/// Returns the first line without control characters, which a log could take for its own.
fn line(text: &str) -> Arc<str> {
    let line = text.lines().next().unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .into()
}

#[cfg(all(test, not(throttle_loom)))]
mod tests;
