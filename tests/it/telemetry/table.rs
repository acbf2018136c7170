//! The tables of the guide have what the sources report, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Mutex,
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// A row of the table of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetricRow {
    pub(super) kind: String,
    pub(super) unit: String,
    pub(super) labels: BTreeSet<String>,
}

/// A row of the table of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) level: String,
    pub(super) fields: BTreeSet<String>,
}

/// Returns the cells of all rows of the guide with so many cells.
fn rows(cells: usize) -> Vec<Vec<String>> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/telemetry.md");
    let guide = fs::read_to_string(guide).unwrap();
    let rows = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `tower_throttle"));
    let rows = rows.map(|row| {
        let cells = row.trim_end_matches('|').split(" | ");
        let cells = cells.map(|cell| cell.trim().trim_matches('`').to_owned());
        cells.collect::<Vec<_>>()
    });
    rows.filter(|row| row.len() == cells).collect()
}

fn words(cell: &str) -> BTreeSet<String> {
    let words = cell
        .split(',')
        .map(|word| word.trim().trim_matches('`').to_owned());
    words.filter(|word| !word.is_empty()).collect()
}

pub(super) fn metric_rows() -> BTreeMap<String, MetricRow> {
    let rows = rows(6).into_iter().map(|row| {
        let metric = MetricRow {
            kind: row[1].clone(),
            unit: row[2].clone(),
            labels: words(&row[3]),
        };
        (format!("tower_throttle{}", row[0]), metric)
    });
    rows.collect()
}

/// Returns the events by target and message.
pub(super) fn event_rows() -> BTreeMap<(String, String), EventRow> {
    let rows = rows(4).into_iter().map(|row| {
        let event = EventRow {
            level: row[2].clone(),
            fields: words(&row[3]),
        };
        ((format!("tower_throttle{}", row[0]), row[1].clone()), event)
    });
    rows.collect()
}

/// Collects what is described.
#[derive(Default)]
struct Descriptions(Mutex<BTreeMap<String, (String, String)>>);

impl Descriptions {
    fn add(&self, name: &KeyName, kind: &str, unit: Option<Unit>) {
        let row = (kind.to_owned(), unit.unwrap().as_str().to_owned());
        let before = self.0.lock().unwrap().insert(name.as_str().to_owned(), row);
        assert_eq!(before, None, "{name:?} is described twice");
    }
}

impl Recorder for Descriptions {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.add(&name, "counter", unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.add(&name, "gauge", unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.add(&name, "histogram", unit);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn the_guide_has_all_metrics() {
    let described = Descriptions::default();
    metrics::with_local_recorder(&described, tower_throttle::metrics::describe);
    let rows = metric_rows().into_iter();
    let rows: BTreeMap<_, _> = rows
        .map(|(name, row)| (name, (row.kind, row.unit)))
        .collect();
    assert_eq!(*described.0.lock().unwrap(), rows);
}

#[test]
fn names_of_metrics_follow_the_conventions() {
    for (name, row) in metric_rows() {
        assert_eq!(name.ends_with("_total"), row.kind == "counter", "{name}");
        let is_time = row.unit == "seconds";
        assert_eq!(
            name.trim_end_matches("_total").ends_with("_seconds"),
            is_time,
            "{name}"
        );
        assert!(row.kind != "histogram" || is_time, "{name}");
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.bytes().all(is_word), "{name}");
    }
}

/// Returns the targets and messages of the events in the sources.
fn events_in(folder: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            events_in(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("macros.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let macros = [
                "macros::event!(",
                "macros::warning!(",
                "tracing::trace!(",
                "tracing::debug!(",
                "tracing::info!(",
                "tracing::warn!(",
                "tracing::error!(",
            ];
            for text in macros.iter().flat_map(|name| text.split(name).skip(1)) {
                let (event, _) = text.split_once(");").unwrap();
                let literals: Vec<_> = event.split('"').skip(1).step_by(2).collect();
                let target = literals.first().unwrap();
                assert!(
                    event.trim_start().starts_with("target: "),
                    "{path:?}: {event}"
                );
                let message = literals.last().unwrap().replace("\\\n", "");
                let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
                found.insert(((*target).to_owned(), message));
            }
        }
    }
}

#[test]
fn the_guide_has_all_events() {
    let mut found = BTreeSet::new();
    events_in(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    let rows: BTreeSet<_> = event_rows().into_keys().collect();
    assert_eq!(found, rows);
}
