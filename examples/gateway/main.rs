//! A gateway to providers of AI models, with the layers of this crate and a live page.
//!
//! ```text
//! cargo run --release --example gateway                     with simulated providers
//! cargo run --release --example gateway -- --config FILE    with yours, as in config.toml
//! ```
//!
//! A request passes through `callers.rs` (who sends it, and the limits of each), `routes.rs` (which
//! API it is for) and `providers.rs` (cache, fallback, retry and router). `failure.rs` makes
//! errors that the SDK of the route understands, `tokens.rs` reads what a response has used, and
//! `figures.rs` counts for the page and for `/metrics`. `settings.rs` reads the file. The providers
//! of the file and the simulated ones are the same as in the example `batch`.

#![allow(dead_code, reason = "of the modules of another example")]

mod callers;
mod failure;
mod figures;
mod providers;
mod routes;
mod settings;
mod tokens;

// Of the example `batch`, which uses the rest of them.
#[path = "../batch/cli.rs"]
mod cli;
#[path = "../batch/config.rs"]
mod config;
#[path = "../batch/endpoint.rs"]
mod endpoint;
#[path = "../batch/jobs.rs"]
mod jobs;
#[path = "../batch/simulate.rs"]
mod simulate;
#[path = "../batch/simulator/mod.rs"]
mod simulator;
#[path = "../batch/values.rs"]
mod values;

#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::{net::TcpListener, signal};

use crate::{routes::Gateway, settings::Settings};

/// A gateway to providers of AI models, with a live page.
#[derive(Debug, Parser)]
#[command(name = "gateway")]
struct Args {
    /// The port on 127.0.0.1; 0 lets the system choose
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The providers and the callers, as in examples/gateway/config.toml. Without it, simulated
    /// providers respond
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::from(2)
        }
    }
}

#[tokio::main]
async fn start(args: &Args) -> Result<()> {
    // They stop when they are dropped.
    let (settings, _simulators) = match &args.config {
        None => settings::simulated().await?,
        Some(path) => {
            let text = config::load(path)?;
            (Settings::parse(&path.to_string_lossy(), &text)?, Vec::new())
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let listener = listener.context("cannot listen there: give another --port, or 0")?;
    let address = listener.local_addr()?;
    let (gateway, app) = routes::app(settings)?;
    println!("listening on http://{address}");
    let key = args.config.as_ref().map_or("demo", |_| "$KEY");
    println!(
        "curl http://{address}/v1/chat/completions -H 'content-type: application/json' -H \
         \"authorization: Bearer {key}\" -d '{{\"model\": \"auto\", \"messages\": [{{\"role\": \
         \"user\", \"content\": \"hello\"}}]}}'"
    );
    let server = axum::serve(listener, app).with_graceful_shutdown(stopped(gateway.clone()));
    server.await?;
    // Other gateways have at once what this one has taken and not used.
    if let Some(redis) = &gateway.redis {
        redis.leave().await;
    }
    Ok(())
}

/// Waits for SIGTERM, or else for Ctrl-C. Then requests in the queues are rejected, and responses
/// that have begun end as usual.
async fn stopped(gateway: Arc<Gateway>) {
    #[cfg(unix)]
    match signal::unix::signal(signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => drop(signal::ctrl_c().await),
    }
    #[cfg(not(unix))]
    drop(signal::ctrl_c().await);
    gateway.close();
}
