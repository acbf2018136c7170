//! Lines on stdout and stderr. A closed stream is not an error.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::{Context, Result};

/// A line on stdout.
pub(crate) fn say(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// A line on stderr. `eprintln!` would panic where that is closed.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
