//! More clients than a server can serve.

use tokio::time::sleep_until;

use super::*;
use crate::{limit::Quota, per_key::PerKeyLimiter};

const SECOND: Duration = Duration::from_secs(1);
const CLIENTS: u64 = 1_000;
/// What a server does in a second.
const CAPACITY: u64 = 4_000;

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

    fn processes(&self, quota: Quota, when_down: WhenDown) -> [PerKeyLimiter; 4] {
        [(); 4].map(|()| {
            let settings = StoreSettings {
                when_down,
                ..StoreSettings::default()
            };
            let handle = Handle::new(Arc::new(self.clone()), settings);
            PerKeyLimiter::new(quota).in_store(handle, "clients".into())
        })
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

/// Sends so many requests in each second, of one client after the other. Returns how many were
/// admitted of each client.
async fn send(processes: &[PerKeyLimiter], rate: u64, time: Duration) -> Vec<u64> {
    let start = Instant::now();
    let admitted: Vec<_> = (0..CLIENTS).map(|_| Arc::<AtomicU64>::default()).collect();
    let all = rate * time.as_secs();
    for number in 0..all {
        sleep_until(start + time.mul_f64(number as f64 / all as f64)).await;
        let client = number % CLIENTS;
        let turn = usize::try_from(number / CLIENTS + client).unwrap();
        let process = processes[turn % processes.len()].clone();
        let admitted = admitted[usize::try_from(client).unwrap()].clone();
        tokio::spawn(async move {
            let permit = process.acquire_within(client.into(), 1, Duration::ZERO);
            admitted.fetch_add(u64::from(permit.await.is_ok()), Ordering::Relaxed);
        });
    }
    sleep(SECOND / 2).await;
    let admitted = admitted.iter();
    admitted.map(|of| of.load(Ordering::Relaxed)).collect()
}

#[tokio::test(start_paused = true)]
async fn overload_leaves_what_the_server_can_do() {
    for policy in [WhenDown::Local, WhenDown::Closed, WhenDown::Open] {
        let processes = Server::new().processes(Quota::per_second(100), policy);
        let part = async |rate, seconds| {
            let admitted = send(&processes, rate, SECOND * seconds).await;
            admitted.iter().sum::<u64>() as f64 / f64::from(seconds)
        };
        let (before, over) = (CAPACITY / 4, CAPACITY * 3);
        assert_eq!(part(before, 2).await, before as f64);
        let useful = part(over, 3).await / CAPACITY as f64;
        println!("{policy:?}: {useful} of what the server can do");
        // Some requests need no call of their own.
        assert!((0.8..1.3).contains(&useful), "{policy:?}: {useful}");
        // It ends at once.
        let first = part(before, 1).await / before as f64;
        assert!(first >= 0.95, "{policy:?}: {first}");
        assert_eq!(part(before, 2).await, before as f64);
    }
}

#[tokio::test(start_paused = true)]
async fn overload_opens_no_limit() {
    for policy in [WhenDown::Local, WhenDown::Open] {
        let processes = Server::new().processes(Quota::per_hour(2), policy);
        let admitted = send(&processes, CAPACITY * 3, SECOND * 3).await;
        assert_eq!(admitted.iter().max(), Some(&2), "{policy:?}");
    }
}
