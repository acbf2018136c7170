//! Loom models of the slots.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use loom::thread;

use super::{ConcurrencyLimiter, Priority, permit::Permit, slots::Slots};
use crate::{error::Rejected, sync::model};

/// A request that is polled only if it was woken.
struct Request {
    future: Pin<Box<dyn Future<Output = Result<Permit, Rejected>>>>,
    alarm: Arc<Alarm>,
}

struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Request {
    fn new(slots: &Arc<Slots>, priority: Priority) -> Self {
        let limiter = ConcurrencyLimiter(slots.clone());
        let future = Box::pin(async move { limiter.acquire_as(priority).await });
        let alarm = Arc::new(Alarm(AtomicBool::new(true)));
        Self { future, alarm }
    }

    /// The same once it waits.
    fn waiting(slots: &Arc<Slots>, priority: Priority) -> Self {
        let mut request = Self::new(slots, priority);
        assert!(request.poll().is_none());
        request
    }

    /// Polls it until it sleeps.
    fn poll(&mut self) -> Option<Result<Permit, Rejected>> {
        let waker = Waker::from(self.alarm.clone());
        while self.alarm.0.swap(false, Ordering::Relaxed) {
            let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(result) = polled {
                return Some(result);
            }
        }
        None
    }

    /// Polls it while `other` runs, and then, and returns how it ends.
    fn race(mut self, other: thread::JoinHandle<()>) -> Result<Permit, Rejected> {
        let early = self.poll();
        other.join().unwrap();
        early.or_else(|| self.poll()).expect("a lost wake-up")
    }
}

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

#[test]
fn loom_a_release_wakes_the_head() {
    model(|| {
        let (slots, held) = full(1);
        let request = Request::new(&slots, Priority::High);
        let permit = request.race(thread::spawn(move || drop(held))).unwrap();
        is_sound(&slots, vec![permit]);
    });
}

#[test]
fn loom_a_raised_limit_wakes_the_head() {
    model(|| {
        let (slots, mut held) = full(1);
        let request = Request::new(&slots, Priority::High);
        let other = slots.clone();
        let raise = thread::spawn(move || other.set_limit(2));
        held.push(request.race(raise).unwrap());
        is_sound(&slots, held);
    });
}

#[test]
fn loom_a_cancelled_head_wakes_the_next() {
    for priority in [Priority::High, Priority::Low] {
        model(move || {
            let (slots, held) = full(1);
            let head = Request::waiting(&slots, Priority::High);
            let next = Request::new(&slots, priority);
            // It may be woken before it leaves.
            let cancel = thread::spawn(move || {
                drop(held);
                drop(head);
            });
            let permit = next.race(cancel).unwrap();
            is_sound(&slots, vec![permit]);
        });
    }
}

#[test]
fn loom_two_releases_admit_two() {
    model(|| {
        let (slots, mut held) = full(2);
        let mut first = Request::waiting(&slots, Priority::High);
        let next = Request::new(&slots, Priority::Normal);
        let permit = held.pop();
        let giver = thread::spawn(move || drop(permit));
        drop(held);
        let early = first.poll();
        let permit = next.race(giver);
        let first = early.or_else(|| first.poll()).expect("a lost wake-up");
        is_sound(&slots, vec![first.unwrap(), permit.unwrap()]);
    });
}
