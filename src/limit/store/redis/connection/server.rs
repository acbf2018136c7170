//! One connection to one server, which all calls share.
//!
//! ```text
//!            first call                 opened
//!  no session ────────▶ opening in a task ────▶ session ─▶ EVALSHA ─▶ EVAL, if it has no script
//!      ▲                      │ error             │ broken, read-only, loading,
//!      └──────────────────────┴───────────────────┘ or several calls without a reply
//! ```

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{sync::watch, time};

use super::{OPENING, classify, sentinel::Sentinel};
use crate::{
    limit::store::{call::StoreError, constants, redis::scripts::Command},
    sync::{AtomicU64, Mutex, Ordering, unpoisoned},
};

/// What is known if the task that opens a connection ends without a result.
const NOT_OPENED: &str = "the connection was not opened: \
    over TLS, install a default `CryptoProvider` of rustls before";

/// One server, and the session that all calls share.
pub(crate) struct Server {
    source: Source,
    session: Mutex<Option<Arc<Session>>>,
    /// Whether the last calls had no reply.
    is_silent: AtomicBool,
}

/// Where the server is.
#[derive(Clone)]
pub(in crate::limit::store::redis) enum Source {
    Client(Box<Client>),
    /// Sentinels name it whenever a connection is opened.
    Sentinel(Arc<Sentinel>),
}

/// Why a call had no reply of use.
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// Whether the server may have carried it out.
    pub(super) was_sent: bool,
    /// The node of a cluster that carries it out.
    pub(super) redirect: Option<Redirect>,
}

pub(super) struct Redirect {
    /// `host:port`. Without a host, it is the host of the node which has responded.
    pub(super) address: String,
    /// Whether it is about this call alone, since the key is being moved to that node.
    pub(super) is_asking: bool,
}

/// A connection, which may still be opening.
pub(super) struct Session {
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

// ===== impl Server =====

impl Server {
    pub(super) fn new(source: impl Into<Source>) -> Self {
        Self {
            source: source.into(),
            session: Mutex::new(None),
            is_silent: AtomicBool::new(false),
        }
    }

    /// Returns the host and port, or the path, without user and password.
    pub(super) fn address(&self) -> String {
        match &self.source {
            Source::Client(client) => client.get_connection_info().addr().to_string(),
            Source::Sentinel(sentinel) => sentinel.name().to_owned(),
        }
    }

    /// Runs a script at most once. With `is_asking`, also for a key that is being moved to this
    /// node of a cluster.
    pub(super) async fn run(
        &self,
        command: &Command,
        is_asking: bool,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let session = self.session(timeout);
        let connection = session.connection().await;
        let mut connection = connection.map_err(|error| {
            self.close(&session);
            Failure {
                error,
                was_sent: false,
                redirect: None,
            }
        })?;

        let mut pending = PendingReply {
            server: self,
            session: &session,
            has_come: false,
        };
        let script = command.script;
        let evalsha = command.to_redis("EVALSHA", script.sha1);
        let mut reply = query(evalsha, is_asking, &mut connection).await;
        // Servers forget scripts when they restart, and others have never seen it.
        if reply.as_ref().is_err_and(is_unknown_script) {
            let eval = command.to_redis("EVAL", script.text);
            reply = query(eval, is_asking, &mut connection).await;
        }
        pending.has_come = true;

        reply.map_err(|error| {
            let redirect = Redirect::of(&error);
            let (error, is_of_use) = classify(&error);
            // A node that knows which one has the key, is of use.
            if !is_of_use && redirect.is_none() {
                self.close(&session);
            }
            Failure {
                error,
                was_sent: true,
                redirect,
            }
        })
    }

    /// Returns whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        let session = unpoisoned(self.session.lock());
        session.as_ref().is_some_and(|session| session.is_open())
    }

    /// Returns whether the last calls had no reply, and there is no new connection yet. If so, one
    /// is being opened.
    pub(super) fn is_silent(&self, timeout: Duration) -> bool {
        if !self.is_silent.load(Ordering::Relaxed) {
            return false;
        }
        let session = self.session(timeout);
        if session
            .connection
            .borrow()
            .as_ref()
            .is_some_and(Result::is_err)
        {
            self.close(&session);
        }
        !session.is_open()
    }

    /// Lets the next call open another session.
    pub(super) fn reopen(&self) {
        *unpoisoned(self.session.lock()) = None;
    }

    /// Returns the current session. If there is none, begins to open one.
    pub(super) fn session(&self, timeout: Duration) -> Arc<Session> {
        let mut current = unpoisoned(self.session.lock());
        let session = current.get_or_insert_with(|| Arc::new(Session::open(&self.source, timeout)));
        session.clone()
    }

    /// Lets the next call open another session, if this is still the current one.
    fn close(&self, session: &Arc<Session>) {
        let mut current = unpoisoned(self.session.lock());
        current.take_if(|current| Arc::ptr_eq(current, session));
    }
}

// ===== impl Source =====

impl From<Client> for Source {
    fn from(client: Client) -> Self {
        Self::Client(Box::new(client))
    }
}

impl From<Sentinel> for Source {
    fn from(sentinel: Sentinel) -> Self {
        Self::Sentinel(Arc::new(sentinel))
    }
}

impl Source {
    async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, StoreError> {
        let client = match self {
            Self::Client(client) => *client.clone(),
            Self::Sentinel(sentinel) => sentinel.master(config).await?,
        };
        let opened = client.get_multiplexed_async_connection_with_config(config);
        opened.await.map_err(|error| classify(&error).0)
    }
}

// ===== impl Redirect =====

impl Redirect {
    fn of(error: &RedisError) -> Option<Self> {
        let (address, _) = error.redirect_node()?;
        Some(Self {
            address: address.to_owned(),
            is_asking: error.kind() == ErrorKind::Server(ServerErrorKind::Ask),
        })
    }
}

// ===== impl Session =====

impl Session {
    fn open(source: &Source, timeout: Duration) -> Self {
        let (sender, receiver) = watch::channel(None);
        let source = source.clone();
        let most = timeout.saturating_mul(OPENING);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(most))
            .set_response_timeout(None);
        tokio::spawn(async move {
            let opened = time::timeout(most, source.connect(&config)).await;
            sender.send_replace(Some(opened.unwrap_or(Err(StoreError::TimedOut))));
        });
        Self {
            connection: receiver,
            unanswered: AtomicU64::new(0),
        }
    }

    fn is_open(&self) -> bool {
        matches!(*self.connection.borrow(), Some(Ok(_)))
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

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let unanswered = &self.session.unanswered;
        if self.has_come {
            unanswered.store(0, Ordering::Relaxed);
            self.server.is_silent.store(false, Ordering::Relaxed);
        } else if unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= u64::from(constants::TIMEOUTS) {
            self.server.is_silent.store(true, Ordering::Relaxed);
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

async fn query(
    command: Cmd,
    is_asking: bool,
    connection: &mut MultiplexedConnection,
) -> RedisResult<Value> {
    if !is_asking {
        return command.query_async(connection).await;
    }
    let mut pipeline = ::redis::pipe();
    pipeline.cmd("ASKING").add_command(command);
    let mut replies = connection.req_packed_commands(&pipeline, 1, 1).await?;
    replies.pop().unwrap_or(Value::Nil).extract_error()
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
