//! Loom models of the engine.

use std::time::Duration;

use loom::{sync::Arc, thread};

use super::engine::{CircuitSettings, Engine};
use crate::backoff::Backoff;

const COOLDOWN: Duration = Duration::from_nanos(10);

fn engine(failures: u64) -> Arc<Engine> {
    Arc::new(Engine::new(CircuitSettings {
        failures,
        cooldown: Backoff::new(COOLDOWN, COOLDOWN),
        longest_hint: Duration::MAX,
    }))
}

/// Opens the circuit at 0, for 10 ns.
fn open(engine: &Engine) {
    while let Ok(ticket) = engine.enter(|| 0) {
        engine.failed(ticket, None, None, 0, u64::MAX);
    }
}

#[test]
fn loom_one_probe_is_let_through() {
    crate::sync::model(|| {
        let engine = engine(1);
        open(&engine);
        let other = engine.clone();
        let entered = thread::spawn(move || other.enter(|| 10).is_ok());
        let mine = engine.enter(|| 10).is_ok();
        assert!(mine != entered.join().unwrap());
    });
}

#[test]
fn loom_failures_that_race_open_it_once() {
    crate::sync::model(|| {
        let engine = engine(2);
        let other = engine.clone();
        let (first, second) = (engine.enter(|| 0).unwrap(), engine.enter(|| 0).unwrap());
        let failed = thread::spawn(move || other.failed(first, None, None, 0, 0).is_some());
        let mine = engine.failed(second, None, None, 0, 0).is_some();
        assert!(mine != failed.join().unwrap());
        assert!(!engine.is_closed());
    });
}

#[test]
fn loom_who_sees_it_closed_sees_the_tally_cleared() {
    crate::sync::model(|| {
        let engine = engine(2);
        open(&engine);
        let probe = engine.enter(|| 10).unwrap();
        let other = engine.clone();
        let closes = thread::spawn(move || assert!(other.succeeded(probe, || 10)));
        if let Ok(ticket) = engine.enter(|| 5) {
            // The two failures before it no longer count.
            assert!(engine.failed(ticket, None, None, 10, 0).is_none());
        }
        closes.join().unwrap();
        assert!(engine.is_closed());
    });
}

#[test]
fn loom_late_failure_does_not_reopen() {
    crate::sync::model(|| {
        let engine = engine(1);
        let (early, late) = (engine.enter(|| 0).unwrap(), engine.enter(|| 0).unwrap());
        open(&engine);
        let probe = engine.enter(|| 10).unwrap();
        let other = engine.clone();
        let straggler = thread::spawn(move || {
            assert!(!other.succeeded(early, || 10));
            assert!(other.failed(late, None, None, 10, 0).is_none());
        });
        assert!(engine.succeeded(probe, || 10));
        straggler.join().unwrap();
        assert!(engine.is_closed());
    });
}

#[test]
fn loom_an_ignored_probe_makes_room() {
    crate::sync::model(|| {
        let engine = engine(1);
        open(&engine);
        let probe = engine.enter(|| 10).unwrap();
        let other = engine.clone();
        let leaves = thread::spawn(move || other.ignored(probe));
        let mine = engine.enter(|| 10);
        leaves.join().unwrap();
        assert!(mine.is_ok() || engine.enter(|| 10).is_ok());
    });
}
