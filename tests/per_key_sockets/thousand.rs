//! What each of a thousand callers gets.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

use futures::future::try_join_all;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tower_throttle::Quota;

use crate::{answer, check, is_admitted, request, serve};

const CALLERS: u64 = 1_000;
const CONNECTIONS: u64 = 40;
const UNIT: Duration = Duration::from_secs(1);
const BURST: u64 = 2;
/// A caller sends one request in each, and so twice what its quota is.
const SLOT: Duration = Duration::from_millis(500);
const SLOTS: u64 = 20;

/// When a request of a caller is due: anywhere in the slot, so that many come just before or just after the unit is there.
fn due(start: Instant, caller: u64, slot: u64) -> Instant {
    let mut hasher = DefaultHasher::new();
    (caller, slot).hash(&mut hasher);
    let offset = hasher.finish() % SLOT.as_nanos() as u64;
    start + SLOT * slot as u32 + Duration::from_nanos(offset)
}

/// Sends the requests of some callers when they are due, whatever became of those before, and counts what was admitted.
async fn connection(address: SocketAddr, number: u64, start: Instant) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.split();
    let callers = (number..CALLERS).step_by(CONNECTIONS as usize);
    let all = callers.flat_map(|caller| (0..SLOTS).map(move |slot| (caller, slot)));
    let mut all: Vec<_> = all
        .map(|(caller, slot)| (due(start, caller, slot), caller))
        .collect();
    all.sort();
    let count = all.len();
    let send = async {
        for (due, caller) in all {
            sleep_until(due).await;
            let request = request(caller);
            write.write_all(request.as_bytes()).await.unwrap();
        }
    };
    let receive = async {
        let mut read = BufReader::new(read);
        let mut admitted = 0;
        for _ in 0..count {
            admitted += usize::from(is_admitted(&answer(&mut read).await));
        }
        admitted
    };
    tokio::join!(send, receive).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_twice_their_quota_each_get_all_of_it_and_no_more() {
    let (address, log) = serve(Quota::per_second(1).burst(BURST)).await;
    let start = Instant::now() + Duration::from_millis(200);
    let connections = (0..CONNECTIONS).map(|number| {
        let connection = connection(address, number, start);
        tokio::spawn(connection)
    });
    // Ten seconds, unless an answer never comes.
    let all = timeout(Duration::from_secs(60), try_join_all(connections)).await;
    let admitted: usize = all.unwrap().unwrap().iter().sum();

    let log = log.lock().unwrap();
    assert_eq!(log.len() as u64, CALLERS);
    let counted = log.values().flatten().filter(|seen| seen.admitted).count();
    assert_eq!(counted, admitted, "the callers were told something else");
    let mut latest = Duration::ZERO;
    for (&caller, seen) in log.iter() {
        assert_eq!(seen.len() as u64, SLOTS);
        // By when the requests came, and not by when they were due: what a busy machine sends late was not there to be
        // let in. How late that was at most is printed.
        let (admitted, allowed) = check(start, seen, UNIT, BURST);
        let of = format!("caller {caller}: {admitted} of {allowed}");
        assert!(100 * admitted >= 99 * allowed, "{of}");
        for (slot, seen) in (0..).zip(seen) {
            latest = latest.max(seen.before - due(start, caller, slot));
        }
    }
    let sent = CALLERS * SLOTS;
    println!("{admitted} admitted of {sent} sent, the latest of which by {latest:?}");
}
