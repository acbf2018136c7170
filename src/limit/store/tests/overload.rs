//! More clients than a server can serve.

use tokio::time::sleep_until;

use super::*;
use crate::{limit::Quota, per_key::PerKeyLimiter};

const SECOND: Duration = Duration::from_secs(1);
const CLIENTS: u64 = 1_000;
/// What a server does in a second.
const CAPACITY: u64 = 2_000;

/// A server that carries out one call after the other, also if nobody waits for it any more.
#[derive(Debug, Clone)]
struct Server {
    model: Model,
    /// When it has carried out all calls.
    idle_at: Arc<Mutex<Instant>>,
}

impl Server {
    fn new() -> Self {
        Self {
            model: Model::new(),
            idle_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    fn process(&self) -> Arc<Handle> {
        let settings = StoreSettings {
            when_down: WhenDown::Closed,
            ..StoreSettings::default()
        };
        Handle::new(Arc::new(self.clone()), settings)
    }
}

impl Store for Server {
    fn call(&self, call: Call) -> CallFuture {
        let server = self.clone();
        let done_at = {
            let mut idle_at = self.idle_at.lock().unwrap();
            *idle_at = (*idle_at).max(Instant::now()) + SECOND / u32::try_from(CAPACITY).unwrap();
            *idle_at
        };
        let carried_out = tokio::spawn(async move {
            sleep_until(done_at).await;
            server.model.call(call).await
        });
        Box::pin(async move { carried_out.await.unwrap() })
    }
}

/// Sends so many requests in each second, of one client after the other. Returns the part that was
/// admitted.
async fn send(processes: &[PerKeyLimiter], rate: u64, time: Duration) -> f64 {
    let (start, admitted) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let all = rate * time.as_secs();
    for number in 0..all {
        sleep_until(start + time.mul_f64(number as f64 / all as f64)).await;
        let client = number % CLIENTS;
        let turn = usize::try_from(number / CLIENTS + client).unwrap();
        let process = processes[turn % processes.len()].clone();
        let admitted = admitted.clone();
        tokio::spawn(async move {
            let permit = process.acquire_within(client.into(), 1, Duration::ZERO);
            admitted.fetch_add(u64::from(permit.await.is_ok()), Ordering::Relaxed);
        });
    }
    sleep(SECOND / 2).await;
    admitted.load(Ordering::Relaxed) as f64 / all as f64
}

#[tokio::test(start_paused = true)]
async fn overload_leaves_what_the_server_can_do() {
    let server = Server::new();
    let processes = [(); 4].map(|()| {
        let limiter = PerKeyLimiter::new(Quota::per_second(100));
        limiter.in_store(server.process(), "clients".into())
    });
    let (before, over) = (CAPACITY / 4, CAPACITY * 3);
    assert_eq!(send(&processes, before, SECOND * 2).await, 1.0);
    let admitted = send(&processes, over, SECOND * 3).await;
    let part = admitted * over as f64 / CAPACITY as f64;
    println!("{part} of what the server can do");
    assert!(part >= 0.8, "{part}");
    // It ends at once.
    let first = send(&processes, before, SECOND).await;
    assert!(first >= 0.95, "{first}");
    assert_eq!(send(&processes, before, SECOND * 2).await, 1.0);
}
