//! The metrics of retries, fallbacks and circuits agree with what a server counted.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{Circuit, CircuitBreakerLayer, FallbackLayer, RetryAfterBackoffLayer};

use super::recorder::Recorder;

const BACKUP: u16 = 299;

#[tokio::test(start_paused = true)]
async fn all_calls_agree_in_chaos() {
    let recorder = Recorder::new();
    let _recorder = recorder.set_default();
    let served = Arc::new(AtomicUsize::new(0));
    let random = Arc::new(Mutex::new(SmallRng::seed_from_u64(5)));
    let server = {
        let (served, random) = (served.clone(), random.clone());
        service_fn(move |_: Request<()>| {
            served.fetch_add(1, Ordering::Relaxed);
            let kind = random.lock().unwrap().random_range(0..10);
            async move {
                sleep(Duration::from_millis(20)).await;
                let response = match kind {
                    0 => Response::builder().status(429).header("retry-after", "1"),
                    1 => Response::builder().status(503),
                    2..=3 => Response::builder().status(500),
                    _ => Response::builder().status(200),
                };
                Ok::<_, Infallible>(response.body(()).unwrap())
            }
        })
    };
    let circuit = Circuit::new().failures(3);
    let backup = Response::builder().status(BACKUP).body(()).unwrap();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup).named("backup"))
        .layer(
            RetryAfterBackoffLayer::new()
                .name("chaos")
                .attempts(3)
                .seed(1),
        )
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(server);
    let (mut requests, mut fallbacks) = (0, 0);
    for _ in 0..1_500 {
        let dice = {
            let mut random = random.lock().unwrap();
            (random.random_range(0..4), random.random_range(0..900))
        };
        let patience = match dice {
            (0, millis) => Duration::from_millis(millis),
            _ => Duration::MAX,
        };
        sleep(Duration::from_millis(dice.1 / 3)).await;
        let mut service = service.clone();
        let call = service.ready().await.unwrap().call(Request::new(()));
        requests += 1;
        if let Ok(response) = timeout(patience, call).await {
            fallbacks += usize::from(response.unwrap().status() == BACKUP);
        }
    }
    circuit_is_published(&recorder, &circuit);
    let scrape = recorder.scrape();
    let total = |name: &str| scrape.sum(&format!("tower_throttle_{name}_total"), &[]) as usize;
    let called = served.load(Ordering::Relaxed) + total("circuit_rejections");
    assert_eq!(requests + total("retries"), called, "{}", scrape.text);
    assert_eq!(total("fallbacks"), fallbacks);
    let delays = scrape.sum("tower_throttle_retry_delay_seconds_count", &[]);
    assert_eq!(delays as usize, total("retries"));
    assert!(
        total("retries") > 100 && total("circuit_rejections") > 50,
        "{}",
        scrape.text
    );
    let hinted = [("cause", "rate_limited")];
    assert!(scrape.sum("tower_throttle_retries_total", &hinted) > 20.0);
}

fn circuit_is_published(recorder: &Recorder, circuit: &Circuit) {
    recorder.publish("chaos", circuit);
    let scrape = recorder.scrape();
    let state = scrape.sum("tower_throttle_circuit_state", &[("name", "chaos")]);
    assert_eq!(state, 1.0, "one state at a time");
    let transitions = |state| {
        let labels = [("state", state)];
        scrape.sum("tower_throttle_circuit_transitions_total", &labels)
    };
    assert!(transitions("open") >= transitions("closed"));
    assert!(transitions("closed") > 3.0, "{}", scrape.text);
}
