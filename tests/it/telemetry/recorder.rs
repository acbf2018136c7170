//! A recorder whose text is parsed, as a Prometheus server parses it.

use std::collections::BTreeMap;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tower_throttle::metrics::{Publish, describe};

pub(super) struct Recorder(PrometheusRecorder);

/// One line of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// All lines of a text, and the type of each metric.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) samples: Vec<Sample>,
    pub(super) types: BTreeMap<String, String>,
    pub(super) text: String,
}

/// Publishes to the recorder of this thread.
pub(super) fn publish(name: &'static str, limiter: &impl Publish) {
    limiter.publish(name);
}

// ===== impl Recorder =====

impl Recorder {
    pub(super) fn new() -> Self {
        let recorder = Self(PrometheusBuilder::new().build_recorder());
        recorder.within(describe);
        recorder
    }

    /// Makes services that count here.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.0, make)
    }

    /// Makes all services of this thread count here.
    pub(super) fn set_default(&self) -> metrics::LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.0)
    }

    pub(super) fn publish(&self, name: &'static str, limiter: &impl Publish) {
        self.within(|| limiter.publish(name));
    }

    pub(super) fn scrape(&self) -> Scrape {
        Scrape::parse(&self.0.handle().render())
    }
}

// ===== impl Scrape =====

impl Scrape {
    /// Parses the text format, and panics if it is not well formed.
    pub(super) fn parse(text: &str) -> Self {
        let (mut samples, mut types) = (Vec::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "two types of {name}");
            } else if !line.starts_with("# HELP ") {
                samples.push(Sample::parse(line));
            }
        }
        Self {
            samples,
            types,
            text: text.to_owned(),
        }
    }

    /// Sums the samples of a metric that have these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let has = |(key, value): &(&str, &str)| {
                sample.labels.get(*key).is_some_and(|label| label == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.samples
            .iter()
            .filter(has)
            .map(|sample| sample.value)
            .sum()
    }

    /// Returns the requests of a layer that had this outcome.
    pub(super) fn requests(&self, layer: &str, outcome: &str) -> usize {
        let labels = [("layer", layer), ("outcome", outcome)];
        self.sum("tower_throttle_requests_total", &labels) as usize
    }
}

// ===== impl Sample =====

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (series, ""),
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(is_word), "{line}");
        let labels = labels.split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (key, value) = label.split_once("=\"").expect(line);
            assert!(key.bytes().all(is_word), "{line}");
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().expect(line),
        }
    }
}
