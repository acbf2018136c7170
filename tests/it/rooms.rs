//! The house has levels, and nothing reaches for a level below its own.

use std::{fs, path::Path};

/// From the top: a module may use those above it and its own level.
const LEVELS: [&[&str]; 8] = [
    &[
        "accessors",
        "carry",
        "circuit_open",
        "clock",
        "cost",
        "decision",
        "error",
        "events",
        "hint",
        "key",
        "message",
        "opening",
        "quota",
        "quoted",
        "refusal",
        "rate_limits",
        "rejected",
        "sync",
        "timed_out",
        "tokens",
    ],
    &["algorithm", "fields", "header", "payload"],
    &["limit", "circuit"],
    &[
        "token_bucket",
        "sliding_window",
        "concurrency",
        "circuit_breaker",
        "retry_after_backoff",
        "fallback",
        "replay",
        "idempotency_key",
        "timeout",
        "cache",
    ],
    &["provider", "per_key"],
    &["diagnose", "auto"],
    &["stack", "guide"],
    &["adapter"],
];

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path
                .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
                .unwrap();
            let first = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            found.push((module, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn nothing_imports_from_a_level_below_its_own_and_layers_do_not_import_each_other() {
    let mut files = Vec::new();
    sources(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")),
        &mut files,
    );
    let mut checked = 0;
    for (module, text) in files.iter().filter(|(module, _)| module != "lib") {
        let own = level(module).unwrap_or_else(|| panic!("src/{module} has no level: give it one"));
        // Prose may point anywhere.
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for used in code.split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(theirs) = level(&used) else { continue };
            let peers = theirs == own && own == 3 && used != *module;
            assert!(theirs <= own && !peers, "src/{module} uses {used}");
            checked += 1;
        }
    }
    assert!(checked > 10, "the check no longer sees the imports");
}
