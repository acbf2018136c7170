//! One connection to a server, which all calls share.
//!
//! ```text
//!            first call                 opened
//!  no session ────────▶ opening in a task ────▶ session ─▶ EVALSHA ─▶ EVAL, if it has no script
//!      ▲                      │ error             │ broken, read-only, loading, moved,
//!      └──────────────────────┴───────────────────┘ or several calls without a reply
//! ```
//!
//! No call waits for longer than its timeout, whatever the state is: it does not open a connection,
//! it waits for the one that a task opens for all.

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::watch, time};

use super::scripts::{self, Command};
use crate::{
    limit::store::call::{Call, CallFuture, Store, StoreError},
    sync::{AtomicU64, Mutex, Ordering, unpoisoned},
};

/// How long opening may take, in timeouts of a call: over TLS it takes four round trips, and a name
/// has to be resolved. No call waits for it.
pub(super) const OPENING: u32 = 4;

/// After so many calls in a row without a reply, a connection is opened again.
const MOST_UNANSWERED: u64 = 3;

/// Replies of a server that has become the wrong one, or is not ready: another connection may lead
/// to the right one.
const REOPENED: [&str; 5] = ["CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "READONLY"];

/// What is known if the task that opens a connection ends without a result.
const NOT_OPENED: &str = "the connection was not opened: \
    over TLS, install a default `CryptoProvider` of rustls before";

/// A store in Redis or Valkey.
#[derive(Clone)]
pub(crate) struct Connection {
    server: Arc<Server>,
    prefix: Arc<str>,
    timeout: Duration,
}

/// One server, and the session that all calls share.
struct Server {
    client: Client,
    session: Mutex<Option<Arc<Session>>>,
}

/// A connection, which may still be opening.
struct Session {
    connection: watch::Receiver<Option<Result<MultiplexedConnection, StoreError>>>,
    /// How many calls in a row had no reply.
    unanswered: AtomicU64,
}

/// Counts a call that ends without a reply: at its deadline, or since its caller has dropped it.
struct PendingReply<'a> {
    server: &'a Server,
    session: &'a Arc<Session>,
    has_come: bool,
}

// ===== impl Connection =====

impl Connection {
    /// Connects when it is called first.
    pub(super) fn new(client: Client, prefix: Arc<str>, timeout: Duration) -> Self {
        Self {
            server: Arc::new(Server {
                client,
                session: Mutex::new(None),
            }),
            prefix,
            timeout,
        }
    }

    /// The same connection with other settings.
    pub(super) fn with(&self, prefix: Arc<str>, timeout: Duration) -> Self {
        Self {
            server: self.server.clone(),
            prefix,
            timeout,
        }
    }

    pub(super) fn prefix(&self) -> Arc<str> {
        self.prefix.clone()
    }

    /// Returns the host and port, or the path, without user and password.
    pub(super) fn address(&self) -> String {
        self.server.client.get_connection_info().addr().to_string()
    }

    /// Runs a script within the timeout.
    async fn run(&self, command: &Command) -> Result<Value, StoreError> {
        let reply = time::timeout(self.timeout, self.send(command)).await;
        reply.unwrap_or(Err(StoreError::TimedOut))
    }

    async fn send(&self, command: &Command) -> Result<Value, StoreError> {
        let session = self.server.session(self.timeout);
        let connection = session.connection().await;
        let mut connection = connection.inspect_err(|_| self.server.close(&session))?;

        let mut pending = PendingReply::new(&self.server, &session);
        let script = command.script;
        let mut reply = command
            .to_redis("EVALSHA", script.sha1)
            .query_async(&mut connection)
            .await;
        // Servers forget scripts when they restart, and others have never seen it.
        if reply.as_ref().is_err_and(is_unknown_script) {
            reply = command
                .to_redis("EVAL", script.text)
                .query_async(&mut connection)
                .await;
        }
        pending.has_come = true;

        reply.map_err(|error| {
            let (error, is_of_use) = classify(&error);
            if !is_of_use {
                self.server.close(&session);
            }
            error
        })
    }
}

impl Store for Connection {
    fn call(&self, call: Call) -> CallFuture {
        let connection = self.clone();
        Box::pin(async move {
            let command = scripts::encode(&call, &connection.prefix);
            scripts::decode(&call, &connection.run(&command).await?)
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

// ===== impl Server =====

impl Server {
    /// Returns the current session. If there is none, begins to open one.
    fn session(&self, timeout: Duration) -> Arc<Session> {
        let mut current = unpoisoned(self.session.lock());
        let session = current.get_or_insert_with(|| Arc::new(Session::open(&self.client, timeout)));
        session.clone()
    }

    /// Lets the next call open another session, if this is still the current one.
    fn close(&self, session: &Arc<Session>) {
        let mut current = unpoisoned(self.session.lock());
        current.take_if(|current| Arc::ptr_eq(current, session));
    }
}

// ===== impl Session =====

impl Session {
    fn open(client: &Client, timeout: Duration) -> Self {
        let (sender, receiver) = watch::channel(None);
        let client = client.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout.saturating_mul(OPENING)))
            .set_response_timeout(None);
        tokio::spawn(async move {
            let opened = client
                .get_multiplexed_async_connection_with_config(&config)
                .await;
            sender.send_replace(Some(opened.map_err(|error| classify(&error).0)));
        });
        Self {
            connection: receiver,
            unanswered: AtomicU64::new(0),
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let mut receiver = self.connection.clone();
        let opened = receiver.wait_for(Option::is_some).await.ok();
        opened
            .and_then(|opened| opened.clone())
            .unwrap_or_else(|| Err(StoreError::Unreachable(NOT_OPENED.into())))
    }
}

// ===== impl PendingReply =====

impl<'a> PendingReply<'a> {
    fn new(server: &'a Server, session: &'a Arc<Session>) -> Self {
        Self {
            server,
            session,
            has_come: false,
        }
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let unanswered = &self.session.unanswered;
        if self.has_come {
            unanswered.store(0, Ordering::Relaxed);
        } else if unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_UNANSWERED {
            self.server.close(self.session);
        }
    }
}

// ===== impl Command =====

impl Command {
    /// `script` is its text or its hash, as `name` says.
    fn to_redis(&self, name: &str, script: &str) -> Cmd {
        let mut command = ::redis::cmd(name);
        command.arg(script).arg(1).arg(&self.key).arg(&self.args);
        command
    }
}

// ===== errors =====

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

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
