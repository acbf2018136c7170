//! Loom models of the slots.

use std::sync::Arc;

use loom::thread;

use super::{Priority, permit::Permit, slots::Slots};
use crate::sync::model;

/// Takes all permits of a limit.
fn full(limit: usize) -> (Arc<Slots>, Vec<Permit>) {
    let slots = Arc::new(Slots::new(limit));
    let held: Vec<_> = std::iter::from_fn(|| slots.take(Priority::High)).collect();
    assert_eq!(held.len(), limit);
    (slots, held)
}

/// Checks that the number of free permits equals the limit in the end.
fn is_sound(slots: &Arc<Slots>, held: Vec<Permit>) {
    assert_eq!(slots.in_flight(), held.len());
    let mut all = held;
    while let Some(permit) = slots.take(Priority::High) {
        all.push(permit);
        assert!(all.len() <= slots.limit());
    }
    assert!(all.len() >= slots.limit());
    drop(all);
    assert_eq!(slots.in_flight(), 0);
}

#[test]
fn loom_raising_the_limit_admits_no_more() {
    model(|| {
        let (slots, mut held) = full(1);
        let other = slots.clone();
        let taker = thread::spawn(move || other.take_over());
        slots.set_limit(2);
        held.push(taker.join().unwrap());
        is_sound(&slots, held);
    });
}

#[test]
fn loom_lowering_the_limit_removes_one_slot() {
    model(|| {
        let (slots, mut held) = full(2);
        let gone = held.pop();
        let giver = thread::spawn(move || drop(gone));
        slots.set_limit(1);
        giver.join().unwrap();
        is_sound(&slots, held);
    });
}
