//! What came of a run, as a table or as a line of JSON.

use std::{fmt::Write, sync::atomic::Ordering::Relaxed, time::Duration};

use serde::Serialize;

use crate::{meter::Meter, work::Work};

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(skip)]
    pub(crate) name: &'static str,
    provider: &'static str,
    kind: &'static str,
    requests: usize,
    succeeded: u64,
    pub(crate) failed: u64,
    attempts: u64,
    http_429: u64,
    elapsed_s: f64,
    ideal_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    tokens: u64,
    reserved_tokens: u64,
    hits: u64,
    fallbacks: u64,
    retries: u64,
}

// ===== impl Report =====

impl Report {
    /// Takes the result of a run that has just ended.
    pub(crate) fn of(name: &'static str, meter: &Meter, work: &Work) -> Self {
        let millis = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        let seconds = |time: Duration| (time.as_secs_f64() * 1e3).round() / 1e3;
        let used = meter.tokens.load(Relaxed);
        Self {
            name,
            provider: work.allows.name(),
            kind: work.kind(),
            requests: meter.requests,
            succeeded: meter.succeeded.load(Relaxed),
            failed: meter.failed.load(Relaxed),
            attempts: meter.attempts.load(Relaxed),
            http_429: meter.http_429.load(Relaxed),
            elapsed_s: seconds(meter.begun.elapsed()),
            ideal_s: seconds(work.ideal(meter.mean_service(), used)),
            p50_ms: millis(meter.percentile(0.50)),
            p99_ms: millis(meter.percentile(0.99)),
            tokens: used,
            reserved_tokens: work.reserved,
            hits: meter.hits.load(Relaxed),
            fallbacks: meter.fallbacks.load(Relaxed),
            retries: meter.retries.load(Relaxed),
        }
    }

    /// Each row of the table: its name, and the value.
    fn rows(&self) -> [(&'static str, String); 13] {
        [
            ("requests", self.requests.to_string()),
            ("succeeded", self.succeeded.to_string()),
            ("failed", self.failed.to_string()),
            ("429s", self.http_429.to_string()),
            ("attempts", self.attempts.to_string()),
            ("retries", self.retries.to_string()),
            ("elapsed", format!("{:.1} s", self.elapsed_s)),
            ("ideal", format!("{:.1} s", self.ideal_s)),
            ("p50", format!("{:.0} ms", self.p50_ms)),
            ("p99", format!("{:.0} ms", self.p99_ms)),
            ("tokens", self.tokens.to_string()),
            ("hits", self.hits.to_string()),
            ("fallbacks", self.fallbacks.to_string()),
        ]
    }
}

/// The reports of the same work side by side.
pub(crate) fn table(work: &Work, reports: &[Report]) -> String {
    let columns: Vec<_> = reports.iter().map(Report::rows).collect();
    let names = columns[0].each_ref().map(|(name, _)| *name);
    let label = names.map(str::len).into_iter().max().unwrap_or(0);
    let widths: Vec<_> = reports
        .iter()
        .zip(&columns)
        .map(|(report, rows)| {
            let longest = rows.iter().map(|(_, cell)| cell.chars().count()).max();
            longest.unwrap_or(0).max(report.name.chars().count())
        })
        .collect();

    let mut text = format!("\n  {work}\n\n");
    let mut line = |label_text: &str, cells: &mut dyn Iterator<Item = &str>| {
        let _ = write!(text, "  {label_text:<label$} │");
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    };
    line("", &mut reports.iter().map(|report| report.name));
    let rules: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
    let rule = "─".repeat(label);
    line(&rule, &mut rules.iter().map(String::as_str));
    for (n, name) in names.into_iter().enumerate() {
        line(name, &mut columns.iter().map(|rows| rows[n].1.as_str()));
    }
    text
}
