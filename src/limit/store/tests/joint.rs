//! Several limits that are taken together, or not at all.

use tokio::{task::JoinSet, time::timeout};

use super::*;
use crate::{
    error::{LimitKind, Rejected},
    limit::{
        Priority, Quota,
        engine::{Limiter, Patience, WaitQueue, Waiter, acquire},
        store::{
            call::{LimitSpec, SetQuota, StateKey},
            link::{Link, Marks, Queue, Shortage},
        },
    },
};

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(2);

/// A limiter of nothing but a link, with a queue.
#[derive(Debug, Clone)]
pub(super) struct Joint {
    pub(super) link: Arc<Link>,
    pub(super) queue: Arc<JointQueue>,
}

#[derive(Debug)]
pub(super) struct JointQueue {
    pub(super) queue: Arc<WaitQueue>,
    pub(super) units: Vec<AtomicU64>,
}

// ===== impl Joint =====

impl Joint {
    pub(super) fn new(store: Arc<Handle>, limits: &[LimitSpec]) -> Self {
        Self::of(store, StateKey::of_name("joint"), limits)
    }

    pub(super) fn of(store: Arc<Handle>, key: StateKey, limits: &[LimitSpec]) -> Self {
        let look_again = limits.iter().map(|limit| store.look_again(limit)).min();
        let queue = Arc::new(JointQueue {
            queue: Arc::new(WaitQueue::new(look_again)),
            units: limits.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let link = Link::new(store, key, limits.into(), queue.clone());
        Self { link, queue }
    }

    pub(super) async fn acquire(&self, cost: &[u64]) -> Marks {
        self.acquire_within(cost, Duration::MAX).await.unwrap()
    }

    pub(super) async fn acquire_within(
        &self,
        cost: &[u64],
        max_wait: Duration,
    ) -> Result<Marks, Rejected> {
        acquire(self, cost.to_vec(), Priority::default(), max_wait).await
    }

    fn rejected(&self, cost: &[u64], shortage: Shortage) -> Rejected {
        let limit = shortage.limit();
        shortage.rejection(
            LimitKind::TokenBucket,
            cost[limit],
            self.link.capacity(limit),
        )
    }
}

impl Limiter for Joint {
    type Ask = Vec<u64>;
    type Pass = Marks;

    fn enter(&self, cost: &Vec<u64>, max_wait: Duration) -> Result<Marks, Rejected> {
        if self.queue.queue.is_idle() {
            let taken = self.link.take(cost, max_wait);
            return taken.map_err(|shortage| self.rejected(cost, shortage));
        }
        let taken = self.link.take_besides(cost);
        let wait = || self.link.wait_behind(cost);
        taken.ok_or_else(|| Rejected::too_long(LimitKind::TokenBucket, wait()))
    }

    fn reply_time(&self, rejected: &Rejected) -> Duration {
        match rejected.retry_after().is_none() && !rejected.is_final() {
            true => self.link.timeout(),
            false => Duration::ZERO,
        }
    }

    fn join(&self, cost: &Vec<u64>, patience: Patience) -> Result<Waiter, Rejected> {
        let waiter = Waiter::join(self.queue.queue.clone(), 1, patience)?;
        for (units, cost) in self.queue.units.iter().zip(cost) {
            units.fetch_add(*cost, Ordering::Relaxed);
        }
        Ok(waiter)
    }

    fn look(&self, cost: &Vec<u64>) -> Result<(), Rejected> {
        let looked = self.link.look(cost);
        looked.map_err(|shortage| self.rejected(cost, shortage))
    }

    fn take_in_turn(&self, cost: &Vec<u64>) -> Option<Marks> {
        self.link.take_in_turn(cost)
    }

    fn late(&self, _: &Vec<u64>) -> Rejected {
        Rejected::too_long(LimitKind::TokenBucket, Some(Duration::ZERO))
    }

    fn left(&self, cost: &Vec<u64>, _: Priority) {
        for (units, cost) in self.queue.units.iter().zip(cost) {
            units.fetch_sub(*cost, Ordering::Relaxed);
        }
    }
}

impl Queue for JointQueue {
    fn units(&self, limit: usize) -> u64 {
        self.units[limit].load(Ordering::Relaxed)
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }
}

/// Requests, tokens and a bucket of requests; tokens are the scarcest of about 100 each.
fn three() -> [LimitSpec; 3] {
    [
        LimitSpec::window(&Quota::new(500, SECOND * 2)),
        LimitSpec::window(&Quota::new(40_000, SECOND * 2)),
        LimitSpec::bucket(&Quota::per_second(250).burst(50)),
    ]
}

/// Runs eight processes for 20 s, and returns what started of requests and tokens.
async fn run(seed: u64, lost: u32, drops: bool) -> [Starts; 2] {
    let (model, starts) = (Model::new(), <[Starts; 2]>::default());
    let mut tasks = JoinSet::new();
    for process in 0..8 {
        let network = Network::new(&model, seed * 8 + process, LATENCY, lost);
        let limiter = Joint::new(network.process(WhenDown::Closed), &three());
        for worker in 0..8 {
            let (limiter, starts) = (limiter.clone(), starts.clone());
            let mut random = StdRng::seed_from_u64(seed * 1_000 + process * 100 + worker);
            tasks.spawn(async move {
                loop {
                    let cost = random.random_range(50..=150);
                    let patience = match drops {
                        true => Duration::from_micros(random.random_range(0..400_000)),
                        false => Duration::MAX,
                    };
                    let cost = [1, cost, 1];
                    if timeout(patience, limiter.acquire(&cost)).await.is_ok() {
                        starts[0].add(1);
                        starts[1].add(cost[1]);
                    }
                }
            });
        }
    }
    sleep(SECOND * 20).await;
    starts
}

#[tokio::test(start_paused = true)]
async fn joint_limits_are_never_over_and_used() {
    for (seed, lost, drops) in [(1, 0, false), (2, 0, true), (3, 20, true)] {
        let [requests, tokens] = run(seed, lost, drops).await;
        let fullest = (requests.fullest(SECOND * 2), tokens.fullest(SECOND * 2));
        let burst = requests.burst(SECOND / 250);
        let used = tokens.total() * 100 / 400_000;
        println!("lost {lost}, drops {drops}: fullest {fullest:?}, burst {burst}, used {used} %");
        assert!(fullest.0 <= 500 && fullest.1 <= 40_000, "{fullest:?}");
        // 10 ms of a hold, and 10 ms of lateness.
        assert!(burst <= 50 + 250 / 50 + 1, "{burst}");
        assert!(used >= if lost == 0 { 96 } else { 80 }, "{used} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shortage_names_its_limit() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [
        LimitSpec::window(&Quota::per_minute(10)),
        LimitSpec::window(&Quota::per_minute(100)),
        LimitSpec::window(&Quota::UNLIMITED),
    ];
    let limiter = Joint::new(network.process(WhenDown::Local), &limits);
    limiter.acquire(&[1, 95, 1 << 50]).await;
    let never = limiter.link.look(&[1, 101, 1]).unwrap_err();
    assert_eq!(never, Shortage::Never { limit: 1 });
    assert_eq!(limiter.link.look(&[1, 6, 1]), Err(Shortage::Reply));
    sleep(SECOND / 10).await;
    let short = limiter.link.look(&[1, 6, 1]).unwrap_err();
    assert!(
        matches!(short, Shortage::Wait { limit: 1, .. }),
        "{short:?}"
    );
    // One that needs less of it may fit.
    assert!(
        limiter
            .acquire_within(&[1, 5, 0], Duration::ZERO)
            .await
            .is_ok()
    );
    assert!(
        limiter
            .acquire_within(&[8, 0, 0], Duration::ZERO)
            .await
            .is_ok()
    );
    let usage = limiter.link.usage().unwrap();
    let units: Vec<_> = usage.used.iter().map(|used| used.units).collect();
    assert_eq!((units[0], units[1]), (10, 100));
    assert!(usage.used[1].resets_in > SECOND * 58 && usage.age <= LATENCY * 2);
}

#[tokio::test(start_paused = true)]
async fn new_limits_apply_to_all_and_wake_the_queue() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [Quota::per_hour(10), Quota::per_hour(100)].map(|it| LimitSpec::bucket(&it));
    let [first, second] = [(); 2].map(|()| Joint::new(network.process(WhenDown::Local), &limits));
    first.acquire(&[9, 10]).await;
    second.acquire(&[1, 1]).await;
    let waiting = tokio::spawn({
        let first = first.clone();
        async move { first.acquire(&[5, 5]).await }
    });
    sleep(SECOND).await;
    assert!(!waiting.is_finished());
    let raised = [Quota::per_hour(50), Quota::per_hour(200)].map(|it| LimitSpec::bucket(&it));
    // At once, by two processes.
    first.link.set_limit(0, raised[0]);
    second.link.set_limit(1, raised[1]);
    sleep(LATENCY * 10).await;
    assert!(waiting.is_finished());
    sleep(SECOND * 2).await;
    // The other hears of it.
    assert!(
        second
            .acquire_within(&[30, 150], Duration::ZERO)
            .await
            .is_ok()
    );
    assert_eq!(*second.link.limits(), raised);
    // If the store has lost them, each is sent again.
    network.model.forget();
    sleep(SECOND * 4).await;
    let third = Joint::new(network.process(WhenDown::Local), &limits);
    third.acquire(&[1, 1]).await;
    assert_eq!(*third.link.limits(), raised);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_set_again_if_another_was() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let [code, raised] = [[10, 100], [50, 200]];
    let [code, raised] = [code, raised].map(|limits| {
        let limits = limits.map(|limit| LimitSpec::window(&Quota::per_hour(limit)));
        Arc::<[_]>::from(limits)
    });
    let limiter = Joint::new(network.process(WhenDown::Local), &code);
    limiter.acquire(&[1, 1]).await;
    for (number, limit) in raised.iter().enumerate() {
        limiter.link.set_limit(number, *limit);
    }
    sleep(SECOND).await;
    network.model.forget();
    // Another process has crashed after it had set the first one again.
    let set = SetQuota {
        name: "joint".into(),
        limits: code.clone(),
        number: 0,
        new: raised[0],
    };
    network.model.call(Call::SetQuota(set)).await.unwrap();
    sleep(SECOND * 4).await;
    let other = Joint::new(network.process(WhenDown::Local), &code);
    other.acquire(&[1, 1]).await;
    assert_eq!(other.link.limits(), raised);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_in_all_processes() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [Quota::per_second(200), Quota::per_second(20_000)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let starts = Starts::default();
    let all = [(); 3].map(|()| Joint::new(network.process(WhenDown::Local), &limits));
    for limiter in &all {
        let (limiter, starts) = (limiter.clone(), starts.clone());
        tokio::spawn(async move {
            loop {
                limiter.acquire(&[1, 50]).await;
                starts.add(1);
            }
        });
    }
    sleep(SECOND * 3).await;
    let begin = Instant::now();
    all[0].link.pause(SECOND * 5);
    assert!(all[0].link.take_in_turn(&[1, 50]).is_none());
    sleep(SECOND * 4).await;
    let paused = all.each_ref().map(|limiter| limiter.link.paused());
    assert!(
        paused.iter().all(|rest| *rest >= SECOND * 9 / 10),
        "{paused:?}"
    );
    sleep(SECOND * 2).await;
    let starts = starts.0.lock().unwrap();
    let latest = starts.range(..begin + SECOND).next_back().unwrap();
    let hold = Duration::from_millis(10) + LATENCY * 2;
    assert!(*latest.0 <= begin + hold, "{:?}", *latest.0 - begin);
    let next = starts.range(begin + SECOND..).next().unwrap();
    assert!(*next.0 >= begin + SECOND * 5 && *next.0 <= begin + SECOND * 6);
}

#[tokio::test(start_paused = true)]
async fn each_policy_holds_for_all_limits() {
    for policy in [WhenDown::Local, WhenDown::Closed, WhenDown::Open] {
        let network = Network::new(&Model::new(), 1, LATENCY, 0);
        let limits = [Quota::new(100, SECOND * 10), Quota::new(1_000, SECOND * 10)];
        let limits = limits.map(|quota| LimitSpec::window(&quota));
        let [first, second] = [(); 2].map(|()| Joint::new(network.process(policy), &limits));
        for limiter in [&first, &second] {
            limiter.acquire(&[10, 10]).await;
        }
        sleep(SECOND).await;
        network.faults.is_refused.store(true, Ordering::Relaxed);
        let _unknown = first.acquire_within(&[1, 200], Duration::ZERO).await;
        let mut taken = 0;
        while first.acquire_within(&[1, 20], Duration::ZERO).await.is_ok() && taken < 300 {
            taken += 1;
        }
        // Half of the tokens, of which it has taken 10; and maybe the first request.
        match policy {
            WhenDown::Local => assert!((14..=24).contains(&taken), "{taken}"),
            WhenDown::Closed => assert_eq!(taken, 0),
            WhenDown::Open => assert_eq!(taken, 300),
        }
        network.faults.is_refused.store(false, Ordering::Relaxed);
        sleep(SECOND * 2).await;
        let free = second.acquire_within(&[1, 500], Duration::ZERO).await;
        assert_eq!(free.is_ok(), policy != WhenDown::Open, "{policy:?}");
        let free = second.acquire_within(&[1, 480], Duration::ZERO).await;
        assert_eq!(free.is_ok(), policy == WhenDown::Closed, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_leave_nothing_behind() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [Quota::new(100, SECOND * 2), Quota::new(1_000, SECOND * 2)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let [first, second] = [(); 2].map(|()| Joint::new(network.process(WhenDown::Local), &limits));
    let mut random = StdRng::seed_from_u64(1);
    let mut started = 0;
    for _ in 0..10_000 {
        let patience = Duration::from_micros(random.random_range(0..2_000));
        let cost = [1, random.random_range(1..100)];
        started += u64::from(timeout(patience, first.acquire(&cost)).await.is_ok());
    }
    println!("{started} started");
    assert_eq!(first.queue.queue.waiting(), 0);
    assert_eq!((first.queue.units(0), first.queue.units(1)), (0, 0));
    // No claim after a second, and no missing unit after a period.
    sleep(SECOND * 2 + SECOND / 10).await;
    assert!(
        second
            .acquire_within(&[100, 1_000], Duration::ZERO)
            .await
            .is_ok()
    );
    sleep(SECOND * 3).await;
    assert_eq!(Arc::strong_count(&first.link), 1);
    assert!(first.link.is_idle());
}
