//! What users set about a store, and what they can see of it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

/// What the limits do while their store cannot be reached.
///
/// | | while the store is down | at most |
/// | --- | --- | --- |
/// | [`Local`](Self::Local) | each process keeps to its part of the limit | the limit, once a period has passed since the store went down or came back; twice the limit in between |
/// | [`Closed`](Self::Closed) | no request is admitted | the limit |
/// | [`Open`](Self::Open) | all requests are admitted | no limit |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenDown {
    /// Each process keeps to a limit of its own: the shared one, divided by the number of processes
    /// that the store knew of. Requests that wait are served from it.
    #[default]
    Local,
    /// No request is admitted, so that the limit is never exceeded. Requests wait until the store
    /// is back, for at most their `max_wait`.
    Closed,
    /// All requests are admitted, without a limit.
    Open,
}

/// State of the connection to a store, as this process sees it. Returned by
/// [`Redis::status`](super::redis::Redis::status).
///
/// The [`Display`](fmt::Display) form is a line for a log.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Status {
    /// Whether the last call had a reply. `false` before the first one.
    pub is_connected: bool,
    /// When `is_connected` changed to what it is. `None` before the first call has ended.
    pub since: Option<Instant>,
    /// How many processes share the store, as it last said.
    pub processes: u64,
    /// How often this process has asked the store.
    pub asks: u64,
    /// How many of its asks have failed.
    pub errors: u64,
    /// How often this process has reported what it took, since the store had lost it.
    pub restores: u64,
    /// Why an ask has failed, the last time that one did.
    pub last_error: Option<Arc<str>>,
}

/// What the calls of a store need to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreSettings {
    /// How long a call may take.
    pub(crate) timeout: Duration,
    pub(crate) when_down: WhenDown,
    /// How long a process that is not heard of keeps its slots of a concurrency limit.
    pub(crate) slot_ttl: Duration,
    /// How many processes there are, before the store has said it. At least 1.
    pub(crate) processes: u64,
}

// ===== impl StoreSettings =====

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(250),
            when_down: WhenDown::default(),
            slot_ttl: Duration::from_secs(10),
            processes: 1,
        }
    }
}

// ===== impl Status =====

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.is_connected { "" } else { "not " };
        let since = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        write!(
            f,
            "{not}connected for {} s, {} processes, {} asks, {} errors, {} restores",
            since.as_secs(),
            self.processes,
            self.asks,
            self.errors,
            self.restores
        )?;
        match &self.last_error {
            Some(error) => write!(f, ", last error: {error}"),
            None => Ok(()),
        }
    }
}
