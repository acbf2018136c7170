//! The laws alone, against a backend of so many workers.

use std::{cmp::Reverse, collections::{BinaryHeap, VecDeque}, time::Duration};

use super::{Adaptive, control::Control, window::{Outcome, Sample}};

struct Rng(u64);
impl Rng {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13; self.0 ^= self.0 >> 7; self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
    fn exp(&mut self) -> f64 { -(1.0 - self.unit()).ln() }
    fn lognormal(&mut self) -> f64 { let n: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0; (0.5 * n - 0.125).exp() }
}

const MS: f64 = 1e6;

#[derive(Clone, Copy)]
struct Phase { secs: f64, workers: usize, first: f64, rest: f64, load: f64 }

/// prints for each phase
fn run(settings: Adaptive, phases: &[Phase], noise: u8, seed: u64) {
    let mut rng = Rng(seed);
    let mut control = Control::new(&settings, 0);
    #[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
    enum E { Arrive, First(u64), End(u64) }
    let mut events: BinaryHeap<Reverse<(u64, E)>> = BinaryHeap::new();
    events.push(Reverse((0, E::Arrive)));
    let mut queue: VecDeque<u64> = VecDeque::new();
    let (mut busy, mut in_flight) = (0usize, 0usize);
    let (mut hs, mut hc) = (0u64, 0u64);
    let mut from = 0u64;
    let mut now = 0;
    for (i, p) in phases.iter().enumerate() {
        let until = from + (p.secs * 1e9) as u64;
        let half = from + (p.secs * 0.5e9) as u64;
        let (mut good, mut n, mut limits, mut lat, mut late) = (0u64, 0u64, 0.0, 0.0, 0);
        let mut settled = None;
        let mut worst: f64 = 0.0; let (mut lo, mut hi) = (usize::MAX, 0);
        while let Some(Reverse((t, e))) = events.pop() {
            if t >= until { events.push(Reverse((t, e))); break; }
            now = t;
            let mut serve = |busy: &mut usize, queue: &mut VecDeque<u64>, events: &mut BinaryHeap<Reverse<(u64, E)>>, rng: &mut Rng| {
                while *busy < p.workers {
                    let Some(started) = queue.pop_front() else { break };
                    *busy += 1;
                    let x = match noise { 0 => 1.0, 1 => rng.lognormal(), _ => rng.exp() };
                    let first = now + (p.first * x) as u64;
                    events.push(Reverse((first, E::First(started))));
                    let y = match noise { 0 => 1.0, 1 => rng.lognormal(), _ => rng.exp() };
                    events.push(Reverse((first + (p.rest * y) as u64, E::End(started))));
                }
            };
            match e {
                E::Arrive => {
                    let mean = (p.first + p.rest) / p.workers as f64 / p.load;
                    events.push(Reverse((now + (mean * rng.exp()) as u64, E::Arrive)));
                    if in_flight < control.limit() { in_flight += 1; queue.push_back(now); serve(&mut busy, &mut queue, &mut events, &mut rng); }
                }
                E::First(started) => {
                    let s = Sample { started, now, in_flight, outcome: Outcome::Answered };
                    let before = control.limit();
                    control.sample(&s, || (std::mem::take(&mut hs), std::mem::take(&mut hc)));
                    if std::env::var("TRACE").is_ok() && before != control.limit() { println!("{:.3}s {before} -> {} {control:?}", now as f64/1e9, control.limit()); }
                    let l = control.limit() as f64;
                    if settled.is_none() && (l - p.workers as f64).abs() <= 0.25 * p.workers as f64 { settled = Some((now - from) as f64 / 1e9) }
                    if now > half {
                        let latency = (now - started) as f64;
                        n += 1; lat += latency; limits += l; lo = lo.min(control.limit()); hi = hi.max(control.limit());
                        worst = worst.max(latency);
                        if latency > 2.0 * p.first { late += 1 } 
                    }
                }
                E::End(started) => {
                    in_flight -= 1; busy -= 1; hs += now - started; hc += 1;
                    if now > half { good += 1 }
                    serve(&mut busy, &mut queue, &mut events, &mut rng);
                }
            }
        }
        let most = p.workers as f64 / (p.first + p.rest) * 1e9 * p.secs / 2.0 * p.load.min(1.0);
        println!("phase {i}: workers {} goodput {:.2} limit {:.1} [{lo},{hi}] latency {:.2} worst {:.2} late {:.2} settled {:?}", p.workers, good as f64 / most, limits / n as f64, lat / n as f64 / p.first, worst / p.first, late as f64 / n as f64, settled);
        from = until;
    }
}

#[test]
fn try_it() {
    let phase = |secs, workers, ms: f64, load| Phase { secs, workers, first: ms * MS, rest: 0.0, load };
    for noise in [0, 1, 2] {
        for seed in std::env::var("SEEDS").map_or(vec![1,2], |s| s.split(',').map(|s| s.parse().unwrap()).collect()) {
            println!("--- noise {noise} knee");
            run(Adaptive::gradient(), &[phase(10.0, 10, 10.0, 3.0), phase(10.0, 40, 10.0, 3.0), phase(10.0, 10, 10.0, 3.0), phase(10.0, 200, 10.0, 3.0), phase(10.0,2,10.0,3.0)], noise, seed);
            println!("--- service");
            run(Adaptive::gradient(), &[phase(20.0, 40, 50.0, 3.0), phase(10.0, 40, 10.0, 3.0), phase(20.0, 40, 50.0, 3.0), phase(40.0, 20, 200.0, 3.0)], noise, seed);
            println!("--- aimd");
            run(Adaptive::aimd(Duration::from_micros(if noise == 2 { 7000 } else { 12000 })), &[phase(10.0, 10, 10.0, 3.0), phase(10.0, 40, 10.0, 3.0), phase(10.0, 10, 10.0, 3.0)], noise, seed);
            println!("--- streams");
            let stream = |secs, workers, load| Phase { secs, workers, first: 500.0 * MS, rest: 9500.0 * MS, load };
            run(Adaptive::gradient(), &[stream(1200.0, 20, 3.0), stream(1200.0, 60, 3.0), stream(1200.0, 20, 3.0)], noise, seed);
            println!("--- underload");
            run(Adaptive::gradient(), &[phase(10.0, 40, 10.0, 0.5), phase(10.0, 40, 50.0, 0.5), phase(10.0, 10, 10.0, 3.0)], noise, seed);
        }
    }
}
