//! The queue of waiting requests, with a lane for each priority. Each lane is first in, first out.
//!
//! One request at a time has the turn: the head. Only it sleeps until there is room, and it keeps
//! the turn until it leaves. Each request that has a longest wait has a timer for that: the head
//! may belong to a future that is not polled.

use std::{mem, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

#[cfg(feature = "redis")]
use crate::sync::AtomicU64;
use crate::{
    error::{Reason, Rejected},
    limit::{clock::TIMER_LATENESS, priority::Priority},
    sync::{AtomicUsize, Mutex, MutexGuard, Ordering, fence, unpoisoned},
};

/// Resolves if a turn must end without a call.
pub(crate) type Expiry = Pin<Box<dyn Future<Output = Rejected> + Send + Sync>>;

/// A bit of [`WaitQueue::waiting`].
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How often in a row the turn goes past a lane with requests that wait.
const MOST_PASSED_OVER: u32 = 8;

/// A queue.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    lanes: Mutex<Lanes>,
    /// The turn, as the one permit of all of these: the head has it, or the lane that is next.
    /// Tokio's semaphore is fair, so it goes to the first request of that lane.
    turns: [Semaphore; Priority::LANES],
    /// Wakes the head if what it waits for may be there, or if the queue is closed.
    changed: Notify,
    /// Has no permits, and is closed with the queue, which wakes those whose turn it is.
    closing: Semaphore,
    /// How many wait, and [`CLOSED`]: in one number, to be read without a lock. Written under the
    /// lock of the lanes.
    waiting: AtomicUsize,
    /// The longest that the head waits, in nanoseconds.
    #[cfg(feature = "redis")]
    patience: AtomicU64,
    /// How often the head looks for changes that do not wake it, if there are any.
    look_again: Option<Duration>,
}

/// The requests that wait, by their priorities.
#[derive(Debug, Default)]
struct Lanes {
    lanes: [Lane; Priority::LANES],
    /// Whether a request has the turn, or a lane.
    is_taken: bool,
    /// The lane and the units of the head.
    head: Option<(usize, u64)>,
}

/// The requests of one priority that wait, with the head if it is of it.
#[derive(Debug, Default)]
struct Lane {
    waiting: usize,
    units: u64,
    /// How often in a row the turn went to another lane.
    passed_over: u32,
}

/// How long, and how many, may wait: a setting of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitLimits {
    /// If it is not set, requests wait as long as it takes.
    pub(crate) max_wait: Option<Duration>,
    pub(crate) max_waiting: usize,
    /// The name of the layer, for its rejections.
    pub(crate) name: Option<&'static str>,
}

/// How long, and how many, may wait in this case, and the rejection of other requests.
#[derive(Debug)]
pub struct Patience {
    pub(crate) rejected: Rejected,
    pub(crate) max_wait: Duration,
    /// How long it may wait beside that for a reply, which says whether it has to wait.
    pub(crate) reply_time: Duration,
    pub(crate) max_waiting: usize,
    pub(crate) priority: Priority,
}

/// A place in the queue. Dropping it leaves the queue, from whatever place.
#[derive(Debug)]
pub struct Waiter {
    queue: Arc<WaitQueue>,
    pub(super) priority: Priority,
    units: u64,
    is_head: bool,
    is_waiting: bool,
    /// The longest that it may wait.
    pub(super) max_wait: Duration,
    /// Until when it may wait; `None` is for ever.
    pub(super) deadline: Option<Instant>,
    reply_time: Duration,
}

// ===== impl WaitQueue =====

impl WaitQueue {
    pub(crate) fn new(look_again: Option<Duration>) -> Self {
        Self {
            lanes: Mutex::new(Lanes::default()),
            turns: std::array::from_fn(|_| Semaphore::const_new(0)),
            changed: Notify::const_new(),
            closing: Semaphore::const_new(0),
            waiting: AtomicUsize::new(0),
            #[cfg(feature = "redis")]
            patience: AtomicU64::new(0),
            look_again,
        }
    }

    // Relaxed throughout: each is a lone number, and the lock orders the requests. Fences order the
    // requests with the changes that wake them.

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) & !CLOSED
    }

    /// Returns whether the queue is open and empty, so that a request need not join it.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Rejects all requests in the queue, and all that would join it.
    ///
    /// Each is woken by itself, so a request that is not polled does not hold up others. No wake-up
    /// is lost: the flag is set first, and read after registering.
    pub(crate) fn close(&self) {
        let lanes = self.lanes();
        self.waiting.fetch_or(CLOSED, Ordering::Relaxed);
        drop(lanes);
        self.turns.iter().for_each(Semaphore::close);
        self.changed.notify_waiters();
        self.closing.close();
    }

    /// The units that all who wait ask for.
    pub(crate) fn units(&self) -> u64 {
        self.lanes().units()
    }

    /// The units ahead of a new request, unless all who wait are ahead of it.
    pub(crate) fn units_ahead(&self, priority: Priority) -> Option<u64> {
        let (lanes, own) = (self.lanes(), priority.lane());
        let (ahead, behind) = lanes.lanes.split_at(own + 1);
        if behind.iter().all(|lane| lane.waiting == 0) {
            return None;
        }
        let head = lanes.head.filter(|(lane, _)| *lane > own);
        let ahead: u64 = ahead.iter().map(|lane| lane.units).sum();
        Some(ahead + head.map_or(0, |(_, units)| units))
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        unpoisoned(self.lanes.lock())
    }

    /// The longest that the head waits.
    #[cfg(feature = "redis")]
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_nanos(self.patience.load(Ordering::Relaxed))
    }

    /// Lets the head look again after a change. A request that is just becoming the head is woken
    /// as well.
    ///
    /// No wake-up is lost. Either this sees the request in the queue, or the request, which looks
    /// only after it has joined, sees the change: the fences here and in `Waiter::join` are in one
    /// order.
    #[inline]
    pub(crate) fn wake_head(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() > 0 {
            self.changed.notify_one();
        }
    }

    fn leave(&self, lane: usize, units: u64, is_head: bool) {
        let mut next = {
            let mut lanes = self.lanes();
            lanes.leave(lane, units);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match is_head {
                true => lanes.pass_turn(),
                false => self.take_turn_back(&mut lanes, lane),
            }
        };
        // Under no lock, as it wakes the task of a request.
        while let Some(lane) = next {
            self.turns[lane].add_permits(1);
            next = self.take_turn_back(&mut self.lanes(), lane);
        }
    }

    /// Takes the turn back from a lane that all have left meanwhile, and returns the next lane.
    ///
    /// No turn is lost. A lane that got the turn is looked at afterwards, by the one that has given
    /// it and by each request that leaves. The last of these sees the turn if no request takes it.
    fn take_turn_back(&self, lanes: &mut Lanes, lane: usize) -> Option<usize> {
        if lanes.lanes[lane].waiting > 0 {
            return None;
        }
        self.turns[lane].try_acquire().ok()?.forget();
        lanes.pass_turn()
    }
}

// ===== impl Lanes =====

impl Lanes {
    fn units(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.units).sum()
    }

    /// Adds a request, and returns whether it is the head. If too many of its priority wait, or the
    /// units of all can't be counted, returns how many may wait.
    fn join(&mut self, lane: usize, units: u64, max_waiting: usize) -> Result<bool, usize> {
        if self.lanes[lane].waiting >= max_waiting {
            return Err(max_waiting);
        }
        if self.units().checked_add(units).is_none() {
            return Err(self.lanes.iter().map(|lane| lane.waiting).sum());
        }
        self.lanes[lane].waiting += 1;
        self.lanes[lane].units += units;
        let is_head = !self.is_taken;
        if is_head {
            self.is_taken = true;
            self.head = Some((lane, units));
        }
        Ok(is_head)
    }

    fn leave(&mut self, lane: usize, units: u64) {
        let lane = &mut self.lanes[lane];
        lane.waiting -= 1;
        lane.units -= units;
        if lane.waiting == 0 {
            lane.passed_over = 0;
        }
    }

    /// Passes the turn on, and returns the lane that has it: the first with requests that wait, or
    /// one that was passed over too often.
    fn pass_turn(&mut self) -> Option<usize> {
        self.head = None;
        let waits = |lane: &Lane| lane.waiting > 0;
        let overdue = |lane: &Lane| waits(lane) && lane.passed_over >= MOST_PASSED_OVER;
        let overdue = self.lanes.iter().position(overdue);
        let next = overdue.or_else(|| self.lanes.iter().position(waits));
        self.is_taken = next.is_some();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            lane.passed_over = match Some(number) == next || !waits(lane) {
                true => 0,
                false => lane.passed_over + 1,
            };
        }
        next
    }
}

// ===== impl WaitLimits =====

impl WaitLimits {
    pub(crate) const NONE: Self = Self {
        max_wait: None,
        max_waiting: usize::MAX,
        name: None,
    };
}

// ===== impl Waiter =====

impl Waiter {
    /// Joins the end of its lane, unless that is full.
    pub(crate) fn join(
        queue: Arc<WaitQueue>,
        units: u64,
        patience: Patience,
    ) -> Result<Self, Rejected> {
        let is_head = {
            let mut lanes = queue.lanes();
            if queue.is_closed() {
                return Err(patience.rejected.closed());
            }
            let is_head = lanes.join(patience.priority.lane(), units, patience.max_waiting);
            let full = |max_waiting| patience.rejected.because(Reason::QueueFull { max_waiting });
            let is_head = is_head.map_err(full)?;
            queue.waiting.fetch_add(1, Ordering::Relaxed);
            is_head
        };
        // Pairs with the one in `wake_head`.
        fence(Ordering::SeqCst);
        Ok(Self {
            queue,
            priority: patience.priority,
            units,
            is_head,
            is_waiting: true,
            max_wait: patience.max_wait,
            deadline: Instant::now().checked_add(patience.max_wait),
            reply_time: patience.reply_time,
        })
    }

    /// Leaves the queue, before it is dropped. Returns whether it was in it.
    pub(crate) fn leave(&mut self) -> bool {
        let was_waiting = mem::take(&mut self.is_waiting);
        if was_waiting {
            let lane = self.priority.lane();
            self.queue.leave(lane, self.units, self.is_head);
        }
        was_waiting
    }

    /// When it has waited for too long, with the lateness of the timers of those ahead of it.
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.deadline?.checked_add(TIMER_LATENESS)
    }

    /// Until when it may wait for a reply that says whether it has to wait.
    pub(super) fn reply_deadline(&self) -> Option<Instant> {
        self.deadline?.checked_add(self.reply_time)
    }

    /// The same, with the lateness of the timers of those ahead of it.
    pub(super) fn last_reply(&self) -> Option<Instant> {
        self.last_instant()?.checked_add(self.reply_time)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits to become the head of the queue. Returns `false` if the queue is closed before.
    pub(crate) async fn reach_head(&mut self) -> bool {
        if !self.is_head {
            // `Waiter` passes the turn on by hand.
            let lane = self.priority.lane();
            let Ok(turn) = self.queue.turns[lane].acquire().await else {
                return false;
            };
            turn.forget();
            self.is_head = true;
            self.queue.lanes().head = Some((lane, self.units));
        }
        #[cfg(feature = "redis")]
        self.queue
            .patience
            .store(crate::limit::nanos(self.max_wait), Ordering::Relaxed);
        true
    }

    /// Returns the rejection of a turn that is `late`, or whose queue is closed.
    pub(crate) fn expiry(&self, late: Rejected) -> Expiry {
        let (queue, last) = (self.queue.clone(), self.last_instant());
        let late = late.within(self.max_wait);
        Box::pin(async move {
            match before(last, queue.closing.acquire()).await {
                Some(_) => late.closed(),
                None => late,
            }
        })
    }

    /// For the head: waits until it was [woken](WaitQueue::wake_head) or the queue is closed, and
    /// until `at` at the latest.
    pub(crate) async fn changed_before(&self, at: Option<Instant>) {
        let changed = self.queue.changed.notified();
        if self.is_closed() {
            return;
        }
        let look_again = self.queue.look_again;
        let look_again = look_again.and_then(|wait| Instant::now().checked_add(wait));
        match at.into_iter().chain(look_again).min() {
            Some(first) => drop(timeout_at(first, changed).await),
            None => changed.await,
        }
    }
}

/// Waits for `future` until `deadline` at the latest.
pub(crate) async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, not(throttle_loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        array,
        collections::VecDeque,
        task::{Context, Poll, Waker},
    };

    use proptest::prelude::*;

    use super::*;
    use crate::error::LimitKind;

    const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

    fn patience(priority: Priority) -> Patience {
        Patience {
            rejected: Rejected::too_long(LimitKind::Concurrency, None),
            max_wait: Duration::MAX,
            reply_time: Duration::ZERO,
            max_waiting: usize::MAX,
            priority,
        }
    }

    fn join(queue: &Arc<WaitQueue>, lane: usize, units: u64) -> Result<Waiter, Rejected> {
        Waiter::join(queue.clone(), units, patience(PRIORITIES[lane]))
    }

    /// A request in the queue, or its head.
    enum Request {
        Waiting(Pin<Box<dyn Future<Output = Option<Waiter>>>>),
        Head { _place: Waiter },
    }

    impl Request {
        fn new(mut place: Waiter) -> Self {
            Self::Waiting(Box::pin(async move {
                place.reach_head().await.then_some(place)
            }))
        }

        /// Returns whether it has just become the head; `None` if the queue is closed.
        fn poll(&mut self) -> Option<bool> {
            let Self::Waiting(future) = self else {
                return Some(false);
            };
            match future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Pending => Some(false),
                Poll::Ready(place) => {
                    *self = Self::Head { _place: place? };
                    Some(true)
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join { lane: usize, units: u64 },
        Poll { number: usize },
        Drop { number: usize },
        DropHead,
        Close,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            400 => (0..3_usize, 0..9_u64).prop_map(|(lane, units)| Step::Join { lane, units }),
            300 => any::<usize>().prop_map(|number| Step::Poll { number }),
            200 => any::<usize>().prop_map(|number| Step::Drop { number }),
            300 => Just(Step::DropHead),
            1 => Just(Step::Close),
        ];
        proptest::collection::vec(step, 0..300)
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Turn {
        Free,
        OfLane(usize),
        Head(usize),
    }

    /// What the queue should do: requests are numbers.
    struct Reference {
        lanes: [VecDeque<usize>; 3],
        turn: Turn,
        passed_over: [u32; 3],
    }

    impl Reference {
        fn join(&mut self, number: usize, lane: usize) {
            match self.turn {
                Turn::Free => self.turn = Turn::Head(number),
                _ => self.lanes[lane].push_back(number),
            }
        }

        fn poll(&mut self, number: usize) -> bool {
            let Turn::OfLane(lane) = self.turn else {
                return false;
            };
            let is_next = self.lanes[lane].front() == Some(&number);
            if is_next {
                self.lanes[lane].pop_front();
                self.turn = Turn::Head(number);
            }
            is_next
        }

        fn drop(&mut self, number: usize) {
            for lane in &mut self.lanes {
                lane.retain(|other| *other != number);
            }
            let is_lost = match self.turn {
                Turn::Head(head) => head == number,
                Turn::OfLane(lane) => self.lanes[lane].is_empty(),
                Turn::Free => false,
            };
            for (lane, passed_over) in self.lanes.iter().zip(&mut self.passed_over) {
                *passed_over *= u32::from(!lane.is_empty());
            }
            if is_lost {
                self.pass_turn();
            }
        }

        fn pass_turn(&mut self) {
            let waiting = (0..3).filter(|lane| !self.lanes[*lane].is_empty());
            let waiting: Vec<_> = waiting.collect();
            let overdue = waiting
                .iter()
                .copied()
                .find(|lane| self.passed_over[*lane] >= 8);
            let Some(next) = overdue.or(waiting.first().copied()) else {
                self.turn = Turn::Free;
                return;
            };
            for lane in waiting {
                self.passed_over[lane] += 1;
            }
            self.passed_over[next] = 0;
            self.turn = Turn::OfLane(next);
        }
    }

    proptest! {
        #[test]
        fn the_turn_is_never_lost(steps in steps()) {
            let queue = Arc::new(WaitQueue::new(None));
            let mut requests: Vec<Option<(Request, usize, u64)>> = Vec::new();
            let mut reference = Reference {
                lanes: array::from_fn(|_| VecDeque::new()),
                turn: Turn::Free,
                passed_over: [0; 3],
            };
            for step in steps {
                let existing = requests.len();
                match step {
                    Step::Join { lane, units } => {
                        let Ok(place) = join(&queue, lane, units) else {
                            prop_assert!(queue.is_closed());
                            continue;
                        };
                        prop_assert!(!queue.is_closed());
                        reference.join(existing, lane);
                        prop_assert_eq!(place.is_head, reference.turn == Turn::Head(existing));
                        let mut request = Request::new(place);
                        // Takes its place in the lane.
                        let _ = request.poll();
                        requests.push(Some((request, lane, units)));
                    }
                    Step::Poll { number } if existing > 0 => {
                        let number = number % existing;
                        let Some((request, ..)) = &mut requests[number] else {
                            continue;
                        };
                        match request.poll() {
                            Some(is_head) => prop_assert_eq!(is_head, reference.poll(number)),
                            None => {
                                prop_assert!(queue.is_closed());
                                requests[number] = None;
                            }
                        }
                    }
                    Step::Drop { number } if existing > 0 => {
                        let number = number % existing;
                        if requests[number].take().is_some() {
                            reference.drop(number);
                        }
                    }
                    Step::DropHead => {
                        if let Turn::Head(number) = reference.turn {
                            requests[number] = None;
                            reference.drop(number);
                        }
                    }
                    Step::Close => queue.close(),
                    Step::Poll { .. } | Step::Drop { .. } => {}
                }
                let all = || requests.iter().flatten();
                prop_assert_eq!(queue.waiting(), all().count());
                prop_assert_eq!(queue.units(), all().map(|(.., units)| units).sum::<u64>());
                if let Turn::Head(head) = reference.turn {
                    let ahead = queue.units_ahead(Priority::High);
                    let is_ahead = |(number, lane): (usize, usize)| lane == 0 || number == head;
                    let expected: u64 = requests
                        .iter()
                        .enumerate()
                        .filter_map(|(number, one)| one.as_ref().map(|one| (number, one)))
                        .filter(|(number, (_, lane, _))| is_ahead((*number, *lane)))
                        .map(|(_, (.., units))| units)
                        .sum();
                    let has_lower = all().any(|(_, lane, _)| *lane > 0);
                    prop_assert!(queue.is_closed() || ahead == has_lower.then_some(expected));
                }
            }
            requests.clear();
            prop_assert_eq!((queue.waiting(), queue.units()), (0, 0));
            let last = join(&queue, 2, 1);
            prop_assert!(last.map_or(queue.is_closed(), |place| place.is_head));
        }
    }

    /// Returns the lanes in the order of their turns, while all of them are refilled.
    fn turns(lanes: &[usize]) -> Vec<usize> {
        let queue = Arc::new(WaitQueue::new(None));
        let enter = |lane: usize| {
            let mut request = Request::new(join(&queue, lane, 1).unwrap());
            let is_head = request.poll();
            (request, lane, is_head)
        };
        let (mut head, _, _) = enter(lanes[0]);
        let mut requests: Vec<_> = lanes.iter().map(|lane| enter(*lane)).collect();
        let mut order = Vec::new();
        for _ in 0..100 {
            drop(head);
            let next = requests
                .iter_mut()
                .position(|(request, ..)| request.poll() == Some(true));
            let (next, lane, _) = requests.remove(next.unwrap());
            head = next;
            order.push(lane);
            requests.push(enter(lane));
        }
        order
    }

    #[test]
    fn one_of_nine_turns_goes_to_a_lower_priority() {
        let order = turns(&[0, 2]);
        assert!(order.windows(9).all(|nine| nine.contains(&2)));
        assert_eq!(order.iter().filter(|lane| **lane == 2).count(), 11);
    }

    #[test]
    fn one_of_ten_turns_goes_to_each_priority() {
        let order = turns(&[0, 1, 2]);
        let all = |turns: &[usize]| (0..3).all(|lane| turns.contains(&lane));
        assert!(order.windows(10).all(all), "{order:?}");
    }

    #[test]
    fn max_waiting_bounds_each_priority() {
        let queue = Arc::new(WaitQueue::new(None));
        let join = |priority| {
            let patience = Patience {
                max_waiting: 2,
                ..patience(priority)
            };
            Waiter::join(queue.clone(), 1, patience)
        };
        let batch = [
            join(Priority::Low),
            join(Priority::Low),
            join(Priority::Low),
        ];
        let full = batch[2].as_ref().unwrap_err();
        assert_eq!(full.reason(), Reason::QueueFull { max_waiting: 2 });
        assert!(join(Priority::High).is_ok());
    }
}

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use loom::thread;

    use super::*;
    use crate::error::LimitKind;

    fn join(queue: &Arc<WaitQueue>, priority: Priority) -> Waiter {
        let patience = Patience {
            rejected: Rejected::too_long(LimitKind::Concurrency, None),
            max_wait: Duration::MAX,
            reply_time: Duration::ZERO,
            max_waiting: usize::MAX,
            priority,
        };
        Waiter::join(queue.clone(), 1, patience).unwrap()
    }

    #[test]
    fn loom_a_turn_passes_those_who_leave() {
        crate::sync::model(|| {
            let queue = Arc::new(WaitQueue::new(None));
            let head = join(&queue, Priority::Low);
            let mut cx = Context::from_waker(Waker::noop());
            let [mut normal, mut low] = [Priority::Normal, Priority::Low].map(|priority| {
                let mut place = join(&queue, priority);
                Box::pin(async move { place.reach_head().await.then_some(place) })
            });
            assert!(normal.as_mut().poll(&mut cx).is_pending());
            assert!(low.as_mut().poll(&mut cx).is_pending());
            let leaves = thread::spawn(move || drop(head));
            drop(normal);
            leaves.join().unwrap();
            assert!(low.as_mut().poll(&mut cx).is_ready(), "a lost turn");
        });
    }

    #[test]
    fn loom_a_change_wakes_the_head_or_is_seen() {
        crate::sync::model(|| {
            let queue = Arc::new(WaitQueue::new(None));
            let room = Arc::new(AtomicUsize::new(0));
            let (their_queue, their_room) = (queue.clone(), room.clone());
            let change = thread::spawn(move || {
                their_room.store(1, Ordering::Relaxed);
                their_queue.wake_head();
            });
            let place = join(&queue, Priority::High);
            let is_seen = room.load(Ordering::Relaxed) == 1;
            change.join().unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let is_woken = pin!(place.changed_before(None)).poll(&mut cx) == Poll::Ready(());
            assert!(is_seen || is_woken, "a lost wake-up");
        });
    }
}
