//! What is shown while a batch runs: a bar on a terminal, a line a second elsewhere. All of it on
//! stderr.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{console::tell, gauges::Gauges, meter::Meter, work::Work};

/// How many failures are told one by one. Who sees these knows what the rest are like.
const TOLD: usize = 20;

/// A display that goes on until it is [ended](Progress::end).
#[derive(Debug)]
pub(crate) struct Progress {
    view: View,
    ticks: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct View {
    name: &'static str,
    meter: Arc<Meter>,
    work: Work,
    gauges: Gauges,
    bar: Option<ProgressBar>,
    tells_failures: bool,
}

// ===== impl Progress =====

impl Progress {
    /// Shows how a run fares. Its failures are told one by one if they are worth the reader's time.
    pub(crate) fn start(
        name: &'static str,
        meter: Arc<Meter>,
        work: Work,
        gauges: Gauges,
        tells_failures: bool,
    ) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(meter.requests as u64), target);
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_prefix(name)
        });
        let view = View {
            name,
            meter,
            work,
            gauges,
            bar,
            tells_failures,
        };
        let ticking = view.clone();
        let ticks = tokio::spawn(async move {
            let period = if ticking.bar.is_some() { 100 } else { 1_000 };
            let mut ticks = interval(Duration::from_millis(period));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                ticking.show();
            }
        });
        Self { view, ticks }
    }

    /// Shows the end and stops.
    pub(crate) fn end(self) {
        self.ticks.abort();
        self.view.show();
        if let Some(bar) = self.view.bar {
            bar.abandon();
        }
    }
}

// ===== impl View =====

impl View {
    fn show(&self) {
        self.tell_failures();
        let line = self.line();
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.done());
                bar.set_message(line);
            }
            None => {
                let (done, all) = (self.done(), self.meter.requests);
                tell(format_args!("{}: {done}/{all}  {line}", self.name));
            }
        }
    }

    fn tell_failures(&self) {
        if !self.tells_failures {
            return;
        }
        let (before, failures) = self.meter.failures();
        for (n, failure) in (before..).zip(failures) {
            match n {
                0..TOLD => self.say(&failure),
                TOLD => self.say("more failures are only counted"),
                _ => {}
            }
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => tell(text),
        }
    }

    fn line(&self) -> String {
        let meter = &self.meter;
        let elapsed = meter.begun.elapsed();
        let rate = self.done() as f64 / elapsed.as_secs_f64().max(0.001);
        let in_flight = meter.in_flight.load(Relaxed);
        let taken = meter.taken.load(Relaxed);
        let waiting = taken.saturating_sub(self.done() + in_flight);
        let limits = self.gauges.line(in_flight, meter.refused());
        let refused = meter.http_429.load(Relaxed);
        let eta = self.eta(elapsed, rate);
        format!("{rate:.1}/s, {waiting} waiting, {limits}, {refused} × 429, {eta}")
    }

    /// By the limits as well as by what has been seen: a window's worth that goes out at once says
    /// little of the rest.
    fn eta(&self, elapsed: Duration, rate: f64) -> String {
        let left = self.meter.requests as f64 - self.done() as f64;
        if left <= 0.0 {
            return format!("{:.1} s in all", elapsed.as_secs_f64());
        }
        if self.done() == 0 {
            return "ETA unknown".to_owned();
        }
        let used = self.meter.expected_tokens().unwrap_or(self.work.reserved);
        let by_limits = self.work.ideal(self.meter.mean_service(), used);
        let by_limits = by_limits.saturating_sub(elapsed).as_secs_f64();
        format!("ETA {:.0} s", by_limits.max(left / rate))
    }

    fn done(&self) -> u64 {
        self.meter.succeeded.load(Relaxed) + self.meter.failed.load(Relaxed)
    }
}
