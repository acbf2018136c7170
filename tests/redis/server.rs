//! A server of Redis or Valkey that a test starts for itself.
//!
//! `redis-server` is started, or the program that `THROTTLE_SERVER` names, on a free port and in a
//! folder of its own. It is killed, and the folder removed, when the value is dropped.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it waits for another program, on a real clock"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) const INSTALL: &str = "apt-get install -y --no-install-recommends redis-server";

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

/// A blocking connection, apart from the one under test.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    Array(Vec<Reply>),
    Nil,
}

// ===== impl Server =====

impl Server {
    /// Starts a server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more options, such as `["--appendonly", "yes"]`.
    pub(crate) fn with(options: &[&str]) -> Self {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("throttle-{}-{number}", std::process::id()));
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Another process may take the port before the server does.
        for _ in 0..10 {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            let port = free_port();
            let mut server = Self {
                process: spawn(port, &folder, &options),
                port,
                folder: folder.clone(),
                options: options.clone(),
            };
            if server.is_up() {
                return server;
            }
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(log.contains("in use"), "the server did not start: {log}");
        }
        panic!("no free port");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns a new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).unwrap()
    }

    /// Sends one command on a connection of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Reply {
        self.client().command(arguments)
    }

    /// Kills the server as a crash does: nothing more is written to disk.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the killed server again, on the same port and with what it had written to disk.
    pub(crate) fn restart(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            self.process = spawn(self.port, &self.folder, &self.options);
            if self.is_up() {
                return;
            }
            assert!(Instant::now() < deadline, "the server did not come back");
        }
    }

    /// Starts the killed server again, on the same port and without data.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
        fs::create_dir_all(&self.folder).unwrap();
        self.restart();
    }

    /// Stops the process; its connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn unfreeze(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the server responds, or ends.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + START;
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the server does not respond");
            if let Ok(mut client) = Client::connect(self.port) {
                match client.try_command(&["PING"]) {
                    Ok(Reply::Error(error)) if error.starts_with("LOADING") => {}
                    Ok(_) => return true,
                    Err(_) => {}
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns the name of the program that is started.
pub(crate) fn program() -> String {
    env::var("THROTTLE_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &PathBuf, options: &[String]) -> Child {
    let program = program();
    let log = folder.join("log");
    let child = Command::new(&program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder)
        .arg("--logfile")
        .arg(log)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("no `{program}` on this machine: {INSTALL}")
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

// ===== impl Client =====

impl Client {
    fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn command(&mut self, arguments: &[&str]) -> Reply {
        self.try_command(arguments).unwrap()
    }

    pub(crate) fn try_command(&mut self, arguments: &[&str]) -> std::io::Result<Reply> {
        let mut text = format!("*{}\r\n", arguments.len());
        for argument in arguments {
            text += &format!("${}\r\n{argument}\r\n", argument.len());
        }
        self.0.get_mut().write_all(text.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> std::io::Result<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let length = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(length()),
            "$" | "*" if length() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; usize::try_from(length()).unwrap() + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" => Reply::Array(
                (0..length())
                    .map(|_| self.reply())
                    .collect::<Result<_, _>>()?,
            ),
            _ => panic!("not a reply of Redis: {line:?}"),
        })
    }
}
