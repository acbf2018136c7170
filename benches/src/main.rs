//! Compares each layer with its alternatives, interleaved in one run.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml
//! ```
//!
//! Machines are noisy, so nothing here is compared across runs. In each of many rounds every contender of a group runs
//! the same number of calls, one contender after the other. A ratio is the median over the rounds of what the two took in the same
//! round. `ns` is the median time of a call, and `allocs` the allocations of a call, counted.

mod cache;
mod calls;
mod gateway;
mod groups;
mod measure;
#[cfg(feature = "metrics")]
mod metrics;
mod per_key;
mod provider;
#[cfg(feature = "shared")]
#[path = "../../tests/redis/server.rs"]
mod server;
#[cfg(feature = "shared")]
mod shared;
#[cfg(feature = "shared")]
mod shared_clients;
mod stores;
mod waiters;

fn main() {
    // tower's layers need a runtime for their timers.
    let runtime: &'static _ = Box::leak(Box::new(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime"),
    ));
    let _entered = runtime.enter();
    let only = std::env::args().nth(1).unwrap_or_default();
    if only == gateway::BARE {
        let provider = std::env::args().nth(2).unwrap_or_default();
        return gateway::bare_proxy(runtime, &provider);
    }
    // Needs another program, so it runs only if it is named.
    if only == gateway::NAME {
        return gateway::run(runtime);
    }
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>7}",
        "", "ns", "ratio", "goal", "allocs"
    );
    for group in groups::all()
        .into_iter()
        .chain(provider::all(runtime))
        .chain(cache::all())
        .chain(per_key::all())
    {
        if group.name().contains(&only) {
            group.run();
        }
    }
    #[cfg(feature = "metrics")]
    if metrics::NAME.contains(&only) {
        metrics::all().run();
    }
    if stores::NAME.contains(&only) {
        stores::all().run();
    }
    if waiters::NAME.contains(&only) {
        waiters::run(runtime);
    }
    #[cfg(feature = "shared")]
    if shared::NAME.contains(&only) {
        shared::run(runtime);
    }
    #[cfg(feature = "shared")]
    if shared_clients::NAME.contains(&only) {
        shared_clients::run(runtime);
    }
    if "bytes a key".contains(&only) || "a flood of new keys".contains(&only) {
        per_key::memory();
        per_key::flood();
    }
}
