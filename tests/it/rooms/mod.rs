//! The folders of `src` have ranks, and no file imports from a higher one.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use self::imports::{Import, imports, re_exports};

/// From the lowest: a file may import from its own folder and from lower ranks. Those of the lowest
/// rank may import each other, and those of the third must not.
const RANKS: [&[&str]; 6] = [
    &[
        "backoff",
        "error",
        "http",
        "macros",
        "payload",
        "sync",
        "telemetry",
    ],
    &["limit"],
    &[
        "cache",
        "circuit_breaker",
        "fallback",
        "idempotency_key",
        "replay",
        "retry",
        "timeout",
    ],
    &["ai"],
    &["integrations"],
    &["guide"],
];
const MIDDLEWARES: usize = 2;

/// A file of `src`, by its path there and its text.
struct File {
    path: String,
    text: String,
}

/// What is wrong with an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    HigherRank,
    Peer,
    Framework,
    /// By a name that the root re-exports, or the root itself.
    ThroughRoot,
    NoRank,
}

fn rank(folder: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&folder))
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').map(str::to_owned).collect()
    }

    fn folder(&self) -> String {
        self.module().swap_remove(0)
    }

    fn is_of_tests(&self) -> bool {
        let names = ["tests", "loom_tests", "loom", "properties"];
        self.module()
            .iter()
            .any(|name| names.contains(&name.as_str()))
    }

    fn violations(&self) -> Vec<(Violation, String)> {
        let (folder, module) = (self.folder(), self.module());
        let Some(own) = rank(&folder) else {
            return vec![(Violation::NoRank, folder)];
        };
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let mut violations = Vec::new();
        for import in imports(&module, &self.text) {
            let violation = match &import {
                Import::Framework(framework) => {
                    let root = framework.split('_').next().unwrap_or_default();
                    (folder != "integrations" && !name.contains(root))
                        .then_some(Violation::Framework)
                }
                Import::Own(path) => match path.first().map(String::as_str) {
                    Some(first) if first == folder => None,
                    Some(first) => match rank(first) {
                        Some(theirs) if theirs > own => Some(Violation::HigherRank),
                        Some(MIDDLEWARES) if own == MIDDLEWARES => Some(Violation::Peer),
                        Some(_) => None,
                        None => Some(Violation::ThroughRoot),
                    },
                    None => Some(Violation::ThroughRoot),
                },
            };
            violations.extend(violation.map(|violation| (violation, format!("{import:?}"))));
        }
        violations
    }
}

fn sources(folder: &Path, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
            let inside = path.strip_prefix(src).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            found.push(File::new(&inside.replace('\\', "/"), &text));
        }
    }
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    sources(Path::new(src), &mut files);
    files.retain(|file| file.path != "lib.rs" && !file.is_of_tests());
    files
}

/// The circle that a walk from any node first closes.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        node: &str,
        edges: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if path.iter().any(|other| other == node) {
            path.push(node.to_owned());
            return true;
        }
        if !done.insert(node.to_owned()) {
            return false;
        }
        path.push(node.to_owned());
        let nexts = edges.get(node).into_iter().flatten();
        for next in nexts {
            if visit(next, edges, path, done) {
                return true;
            }
        }
        path.pop();
        false
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|node| {
        let mut path = Vec::new();
        visit(node, edges, &mut path, &mut done).then_some(path)
    })
}

#[test]
fn imports_follow_the_ranks() {
    let files = files();
    let mut seen = 0;
    for file in &files {
        seen += imports(&file.module(), &file.text).len();
        let violations = file.violations();
        assert!(violations.is_empty(), "src/{}: {violations:?}", file.path);
    }
    assert!(seen > 700, "only {seen} imports were read");
}

#[test]
fn folders_import_in_no_circle() {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for file in files() {
        for import in imports(&file.module(), &file.text) {
            if let Import::Own(path) = import {
                let theirs = path.into_iter().next().unwrap_or_default();
                if theirs != file.folder() {
                    edges.entry(file.folder()).or_default().insert(theirs);
                }
            }
        }
    }
    assert_eq!(cycle(&edges), None);
}

#[test]
fn files_of_a_folder_import_in_no_circle() {
    let files = files();
    let modules: BTreeSet<_> = files.iter().map(|file| file.module().join("::")).collect();
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    // What a folder's `mod.rs` defines is for all files of it, which it names in turn.
    for file in files.iter().filter(|file| !file.path.ends_with("/mod.rs")) {
        let module = file.module();
        let parent = &module[..module.len() - 1];
        for import in imports(&module, &file.text) {
            let Import::Own(path) = import else { continue };
            let sibling = path.get(..module.len()).unwrap_or_default();
            if sibling.starts_with(parent) && sibling != module {
                let sibling = sibling.join("::");
                if modules.contains(&sibling) {
                    edges.entry(module.join("::")).or_default().insert(sibling);
                }
            }
        }
    }
    assert_eq!(cycle(&edges), None);
}

#[test]
fn violations_of_each_kind_are_found() {
    use Violation::*;
    let table: &[(&str, &str, Option<Violation>)] = &[
        (
            "retry/a.rs",
            "use crate::ai::provider::X;",
            Some(HigherRank),
        ),
        (
            "retry/a.rs",
            "use crate::{error::E, ai::{b::C, d}};",
            Some(HigherRank),
        ),
        (
            "retry/a.rs",
            "pub(crate) use crate::ai::{self as b};",
            Some(HigherRank),
        ),
        (
            "retry/a.rs",
            "use super::super::integrations::X;",
            Some(HigherRank),
        ),
        (
            "retry/b/c.rs",
            "use super::{super::super::ai::X};",
            Some(HigherRank),
        ),
        ("retry/mod.rs", "use self::super::ai::X;", Some(HigherRank)),
        ("retry/a.rs", "use crate::r#ai::X;", Some(HigherRank)),
        (
            "retry/a.rs",
            "use crate :: /* x */ ai\n::X;",
            Some(HigherRank),
        ),
        ("retry/a.rs", "fn f() { crate::ai::g() }", Some(HigherRank)),
        (
            "retry/a.rs",
            "fn f() { { super::super::ai::g() } }",
            Some(HigherRank),
        ),
        ("retry/a.rs", "m!(a, [crate::ai::X]);", Some(HigherRank)),
        (
            "retry/a.rs",
            "macro_rules! m { () => { $crate::ai::X } }",
            Some(HigherRank),
        ),
        (
            "retry/a.rs",
            "mod b { use super::super::super::ai::X; }",
            Some(HigherRank),
        ),
        (
            "retry/a.rs",
            "#[doc(inline)] pub use crate::ai::X as Y;",
            Some(HigherRank),
        ),
        ("limit/a.rs", "use crate::retry::X;", Some(HigherRank)),
        (
            "error/a.rs",
            "impl crate::limit::X for Y {}",
            Some(HigherRank),
        ),
        ("retry/a.rs", "use crate::cache::X;", Some(Peer)),
        (
            "timeout/mod.rs",
            "use crate::{http::H, replay::{X, Y}};",
            Some(Peer),
        ),
        ("retry/a.rs", "use hyper::Error;", Some(Framework)),
        ("retry/a.rs", "use ::hyper_util::rt;", Some(Framework)),
        (
            "retry/a.rs",
            "use {http::X, reqwest::{self as r}};",
            Some(Framework),
        ),
        ("retry/a.rs", "use tonic as t;", Some(Framework)),
        ("retry/a.rs", "extern crate axum as a;", Some(Framework)),
        ("retry/a.rs", "fn f(e: &h2::Error) {}", Some(Framework)),
        (
            "retry/a.rs",
            "fn f() { x.is::<::reqwest::Error>() }",
            Some(Framework),
        ),
        (
            "error/transport/axum.rs",
            "use hyper::Error;",
            Some(Framework),
        ),
        ("retry/a.rs", "use crate::BoxError;", Some(ThroughRoot)),
        ("retry/a.rs", "use crate as root;", Some(ThroughRoot)),
        (
            "retry/a.rs",
            "use crate::{self as root};",
            Some(ThroughRoot),
        ),
        ("retry/a.rs", "use crate::*;", Some(ThroughRoot)),
        ("backoff.rs", "use super::*;", Some(ThroughRoot)),
        (
            "retry/a.rs",
            "fn f(p: crate::provider::P) {}",
            Some(ThroughRoot),
        ),
        ("somewhere/a.rs", "", Some(NoRank)),
        // What is allowed.
        (
            "retry/a.rs",
            "use super::b::X; use crate::{error::E, limit::c::D};",
            None,
        ),
        (
            "ai/a.rs",
            "use crate::{retry::X, limit::Y, http::Z}; use http::Request;",
            None,
        ),
        (
            "error/transport/hyper.rs",
            "use hyper::Error; use hyper_util::rt;",
            None,
        ),
        (
            "error/transport/reqwest.rs",
            "use reqwest_middleware::Error;",
            None,
        ),
        ("integrations/a.rs", "use axum::X; use crate::ai::Y;", None),
        (
            "retry/a.rs",
            "// use crate::ai::X;\nconst A: &str = \"use hyper::X\";",
            None,
        ),
        (
            "retry/a.rs",
            "#[cfg(test)] mod tests { use crate::ai::X; }",
            None,
        ),
        ("retry/a.rs", "#[cfg(all(test, a))] use crate::ai::X;", None),
    ];
    for (path, text, expected) in table {
        let violations = File::new(path, text).violations();
        let first = violations.first().map(|(violation, _)| *violation);
        assert_eq!(first, *expected, "{path}: {text}: {violations:?}");
    }
}

#[test]
fn circles_are_found() {
    let edges = |list: &[(&str, &str)]| {
        let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in list {
            edges
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        cycle(&edges)
    };
    assert_eq!(edges(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
    let circle = edges(&[("a", "b"), ("b", "c"), ("c", "b")]).unwrap();
    assert_eq!(circle, ["a", "b", "c", "b"]);
}

#[test]
fn everything_public_comes_from_a_ranked_folder() {
    let lib = include_str!("../../../src/lib.rs");
    let names = re_exports(lib);
    assert!(names.len() > 50, "only {} names were read", names.len());
    for (name, path) in names {
        assert!(rank(&path[0]).is_some(), "{name} comes from {path:?}");
    }
}
