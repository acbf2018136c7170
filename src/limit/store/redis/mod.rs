//! Limits that several processes share, in Redis or Valkey.
//!
//! # Examples
//!
//! ```
//! use tower_throttle::{Quota, Redis, TokenBucketLayer};
//!
//! // Connects on first use. `Redis::connect(url).await?` connects at once.
//! let redis = Redis::new("redis://127.0.0.1:6379")?;
//! // 500 requests a minute, by all processes together.
//! let layer = TokenBucketLayer::new(Quota::per_minute(500)).shared(&redis, "openai");
//! # let _ = layer;
//! # Ok::<(), tower_throttle::redis::RedisError>(())
//! ```
//!
//! # Server
//!
//! Redis 5 or later, or Valkey: one server, a master that [sentinels](Redis::sentinel) name, or a
//! [cluster](Redis::cluster). All processes need the same [`prefix`](Redis::prefix) and
//! [`timeout`](Redis::timeout). Their clocks may differ, since only the clock of the server counts.
//!
//! | setting of the server | why |
//! | --- | --- |
//! | `maxmemory-policy noeviction`, or no `maxmemory` | an evicted limit starts again |
//! | `appendonly` or `save` | not needed: after a loss the processes report what they took |
//! | a user with the rights below | these are enough, for the default prefix |
//!
//! ```text
//! ACL SETUSER throttle on >secret ~tt:* +@connection -@dangerous +evalsha +eval
//! ACL SETUSER throttle +get +set +setrange +del +time
//! ```
//!
//! # If the server cannot be reached
//!
//! No call waits for it for longer than [`timeout`](Redis::timeout). After that, limits do what
//! [`when_down`](Redis::when_down) says, until the server responds again. [`status`](Redis::status)
//! tells which it is.
//!
//! # TLS
//!
//! `rediss://` needs the feature `redis-tls`. The application chooses the cryptography, and
//! installs it before it connects: `rustls::crypto::ring::default_provider().install_default()`.
//! [`Redis::from_client`] takes a client with its own certificates.

mod connection;
mod scripts;
/// The server of the ignored tests.
#[cfg(all(test, not(throttle_loom)))]
#[path = "../../../../tests/redis/server.rs"]
mod server;
#[cfg(all(test, not(throttle_loom)))]
mod tests;

use std::{error, fmt, sync::Arc, time::Duration};

use ::redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisResult};

use self::connection::{Cluster, Connection, Sentinel, Servers};
pub use super::settings::{Status, WhenDown};
use super::{call::StoreError, handle::Handle, settings::StoreSettings};
#[cfg(feature = "metrics")]
use crate::telemetry::metrics;

const DEFAULT_PREFIX: &str = "tt";

/// The shortest timeout: a grant of a store is good for at least as long.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// Longer ones would only delay what happens if the server is down.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A process has several chances to renew.
const SHORTEST_SLOT_TTL: Duration = Duration::from_secs(1);

/// A server or a cluster of Redis or Valkey, in which several processes share their limits.
///
/// Clones share the connection. The settings come before the first use.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_throttle::{Redis, WhenDown};
///
/// let redis = Redis::new("redis://127.0.0.1:6379")?
///     .prefix("my-service")
///     .timeout(Duration::from_millis(100))
///     .when_down(WhenDown::Local)
///     .processes(4);
/// assert!(!redis.status().is_connected); // connects on first use
/// # Ok::<(), tower_throttle::redis::RedisError>(())
/// ```
///
/// The [module](self) describes what the server needs.
#[derive(Clone)]
#[must_use]
pub struct Redis {
    connection: Connection,
    handle: Arc<Handle>,
}

/// Error of a server that cannot be used, or of its URL. Returned by [`Redis::new`],
/// [`Redis::connect`], [`Redis::cluster`] and [`Redis::sentinel`].
///
/// It never holds the URL, which may contain a password.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisError {
    /// The URL has another scheme than `redis`, `rediss`, `valkey`, `valkeys` or `unix`, or none.
    UnknownScheme(Option<String>),
    /// The URL asks for TLS, for which the feature `redis-tls` is needed.
    TlsDisabled,
    /// The URL is invalid in another way, which the text describes.
    InvalidUrl(String),
    /// The server cannot be reached, or rejects the connection or the calls.
    Unreachable {
        /// Host and port, or the path of the socket.
        address: String,
        /// The error of the connection or of the server.
        reason: Arc<str>,
    },
    /// The server did not respond in time.
    TimedOut {
        /// Host and port, or the path of the socket.
        address: String,
        /// The time that it had.
        waited: Duration,
    },
}

// ===== impl Redis =====

impl Redis {
    /// Connects to a server, and checks that it accepts what limits need.
    ///
    /// The URL is `redis://`, or `rediss://` for TLS, then `user:password@` if needed, host, port
    /// (6379 by default), and the number of the database, such as
    /// `redis://user:password@example.com:6379/0`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid, if the server does not respond within a second, or
    /// if it rejects the connection or a first call. [`Redis::new`] starts without the server.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed, and nothing else has happened.
    pub async fn connect(url: &str) -> Result<Self, RedisError> {
        let redis = Self::new(url)?;
        let mut result = Err(StoreError::TimedOut);
        // Opening a connection may take several timeouts of a call.
        for _ in 0..connection::OPENING {
            result = redis.handle.beat().await;
            if result != Err(StoreError::TimedOut) {
                break;
            }
        }
        match result {
            Ok(_) => Ok(redis),
            Err(error) => Err(redis.error(error)),
        }
    }

    /// Uses a server, to which the first request connects.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid. See [`Redis::connect`] for its form.
    ///
    /// ```
    /// use tower_throttle::{Redis, redis::RedisError};
    ///
    /// let error = Redis::new("http://127.0.0.1").unwrap_err();
    /// assert_eq!(error, RedisError::UnknownScheme(Some("http".to_owned())));
    /// ```
    pub fn new(url: &str) -> Result<Self, RedisError> {
        Ok(Self::from_servers(Servers::one(client(url)?)))
    }

    /// Uses a cluster, to which the first request connects.
    ///
    /// The URLs name some of the nodes: the others are found through them. All nodes are connected
    /// with the user, the password and the TLS of the first URL, and all use database 0. List as
    /// many nodes as can be down at once, and one more; one name for all nodes is enough if it
    /// resolves to one that is up.
    ///
    /// Each name of a limit is one key, and each client of a limit per key another. So they are
    /// spread over the nodes.
    ///
    /// # Errors
    ///
    /// Returns an error if a URL is invalid, or if there is none. See [`Redis::connect`] for their
    /// form.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{Quota, Redis, TokenBucketLayer};
    ///
    /// let redis = Redis::cluster(["redis://node-1:6379", "redis://node-2:6379"])?;
    /// let layer = TokenBucketLayer::new(Quota::per_minute(500)).shared(&redis, "openai");
    /// # let _ = layer;
    /// # Ok::<(), tower_throttle::redis::RedisError>(())
    /// ```
    pub fn cluster<U: AsRef<str>>(nodes: impl IntoIterator<Item = U>) -> Result<Self, RedisError> {
        let cluster = Cluster::new(clients(nodes)?).ok_or_else(no_url)?;
        Ok(Self::from_servers(Servers::Cluster(Arc::new(cluster))))
    }

    /// Uses the master that sentinels name, to which the first request connects. They are asked
    /// whenever a connection is opened, all at once, and the first that knows the master decides.
    ///
    /// `master` is its name, such as `mymaster`. If it needs a user, a password, another database
    /// than 0, or TLS, write a URL in which the name is the host. The URLs of the sentinels have
    /// a user and a password of their own, if any, and need a port.
    ///
    /// # Errors
    ///
    /// Returns an error if a URL is invalid, or if there is none. See [`Redis::connect`] for their
    /// form.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::Redis;
    ///
    /// let sentinels = ["redis://sentinel-1:26379", "redis://sentinel-2:26379"];
    /// let redis = Redis::sentinel("mymaster", sentinels)?;
    /// let redis = Redis::sentinel("redis://user:password@mymaster/0", sentinels)?;
    /// # Ok::<(), tower_throttle::redis::RedisError>(())
    /// ```
    pub fn sentinel<U: AsRef<str>>(
        master: &str,
        sentinels: impl IntoIterator<Item = U>,
    ) -> Result<Self, RedisError> {
        let url = match master.contains("://") {
            true => master.to_owned(),
            false => format!("redis://{master}"),
        };
        let info = client(&url)?.get_connection_info().clone();
        let sentinel = Sentinel::new(info, clients(sentinels)?).ok_or_else(no_url)?;
        Ok(Self::from_servers(Servers::one(sentinel)))
    }

    /// Uses a client of the crate `redis`, for certificates and whatever else a URL cannot say. The
    /// first request connects.
    pub fn from_client(client: Client) -> Self {
        let info = client.get_connection_info().clone();
        Self::from_servers(Servers::one(without_delay(info).unwrap_or(client)))
    }

    fn from_servers(servers: Servers) -> Self {
        let settings = StoreSettings::default();
        let connection = Connection {
            servers,
            prefix: DEFAULT_PREFIX.into(),
            timeout: settings.timeout,
        };
        Self {
            handle: Handle::new(Arc::new(connection.clone()), settings),
            connection,
        }
    }

    /// The same process with other settings.
    fn with(mut self, change: impl FnOnce(&mut StoreSettings)) -> Self {
        let mut settings = self.handle.settings;
        change(&mut settings);
        self.connection.timeout = settings.timeout;
        let store = Arc::new(self.connection.clone());
        self.handle = Handle::of_process(self.handle.process, store, settings);
        self
    }

    /// Sets the start of all keys in the server, `tt` by default. Processes with another prefix do
    /// not share limits.
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.connection.prefix = prefix.into();
        self.with(|_| {})
    }

    /// Sets how long a call of the server may take, from 10 ms to a minute, 250 ms by default. It
    /// must be the same in all processes.
    ///
    /// A request that a call delays waits for at most this long for it. Units that one process has
    /// taken and not used are back for the others after about as long.
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout = timeout.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT);
        self.with(|settings| settings.timeout = timeout)
    }

    /// Sets what the limits do while the server cannot be reached, [`WhenDown::Local`] by default.
    pub fn when_down(self, when_down: WhenDown) -> Self {
        self.with(|settings| settings.when_down = when_down)
    }

    /// Sets how many processes share the limits until the server has said it, 1 by default. It
    /// matters for processes that start while the server is down: see [`WhenDown::Local`].
    pub fn processes(self, processes: u64) -> Self {
        self.with(|settings| settings.processes = processes.max(1))
    }

    /// Sets how long a process that is not heard of keeps its slots of a shared
    /// [`ConcurrencyLayer`](crate::ConcurrencyLayer), 10 s by default and a second at least. A
    /// process that was stopped for longer, and continues, has its requests in flight beside the
    /// requests that have taken over the slots.
    pub fn slot_ttl(self, slot_ttl: Duration) -> Self {
        self.with(|settings| settings.slot_ttl = slot_ttl.max(SHORTEST_SLOT_TTL))
    }

    pub(crate) fn handle(&self) -> Arc<Handle> {
        self.handle.clone()
    }

    /// Returns whether the server is connected, and counters.
    #[must_use]
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// Gives back at once what this process has taken and not used, for a graceful stop. Otherwise
    /// the other processes have it after a while.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it is given back all the same, while the runtime lives.
    pub async fn leave(&self) {
        self.handle.leave().await;
    }

    fn error(&self, error: StoreError) -> RedisError {
        let address = self.connection.address();
        match error {
            StoreError::TimedOut => RedisError::TimedOut {
                address,
                waited: self.handle.settings.timeout * connection::OPENING,
            },
            StoreError::Unreachable(reason) | StoreError::Unreadable(reason) => {
                RedisError::Unreachable { address, reason }
            }
        }
    }
}

#[cfg(feature = "metrics")]
impl metrics::Publish for Redis {
    /// Records nothing before the first call.
    fn publish(&self, name: &'static str) {
        let status = self.status();
        if status.since.is_some() {
            metrics::store(name, status.is_connected, status.processes);
        }
    }
}

crate::macros::debug!(impl Debug for Redis |self| {
    connection,
    settings: self.handle.settings,
    ..
});

fn client(url: &str) -> Result<Client, RedisError> {
    check_scheme(url)?;
    let client = url.into_connection_info().and_then(without_delay);
    client.map_err(invalid_url)
}

fn clients<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Vec<Client>, RedisError> {
    urls.into_iter().map(|url| client(url.as_ref())).collect()
}

fn check_scheme(url: &str) -> Result<(), RedisError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("rediss" | "valkeys") if !cfg!(feature = "redis-tls") => Err(RedisError::TlsDisabled),
        Some("redis" | "valkey" | "rediss" | "valkeys" | "unix" | "redis+unix" | "valkey+unix") => {
            Ok(())
        }
        other => Err(RedisError::UnknownScheme(other.map(str::to_owned))),
    }
}

/// Without Nagle's algorithm, which lets a call wait until the one before it has been acknowledged.
fn without_delay(info: ConnectionInfo) -> RedisResult<Client> {
    let settings = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(settings))
}

#[expect(clippy::needless_pass_by_value, reason = "given to `map_err`")]
fn invalid_url(error: ::redis::RedisError) -> RedisError {
    RedisError::InvalidUrl(error.to_string().replace(" - InvalidClientConfig", ""))
}

fn no_url() -> RedisError {
    RedisError::InvalidUrl("there is none".to_owned())
}

// ===== impl RedisError =====

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScheme(Some(scheme)) => write!(
                f,
                "`{scheme}://` is not a URL of Redis: \
                 use `redis://`, `rediss://` for TLS, or `unix://`"
            ),
            Self::UnknownScheme(None) => {
                f.write_str("the URL of Redis has no scheme: use `redis://` before the host")
            }
            Self::TlsDisabled => f.write_str(
                "TLS to Redis is not enabled: enable the feature `redis-tls` of tower-throttle",
            ),
            Self::InvalidUrl(reason) => write!(
                f,
                "invalid URL of Redis: {reason}: use `redis://user:password@host:port/database`"
            ),
            Self::Unreachable { address, reason } if reason.starts_with("MOVED") => write!(
                f,
                "Redis at {address} is a node of a cluster: use `Redis::cluster`: {reason}"
            ),
            Self::Unreachable { address, reason } => {
                write!(f, "cannot use Redis at {address}: {reason}")
            }
            Self::TimedOut { address, waited } => write!(
                f,
                "Redis at {address} did not respond within {waited:?}: check the address, or use \
                `Redis::new` with a longer `timeout`"
            ),
        }
    }
}

impl error::Error for RedisError {}
