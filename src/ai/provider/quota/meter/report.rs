//! Believes what the provider reports, whether it is more or less than our own count.
//!
//! A report holds for the instant at which its request arrived. So what counts now is what was
//! reported, minus what has left the limit since then, plus what was sent since then. If other
//! clients share the key, each unit that was sent since then stands for several.

use super::{MOST, Meter, Tally};
use crate::{ai::provider::Shape, http::Reported};

/// A unit of this client stands for at most so many units of all clients.
const MOST_SHARED: u64 = 8;

/// If other clients share the key, 1/`HEADROOM` of the limit stays free, since several of them may
/// start a request at the same time.
const HEADROOM: u64 = 32;

/// The own count when a request was admitted, including the request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    /// Units ever taken, minus those given back; wrapping.
    net: u64,
    /// Units that count, without those about to leave, which the provider no longer counts.
    used: u64,
    /// Units taken within the margin before it, which may arrive after it.
    recent: u64,
    /// Units reserved for responses that have not ended.
    reserved: u64,
}

/// What a meter has learned from reports.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reports {
    /// Units ever taken, minus those given back; wrapping.
    net: u64,
    /// The instant and `net` before a recent request, and before an earlier one.
    late: (u64, u64),
    early: (u64, u64),
    last: Option<Report>,
    /// When the current period began, and what was taken in it and in the one before.
    began: u64,
    current: Inflow,
    previous: Inflow,
}

/// The last report.
#[derive(Debug, Clone, Copy)]
struct Report {
    sent: u64,
    mark: Mark,
    /// When the first of the requests was sent that may have arrived in another order. The highest
    /// of their reports is `reported`.
    first: u64,
    reported: u64,
    /// Includes what may have arrived after it.
    used: u64,
    inflow: Inflow,
}

/// Units taken by all clients, and by this one.
#[derive(Debug, Clone, Copy, Default)]
struct Inflow {
    all: u64,
    ours: u64,
}

// ===== impl Mark =====

impl Mark {
    /// Returns the mark of a request that the provider has not counted, without its `counted` and
    /// its `reserved` units.
    pub(crate) fn without(self, counted: u64, reserved: u64) -> Self {
        Self {
            net: self.net.wrapping_sub(counted),
            used: self.used.saturating_sub(counted),
            recent: self.recent.saturating_sub(counted),
            reserved: self.reserved.saturating_sub(reserved),
        }
    }
}

// ===== impl Reports =====

impl Reports {
    #[inline]
    pub(super) fn count(&mut self, taken: u64, given_back: u64) {
        self.net = self.net.wrapping_add(taken).wrapping_sub(given_back);
    }

    /// Returns the units taken since `mark`, less than zero if more were given back.
    fn since(&self, mark: Mark) -> i64 {
        self.net.wrapping_sub(mark.net) as i64
    }

    /// Counts what was taken until `report`, of which `rest` was reported before. For a window it
    /// is `None`: all that counts was taken within a period.
    fn count_all(&mut self, report: &Report, rest: Option<u64>, period: u64) -> Inflow {
        if report.sent.saturating_sub(self.began) > period {
            (self.previous, self.current) = (self.current, Inflow::default());
            self.began = report.sent;
        }
        // What was sent just after it may have arrived before it.
        let since = self.since(report.mark).max(0) as u64;
        let since = if report.sent >= self.late.0 { since } else { 0 };
        let Inflow { all, ours } = &mut self.current;
        match rest {
            None => {
                let Mark { used, reserved, .. } = report.mark;
                (*all, *ours) = (report.reported, used.saturating_add(reserved));
            }
            Some(rest) => {
                // With what was in flight, which the provider may count.
                let net = |mark: Mark| mark.net.wrapping_add(mark.reserved);
                let last = self.last.map_or(0, |last| net(last.mark));
                let net = net(report.mark).wrapping_sub(last) as i64;
                *all = all.saturating_add(report.reported).saturating_sub(rest);
                *ours = ours.saturating_add_signed(net);
            }
        }
        Inflow {
            all: all.saturating_add(self.previous.all),
            ours: ours
                .saturating_add(self.previous.ours)
                .saturating_add(since),
        }
    }
}

// ===== impl Inflow =====

impl Inflow {
    /// Returns the units of all clients for `units` of ours.
    fn shared(&self, units: u64) -> u64 {
        let all = self.all.min(self.ours.saturating_mul(MOST_SHARED));
        scale(units, all, self.ours).max(units)
    }
}

// ===== impl Meter =====

impl Meter {
    /// Changes the limit.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        let limit = limit.min(MOST);
        // A learned limit admits larger requests. Otherwise a limit that is too low would exclude
        // the requests whose responses correct it, and a queued one would wait forever.
        self.is_learned |= limit != self.limit;
        self.limit = limit;
    }

    /// Applies the shape that the response to the request sent at `sent` tells. A window is
    /// certain, but a fixed window that is about to end looks like a bucket.
    pub(crate) fn reshape(&mut self, shape: Shape, sent: u64, now: u64) {
        let is_certain = shape == Shape::Window;
        if shape != self.shape() && (is_certain || !self.is_window) {
            // Nearly always an early response: all units still count.
            self.memory = Tally::new(shape, self.period, sent);
            self.memory
                .take(self.reports.net.min(self.limit), sent, false);
            self.burst = None;
            self.advance(now);
        }
        self.is_window |= is_certain;
    }

    /// Returns the mark of a request that was just admitted and took these `units`.
    pub(crate) fn mark(&mut self, units: u64, margin: u64, now: u64) -> Mark {
        let reports = &mut self.reports;
        let age = now.saturating_sub(reports.late.0);
        if age > margin {
            let before = (now, reports.net.wrapping_sub(units));
            let is_old = age / 2 > margin;
            reports.early = if is_old { before } else { reports.late };
            reports.late = before;
        }
        let at = now.saturating_add(self.margin);
        Mark {
            net: reports.net,
            used: match &self.memory {
                Tally::Bucket(bucket) => bucket.used(),
                // The provider counts without the margin, and without the parts of a period.
                Tally::Window(window, period) => {
                    window.used_at(period.nanos, period.rounded_up(at))
                }
            },
            // Less than zero if more were given back.
            recent: (reports.net.wrapping_sub(reports.early.1) as i64).max(0) as u64,
            reserved: self.reserved,
        }
    }

    /// Applies the report by which the limit was found, while requests for `cost` are in flight.
    pub(crate) fn hear_first(&mut self, cost: u64, reported: &Reported, now: u64) {
        self.take(cost, now, false);
        let mark = self.mark(cost, 0, now);
        self.hear(now, mark, reported, 0, now);
    }

    /// Applies the limit and the remainder that the response to the request sent at `sent` reports.
    pub(crate) fn hear(
        &mut self,
        sent: u64,
        mark: Mark,
        reported: &Reported,
        margin: u64,
        now: u64,
    ) {
        let last = self.reports.last;
        let is_stale = last.is_some_and(|last| sent < last.first);
        if is_stale || sent < self.born || reported.limit == Some(0) {
            return;
        }
        if let Some(limit) = reported.limit {
            self.set_limit(limit);
        }
        let left = reported.remaining;
        let Some(used) = left.and_then(|left| self.limit.checked_sub(left)) else {
            return;
        };
        let mut report = Report {
            sent,
            mark,
            first: sent,
            reported: used,
            used,
            inflow: Inflow::default(),
        };
        if let Some(last) = last.filter(|last| sent.saturating_sub(last.first) <= margin) {
            report.first = last.first;
            report.reported = used.max(last.reported);
            if self.reports.since(last.mark) < self.reports.since(mark) {
                (report.sent, report.mark) = (last.sent, last.mark);
            }
        }
        let Mark { used, recent, .. } = report.mark;
        report.used = report.reported + used.saturating_sub(report.reported).min(recent);
        let rest = match &mut self.memory {
            Tally::Window(..) => None,
            Tally::Bucket(bucket) => {
                let level = report
                    .used
                    .saturating_add_signed(self.reports.since(report.mark));
                bucket.replace(level, report.sent, now, self.limit);
                let (sent, reported) = last.map_or((0, 0), |last| (last.sent, last.reported));
                let elapsed = report.sent.saturating_sub(sent);
                Some(reported.saturating_sub(scale(self.limit, elapsed, self.period)))
            }
        };
        report.inflow = self.reports.count_all(&report, rest, self.period);
        self.reports.last = Some(report);
    }

    /// Returns the last report, if it is at most two periods old: clients that use all capacity at
    /// once hear nothing for a period and the time of a response.
    #[inline]
    fn report(&self, now: u64) -> Option<&Report> {
        let is_current = |report: &&Report| now.saturating_sub(report.sent) / 2 <= self.period;
        self.reports.last.as_ref().filter(is_current)
    }

    /// Returns the units that count now according to the last report, or to our own count if there
    /// is none. Reserved units are not included.
    #[inline]
    pub(crate) fn counted(&self, now: u64) -> u64 {
        let own = self.memory.used();
        let ours = match (&self.memory, self.report(now)) {
            (Tally::Window(..), Some(report)) => {
                let rest = self.rest(report, self.before(report, own), now);
                rest.saturating_add_signed(self.since(report, own))
            }
            // The level of a bucket was replaced by the report.
            _ => own,
        };
        ours.saturating_add(self.others(now))
    }

    /// Returns the units that other clients have taken since the last report.
    #[inline]
    pub(super) fn others(&self, now: u64) -> u64 {
        self.report(now).map_or(0, |report| {
            let since = self.since(report, self.memory.used()).max(0) as u64;
            let newer = self.pending(now).saturating_add(since);
            report.inflow.shared(newer) - newer
        })
    }

    /// Returns the units reserved for responses that have not ended, less what the last report had.
    ///
    /// Some providers count them at admission, so that the report includes them, and others at
    /// completion. Either way, what has started since the report counts at least, and what has
    /// ended since then. If other clients share the key, more stays reserved, as they have requests
    /// in flight as well.
    #[inline]
    pub(crate) fn pending(&self, now: u64) -> u64 {
        if self.reserved == 0 {
            return 0;
        }
        let report = self.report(now);
        let included = report.map_or(0, |report| {
            let Inflow { all, ours } = report.inflow;
            scale(report.mark.reserved, ours, all.max(ours))
        });
        self.reserved.saturating_sub(included)
    }

    /// Returns the units taken since the report that still count, less than zero if more were given
    /// back.
    fn since(&self, report: &Report, own: u64) -> i64 {
        self.reports.since(report.mark).min(own as i64)
    }

    /// Returns the own units from before the report that have not left the window.
    fn before(&self, report: &Report, own: u64) -> u64 {
        let since = self.reports.since(report.mark);
        own.saturating_add_signed(since.saturating_neg())
            .min(report.mark.used)
    }

    /// Returns the reported units that have not left the window, if the units of all clients leave
    /// as ours do.
    fn rest(&self, report: &Report, before: u64, now: u64) -> u64 {
        match report.mark.used {
            _ if now.saturating_sub(report.sent) >= self.period => 0,
            0 => report.used,
            ours => report.used - scale(report.used, ours - before, ours),
        }
    }

    /// Returns when `over` counted units have left the window, or `None` if only the end of
    /// responses frees them.
    pub(super) fn gone_at(&self, over: u64, now: u64) -> Option<u64> {
        let Tally::Window(window, ..) = &self.memory else {
            return None;
        };
        let Some(report) = self.report(now) else {
            return window.gone_at(over, self.period);
        };
        let before = self.before(report, window.used());
        let rest = self.rest(report, before, now);
        let units = match over.checked_sub(rest) {
            None => scale(over, before, rest) + 1,
            Some(newer) => before.saturating_add(newer),
        };
        let gone_at = window.gone_at(units.min(window.used()), self.period);
        // All reported units have left by then.
        let expiry = report.sent.saturating_add(self.period);
        match gone_at {
            Some(gone_at) if over <= rest => Some(gone_at.min(expiry)),
            None if expiry > now => Some(expiry),
            gone_at => gone_at,
        }
    }

    /// Returns the units that stay free for other clients.
    #[inline]
    pub(super) fn headroom(&self, now: u64) -> u64 {
        let is_shared = |report: &&Report| report.inflow.all > report.inflow.ours;
        let report = self.report(now).filter(is_shared);
        report.map_or(0, |_| self.limit / HEADROOM)
    }

    /// Returns this client's part of the limit.
    pub(crate) fn ours(&self, now: u64) -> u64 {
        self.report(now).map_or(self.limit, |report| {
            let Inflow { all, ours } = report.inflow;
            scale(self.limit, ours, all.max(ours)).max(1)
        })
    }
}

/// Returns `units` times `by`, divided by `of`.
fn scale(units: u64, by: u64, of: u64) -> u64 {
    let of = of.max(1);
    match units.checked_mul(by) {
        Some(product) => product / of,
        None => {
            let scaled = u128::from(units) * u128::from(by) / u128::from(of);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        }
    }
}
