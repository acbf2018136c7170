//! The output file, which also says what is done already.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use fs4::{FileExt, TryLockError};
use serde::Deserialize;
use serde_json::{Value, json};

/// A file of responses, one a line, that only this process writes to.
///
/// Each line is written whole, in one go, as soon as its response is there, so a process that is
/// killed leaves all that it paid for, and at worst half a line at the end. The next one cuts that
/// off and asks again.
#[derive(Debug)]
pub(crate) struct Out {
    /// Locked by the system until it is closed, also by a kill.
    file: Mutex<File>,
}

/// The members of a line that say whether it is a success.
#[derive(Deserialize)]
struct Line {
    custom_id: String,
    response: Option<Response>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
}

// ===== impl Out =====

impl Out {
    /// Opens or makes the file, and returns which requests have a response in it already.
    ///
    /// Only a success counts. What failed is not written, so that the next run tries it again, and
    /// a line of another program that reports a failure doesn't count.
    pub(crate) fn open(path: &Path) -> Result<(Self, HashSet<String>)> {
        let name = path.display();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options
            .open(path)
            .with_context(|| format!("cannot write --out {name}"))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            bail!("--out {name} is not a regular file: name one, or one that is not there yet");
        }
        // The standard library's own lock is younger than the compilers that this crate is for.
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another process writes to --out {name}: wait for it, or take another file")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock --out {name}"));
            }
        }
        let answered = recover(&mut file).with_context(|| format!("cannot read --out {name}"))?;
        let file = Mutex::new(file);
        Ok((Self { file }, answered))
    }

    /// Writes a response. When this returns, it outlives the process.
    pub(crate) fn write(
        &self,
        custom_id: &str,
        status: u16,
        request_id: &str,
        body: &Value,
    ) -> io::Result<()> {
        let line = json!({
            "id": format!("batch_req_{custom_id}"),
            "custom_id": custom_id,
            "response": { "status_code": status, "request_id": request_id, "body": body },
            "error": null,
        });
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = file.stream_position()?;
        let written = file.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            // Half a line, as on a full disk, must not stand between whole ones.
            file.set_len(begins)?;
            file.seek(SeekFrom::Start(begins))?;
        }
        written
    }
}

/// Reads which requests are answered, mends the last line if it is torn, and leaves the file at its
/// end.
fn recover(file: &mut File) -> Result<HashSet<String>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let mut answered = HashSet::new();
    let mut kept = 0;
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let torn = !line.ends_with(b"\n");
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.is_answer() => drop(answered.insert(line.custom_id)),
            Ok(line) if line.is_failure() => {}
            Err(error) if torn && error.is_eof() && begins_like_an_answer(line) => break,
            Err(_) if line.trim_ascii().is_empty() => {}
            _ => bail!("line {number} is not an answer: is it another kind of file?"),
        }
        kept += line.len() as u64;
    }
    file.set_len(kept)?;
    file.seek(SeekFrom::Start(kept))?;
    if kept > 0 && !text[..kept as usize].ends_with(b"\n") {
        file.write_all(b"\n")?;
    }
    Ok(answered)
}

/// Whether a line that breaks off can be the beginning of one that this program, or OpenAI's,
/// wrote.
fn begins_like_an_answer(line: &[u8]) -> bool {
    let mut beginnings = [&b"{\"custom_id\""[..], b"{\"id\""].into_iter();
    beginnings.any(|begin| line.starts_with(begin) || begin.starts_with(line))
}

// ===== impl Line =====

impl Line {
    fn is_answer(&self) -> bool {
        let response = self.response.as_ref();
        self.error.is_none() && response.is_some_and(|r| (200..300).contains(&r.status_code))
    }

    fn is_failure(&self) -> bool {
        self.error.is_some() || self.response.is_some()
    }
}
