//! Sentinels, which say where the master is.

use ::redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisResult};
use tokio::task::JoinSet;

use super::{classify, with_address};
use crate::limit::store::call::StoreError;

/// A master by its name, and the sentinels that know its address.
pub(crate) struct Sentinel {
    name: String,
    /// User, password, database and TLS of the master.
    info: ConnectionInfo,
    sentinels: Vec<Client>,
}

// ===== impl Sentinel =====

impl Sentinel {
    /// The host of `info` is the name. Returns `None` without a name or a sentinel.
    pub(crate) fn new(info: ConnectionInfo, sentinels: Vec<Client>) -> Option<Self> {
        let name = match info.addr() {
            ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. } => {
                name.clone()
            }
            _ => return None,
        };
        (!sentinels.is_empty()).then_some(Self {
            name,
            info,
            sentinels,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Asks all sentinels, and returns a client of the master that the first one names.
    pub(super) async fn master(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<Client, StoreError> {
        let mut questions = JoinSet::new();
        for sentinel in &self.sentinels {
            questions.spawn(address(sentinel.clone(), config.clone(), self.name.clone()));
        }
        let mut error = StoreError::Unreachable("no sentinel has responded".into());
        while let Some(answer) = questions.join_next().await {
            let client = match answer {
                Ok(Ok(Some((host, port)))) => Client::open(with_address(&self.info, host, port)),
                Ok(Ok(None)) => {
                    let reason = format!("a sentinel does not know the master `{}`", self.name);
                    error = StoreError::Unreachable(reason.into());
                    continue;
                }
                Ok(Err(reason)) => Err(reason),
                Err(_) => continue,
            };
            match client {
                Ok(client) => return Ok(client),
                Err(reason) => error = classify(&reason).0,
            }
        }
        Err(error)
    }
}

/// Asks a sentinel for the address of a master.
async fn address(
    sentinel: Client,
    config: AsyncConnectionConfig,
    name: String,
) -> RedisResult<Option<(String, u16)>> {
    let connection = sentinel.get_multiplexed_async_connection_with_config(&config);
    let mut connection = connection.await?;
    ::redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name)
        .query_async(&mut connection)
        .await
}
