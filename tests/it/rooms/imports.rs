//! Reads every path of a source file that leaves the file's own module.

use std::{iter::Peekable, str::FromStr, vec};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Other crates that only files named after them may name.
pub(super) const FRAMEWORKS: [&str; 9] = [
    "axum",
    "axum_core",
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "reqwest_middleware",
    "tonic",
    "tower",
];

/// A path from the root of this crate, without `crate`, or from that of a framework.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Import {
    /// Empty for the root itself, as in `use crate as x` and `use crate::*`.
    Own(Vec<String>),
    Framework(String),
}

type Tokens = Peekable<vec::IntoIter<TokenTree>>;

/// All that `text`, the source of `module`, imports outside of its tests.
pub(super) fn imports(module: &[String], text: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let tokens = TokenStream::from_str(text).unwrap();
    walk(tokens, module, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Names that `lib.rs` re-exports, and the paths that they have inside the crate.
pub(super) fn re_exports(lib: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut tokens = tokens_of(TokenStream::from_str(lib).unwrap());
    while let Some(token) = tokens.next() {
        if is_ident(&token, "use") {
            tree(&mut tokens, Vec::new(), &mut |path, name| {
                let own = path.strip_prefix(&["self".to_owned()]);
                let own = own.or_else(|| path.strip_prefix(&["crate".to_owned()]));
                let name = name.or_else(|| path.last().cloned());
                found.extend(name.zip(own.map(<[_]>::to_vec)));
            });
        }
    }
    found
}

fn walk(tokens: TokenStream, here: &[String], found: &mut Vec<Import>) {
    let mut tokens = tokens_of(tokens);
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                // `#![..]`, of the file.
                let _ = tokens.next_if(|token| is_punct(token, '!'));
                if let Some(TokenTree::Group(attribute)) = tokens.next() {
                    match is_of_tests(&attribute.stream()) {
                        true => skip_item(&mut tokens),
                        false => walk(attribute.stream(), here, found),
                    }
                }
            }
            TokenTree::Ident(word) if word == "use" => {
                tree(&mut tokens, Vec::new(), &mut |path, _| {
                    add(here, &path, found)
                });
            }
            TokenTree::Ident(word) if word == "mod" => {
                let name = tokens.next().map(|name| name.to_string());
                if let Some(TokenTree::Group(body)) = tokens.next() {
                    let inside: Vec<_> = here.iter().cloned().chain(name).collect();
                    walk(body.stream(), &inside, found);
                }
            }
            TokenTree::Ident(word)
                if word == "extern"
                    && tokens.next_if(|token| is_ident(token, "crate")).is_some() =>
            {
                let name = tokens.next().map(|name| name.to_string());
                add(here, &Vec::from_iter(name), found);
            }
            TokenTree::Ident(word) if begins_path(&word.to_string()) => {
                let mut path = vec![word.to_string()];
                while colons(&mut tokens) {
                    match tokens.next_if(|token| matches!(token, TokenTree::Ident(_))) {
                        Some(name) => path.push(plain(&name.to_string())),
                        None => break,
                    }
                }
                if path.len() > 1 {
                    add(here, &path, found);
                }
            }
            // `::hyper::Error`, whose colons stand after no name.
            TokenTree::Ident(word)
                if FRAMEWORKS.contains(&word.to_string().as_str()) && colons(&mut tokens) =>
            {
                found.push(Import::Framework(word.to_string()));
            }
            TokenTree::Group(group) => walk(group.stream(), here, found),
            _ => {}
        }
    }
}

/// Reads the tree of a `use` up to its semicolon or comma, and shows each leaf with its new name.
fn tree(
    tokens: &mut Tokens,
    mut path: Vec<String>,
    show: &mut impl FnMut(Vec<String>, Option<String>),
) {
    let mut name = None;
    let mut is_group = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if matches!(punct.as_char(), ',' | ';') => break,
            TokenTree::Ident(word) if word == "as" => {
                name = tokens.next().map(|name| name.to_string());
            }
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
            TokenTree::Ident(word) => path.push(plain(&word.to_string())),
            TokenTree::Group(group) => {
                is_group = true;
                let mut inside = tokens_of(group.stream());
                while inside.peek().is_some() {
                    tree(&mut inside, path.clone(), show);
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    if !is_group && !path.is_empty() {
        show(path, name);
    }
}

fn add(here: &[String], path: &[String], found: &mut Vec<Import>) {
    let import = match path.first().map(String::as_str) {
        Some("crate") => Import::Own(path[1..].to_vec()),
        Some("self" | "super") => Import::Own(absolute(here, path)),
        Some(framework) if FRAMEWORKS.contains(&framework) => {
            Import::Framework(framework.to_owned())
        }
        _ => return,
    };
    found.push(import);
}

/// A path that begins with any number of `self` and `super`, from the root.
fn absolute(here: &[String], path: &[String]) -> Vec<String> {
    let mut from_root = here.to_vec();
    for name in path {
        match name.as_str() {
            "self" => {}
            "super" => drop(from_root.pop()),
            _ => from_root.push(name.clone()),
        }
    }
    from_root
}

fn tokens_of(tokens: TokenStream) -> Tokens {
    tokens
        .into_iter()
        .collect::<Vec<_>>()
        .into_iter()
        .peekable()
}

fn begins_path(word: &str) -> bool {
    matches!(word, "crate" | "self" | "super")
}

fn plain(name: &str) -> String {
    name.trim_start_matches("r#").to_owned()
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

/// Passes over `::`, if that comes next.
fn colons(tokens: &mut Tokens) -> bool {
    let first = tokens.next_if(|token| is_punct(token, ':'));
    first.is_some() && tokens.next_if(|token| is_punct(token, ':')).is_some()
}

/// Whether an attribute leaves its item out of a build that is not for tests.
fn is_of_tests(attribute: &TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    [
        "cfg(test",
        "cfg(all(test",
        "cfg(throttle_loom",
        "cfg(doctest",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}

/// Passes over the item after an attribute, with its other attributes.
fn skip_item(tokens: &mut Tokens) {
    for token in tokens.by_ref() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            _ => {}
        }
    }
}
