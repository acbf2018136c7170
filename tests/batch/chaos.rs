//! What the layers promise for bad days, kept by the batch example against simulated providers.
//!
//! Over real sockets, so on real time.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    batch::{Folder, against, assert_each_answered_once, output, quiet, report, simulator},
    simulator::provider::{Answered, Chaos, Limits, Mishap, Outage, Simulator},
    support::ms,
};

const REQUESTS: usize = 2_000;
const WORKERS: u64 = 64;

/// Runs after the others that take all of the time of a machine, so that they don't take each other's time, and fails when it takes as long as no
/// healthy run does, even on a slow machine.
pub(crate) async fn in_time<T>(of: impl Future<Output = T>) -> T {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _turn = ONE.lock().await;
    let limit = Duration::from_secs(100);
    let ended = tokio::time::timeout(limit, of).await;
    ended.expect("it should be over by now")
}

fn with_requests(command: &mut Command, count: usize) {
    command.args(["--requests", &count.to_string()]);
}

// ===== a bad day =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_bad_day_each_prompt_gets_one_answer_for_little_more_than_one_attempt() {
    for (seed, stream) in [(1, true), (2, false)] {
        let chaos = Chaos::bad_day(seed);
        let simulator = simulator(Limits {
            requests: Some(1_000),
            tokens: Some(35_000),
            window: ms(1_000),
            latency: ms(20),
            chaos: Some(chaos),
            ..Limits::default()
        })
        .await;
        let folder = Folder::new();
        let out = folder.path("out.jsonl");
        let mut command = against(&simulator);
        with_requests(&mut command, REQUESTS);
        command.args(["--rpm", "1000", "--tpm", "35000", "--window", "1"]);
        command.args(["--timeout", "2", "--out"]).arg(&out);
        command.args(stream.then_some("--stream"));
        let output = in_time(output(command)).await;

        let (report, counters) = (report(&output), simulator.counters());
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_each_answered_once(&out, REQUESTS);
        assert_eq!(report["failed"], 0);
        // Failures take what they take of the limits. A machine that is busy may let a few arrive closer than they were sent.
        assert!(counters.refused * 100 <= REQUESTS as u64, "{counters:?}");
        let attempts = report["attempts"].as_u64().unwrap();
        assert!(attempts * 100 <= 125 * REQUESTS as u64, "{report}");
        assert_eq!(report["retries"], attempts - REQUESTS as u64);
        for mishap in Mishap::ALL {
            let can_be = stream || !mishap.is_of_streams();
            assert_eq!(counters.met(mishap) > 0, can_be, "{mishap:?}: {counters:?}");
        }
        // Nothing was paid for twice, but what was cut after some of it had arrived.
        let answered = Answered {
            prompts: REQUESTS,
            answers: REQUESTS as u64,
            most: 1,
        };
        assert_eq!(simulator.answered(), answered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_have_a_bad_day_one_answers_what_the_other_does_not() {
    let of = |seed| Limits {
        latency: ms(20),
        chaos: Some(Chaos::bad_day(seed)),
        ..Limits::default()
    };
    let (first, second) = (simulator(of(3)).await, simulator(of(4)).await);
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = against(&first);
    with_requests(&mut command, REQUESTS);
    command.args([
        "--stream",
        "--timeout",
        "2",
        "--fallback-url",
        &second.url(),
    ]);
    command.arg("--out").arg(&out);
    let output = in_time(output(command)).await;

    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_each_answered_once(&out, REQUESTS);
    assert!(report["fallbacks"].as_u64() > Some(0));
    let answers = first.answered().answers + second.answered().answers;
    assert_eq!(answers, REQUESTS as u64);
    assert_eq!(report["fallbacks"], second.answered().answers);
    let attempts = report["attempts"].as_u64().unwrap();
    assert!(attempts * 100 <= 125 * REQUESTS as u64, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_bad_day_equal_prompts_still_share_one_answer() {
    let distinct = REQUESTS / 10;
    let simulator = simulator(Limits {
        latency: ms(20),
        chaos: Some(Chaos::bad_day(5)),
        ..Limits::default()
    })
    .await;
    let folder = Folder::new();
    let out = folder.path("out.jsonl");
    let mut command = against(&simulator);
    with_requests(&mut command, REQUESTS);
    command.args(["--distinct", &distinct.to_string(), "--cache", "--stream"]);
    command.args(["--timeout", "2", "--out"]).arg(&out);
    let output = in_time(output(command)).await;

    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_each_answered_once(&out, REQUESTS);
    assert_eq!(report["hits"], REQUESTS - distinct);
    let answered = Answered {
        prompts: distinct,
        answers: distinct as u64,
        most: 1,
    };
    assert_eq!(simulator.answered(), answered);
}

// ===== a provider that is down =====

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_asked_no_more_than_to_see_whether_it_is_back() {
    let always = |mishap| Limits {
        chaos: Some(Chaos::calm(1).with(mishap, 1_000)),
        ..Limits::default()
    };
    let down = Limits {
        outage: Some(outage(Duration::ZERO, Duration::from_secs(3_600))),
        ..Limits::default()
    };
    let runs = [
        down,
        always(Mishap::ServerError),
        always(Mishap::ResetBeforeHead),
        always(Mishap::StallBeforeHead),
    ];
    let runs = runs.map(|limits| async {
        let what = format!("{:?} {:?}", limits.outage, limits.chaos);
        let simulator = simulator(limits).await;
        let mut command = against(&simulator);
        with_requests(&mut command, REQUESTS);
        command.args(["--workers", &WORKERS.to_string(), "--timeout", "0.5"]);
        let mut child = quiet(command);
        tokio::time::sleep(Duration::from_secs(8)).await;
        let is_at_it = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();

        let counters = simulator.counters();
        let attempts = counters.accepted + counters.unavailable;
        assert!(is_at_it, "{what}: it gave up after {attempts}");
        // Each worker has a request, and nobody has a second one.
        let most = WORKERS + WORKERS / 5;
        assert!((6..=most).contains(&attempts), "{what}: {attempts}");
    });
    in_time(futures::future::join_all(runs)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_first_provider_is_down_the_second_answers_and_few_find_out_by_themselves() {
    let (latency, from, lasts) = (ms(45), ms(2_000), ms(3_000));
    let of = |outage| Limits {
        latency,
        outage,
        ..Limits::default()
    };
    let first = simulator(of(Some(outage(from, lasts)))).await;
    let second = simulator(of(None)).await;
    let mut command = against(&first);
    with_requests(&mut command, REQUESTS);
    // Nobody can be spared who is on the way when it goes down.
    command.args(["--workers", "10"]);
    command.args(["--fallback-url", &second.url()]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let run = async { tokio::join!(output(command), watch(&first, from + lasts)) };
    let (output, seen) = in_time(run).await;

    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["failed"], 0);
    let answers = first.answered().answers + second.answered().answers;
    assert_eq!(answers, REQUESTS as u64);
    assert_eq!(report["fallbacks"], second.answered().answers);
    let met = first.counters().unavailable;
    assert!((5..=REQUESTS as u64 / 100).contains(&met), "{met}");
    // The cooldown is a second at most, and with each that finds out in vain twice as long.
    let cooldown = Duration::from_secs(1 << seen.probes);
    let late = ms(500) + seen.resolution;
    assert!(seen.back <= cooldown + late, "{seen:?}");
}

fn outage(from: Duration, lasts: Duration) -> Outage {
    Outage { from, lasts }
}

/// What was seen of a provider that came back.
#[derive(Debug)]
struct Seen {
    /// How many found out in vain whether it was back.
    probes: u32,
    /// How long after the last of them, or after it went down, it was let answer again.
    back: Duration,
    /// The longest time in which nobody looked.
    resolution: Duration,
}

/// Watches a provider that is up again so long after its first request, until it answers.
async fn watch(provider: &Simulator, up: Duration) -> Seen {
    while provider.counters().accepted == 0 {
        tokio::time::sleep(ms(1)).await;
    }
    let born = Instant::now();
    let mut seen = Seen {
        probes: 0,
        back: Duration::ZERO,
        resolution: Duration::ZERO,
    };
    let (mut known, mut last) = (0, None::<Instant>);
    let mut accepted = 0;
    let mut looked = born;
    loop {
        tokio::time::sleep(ms(2)).await;
        let (counters, now) = (provider.counters(), Instant::now());
        seen.resolution = seen.resolution.max(now - looked);
        looked = now;
        if counters.unavailable > known {
            // Those who come right after the first are no probes.
            seen.probes += u32::from(last.is_some_and(|last| now - last > ms(400)));
            known = counters.unavailable;
            last = Some(now);
        }
        if now - born < up {
            accepted = counters.accepted;
        } else if let (true, Some(last)) = (counters.accepted > accepted, last) {
            seen.back = now - last;
            return seen;
        }
    }
}
