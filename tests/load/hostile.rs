//! Clients that misbehave, and one that behaves; each plays its role until it is told to stop. Lines that begin with `!
//! ` are for the process that started it.

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::streams;
use crate::support::caller::{Caller, token_path};

const GET_LIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_METRICS: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_DESCRIPTION: &str = "GET /openapi.json HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n";

/// How often a share of the connections of the role `metrics` is made anew, and how many shares there are: of 500, some
/// 60 each time.
const BETWEEN_RECONNECTS: Duration = Duration::from_millis(500);
const SHARES: u128 = 8;

/// The first uid of the role `strangers`, which has one for each of its connections.
const FIRST_STRANGER: u32 = 40_000;

/// As long as a pause that takes nobody's processor.
const A_WHILE: Duration = Duration::from_millis(100);

pub fn play(role: &str, socket: &Path) {
    let (role, tail) = role.split_once(' ').unwrap_or((role, ""));
    match role {
        "other" => return as_it_should(socket, tail),
        "beyond" => return beyond(socket),
        "streams" => return streams::play(socket, tail),
        "direct" => return streams::play_directly(tail),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let enough = std::thread::spawn(|| std::io::stdin().lock().read_line(&mut String::new()));
    runtime.block_on(async {
        let port = tail.parse().unwrap_or(0);
        let abuse = Abuse { socket: socket.to_owned(), port, begun: Instant::now(), count: Arc::default() };
        let mut all = JoinSet::new();
        let (many, ready) = match role {
            "slow-heads" => (400, 300),
            "slow-bodies" => (400, 300),
            "crumbs" => (24, 20_000),
            "connections" => (tail.parse().unwrap(), 100),
            "metrics" | "strangers" => (tail.parse().unwrap(), 200),
            "admin-kept" => (40, 40),
            "admin-pipelines" => (32, 500),
            "large-heads" => (64, 200),
            "pipelines" => (64, 5_000),
            "deaf" => (300, 0),
            "garbage" => (64, 200),
            "unknown-users" => (200, 1_000),
            other => panic!("{other} is no role"),
        };
        for n in 0..many {
            let (abuse, role) = (abuse.clone(), role.to_owned());
            all.spawn(async move {
                loop {
                    // Whatever the daemon does about it, it is tried again.
                    abuse.go(&role, n).await.ok();
                    sleep(A_WHILE).await;
                }
            });
        }
        while abuse.count.load(Ordering::Relaxed) < ready {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(200)).await;
        println!("! {many} connections, if they are let");
        let most = tail.parse().unwrap_or(0);
        while !enough.is_finished() || (role == "unknown-users" && abuse.count.load(Ordering::Relaxed) < most)
        {
            sleep(Duration::from_millis(10)).await;
        }
        println!("! {} times", abuse.count.load(Ordering::Relaxed));
        // Killed with everything open.
        std::future::pending::<()>().await;
    });
}

#[derive(Clone)]
struct Abuse {
    socket: PathBuf,
    /// That of `admin.address`, for the roles that are about it.
    port: u16,
    begun: Instant,
    count: Arc<AtomicU64>,
}

impl Abuse {
    fn count(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    async fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    /// Connects as another uid, which takes root. Nothing else happens on this thread meanwhile.
    fn connect_as(&self, uid: u32) -> std::io::Result<UnixStream> {
        nix::unistd::seteuid(uid.into())?;
        let stream = std::os::unix::net::UnixStream::connect(&self.socket);
        nix::unistd::seteuid(0.into())?;
        let stream = stream?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    /// Asks for metrics over and over, until `is_over`.
    async fn ask_for_metrics(
        &self,
        mut stream: UnixStream,
        is_over: impl Fn() -> bool,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        while !is_over() {
            stream.write_all(GET_METRICS.as_bytes()).await?;
            // Nothing comes after the end of an answer, which is a line of the older format.
            loop {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(&buffer[..length]);
                if text.lines().last().is_some_and(|line| line.starts_with("process_start_time_seconds ")) {
                    break;
                }
            }
            self.count();
        }
        Ok(())
    }

    async fn go_over_tcp(&self, role: &str) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut buffer = vec![0; 64 << 10];
        if role == "admin-kept" {
            loop {
                stream.write_all(GET_LIVE.as_bytes()).await?;
                if stream.read(&mut buffer).await? == 0 {
                    return Ok(());
                }
                self.count();
                // As seldom as keeps it open.
                tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.ok();
            }
        }
        let (mut from, mut to) = stream.into_split();
        let many = GET_METRICS.repeat(100);
        let reading = async {
            while let Ok(1..) = from.read(&mut buffer).await {
                self.count();
            }
        };
        let writing = async { while to.write_all(many.as_bytes()).await.is_ok() {} };
        tokio::join!(reading, writing);
        Ok(())
    }

    /// In which share of the connections the ones are that are made anew at this time.
    fn share(&self) -> u128 {
        self.begun.elapsed().as_millis() / BETWEEN_RECONNECTS.as_millis()
    }

    async fn go(&self, role: &str, n: u64) -> std::io::Result<()> {
        match role {
            "admin-kept" | "admin-pipelines" => return self.go_over_tcp(role).await,
            "strangers" => {
                let stream = self.connect_as(FIRST_STRANGER + n as u32)?;
                return self.ask_for_metrics(stream, || false).await;
            }
            _ => {}
        }
        let mut stream = self.connect().await?;
        let mut buffer = vec![0; 64 << 10];
        match role {
            "slow-heads" => {
                stream.write_all(b"GET /livez HTTP/1.1\r\nx-slow: ").await?;
                self.count();
                loop {
                    stream.write_all(b"x").await?;
                    sleep(A_WHILE).await;
                }
            }
            "slow-bodies" => {
                let head = "POST /v1/users/a/report HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\
                            content-length: 60000\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                self.count();
                for _ in 0..100 {
                    stream.write_all(b"0123456789").await?;
                    sleep(A_WHILE).await;
                }
                Ok(())
            }
            "crumbs" => {
                // A chunk of one byte is six on the wire, and each is written alone.
                let head = "POST /v1/users/a/report HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\
                            transfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                for _ in 0..60_000 {
                    stream.write_all(b"1\r\nx\r\n").await?;
                    self.count();
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            "connections" => {
                stream.write_all(GET_LIVE.as_bytes()).await?;
                self.count();
                // Held for as long as it is let.
                stream.read_exact(&mut buffer).await.map(|_| ())
            }
            "metrics" => {
                let since = self.share();
                let is_over = || self.share() != since && self.share() % SHARES == u128::from(n) % SHARES;
                self.ask_for_metrics(stream, is_over).await
            }
            "large-heads" => {
                let head = format!("GET /livez HTTP/1.1\r\nx-large: {}\r\n\r\n", "x".repeat(64 << 10));
                stream.write_all(head.as_bytes()).await.ok();
                self.count();
                loop {
                    // Once more over the same connection, if it is let.
                    if stream.read(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                    stream.write_all(head.as_bytes()).await?;
                    self.count();
                }
            }
            "garbage" => {
                stream.write_all(&[b'\0'; 8192]).await.ok();
                self.count();
                stream.read_exact(&mut buffer).await.map(|_| ())
            }
            "pipelines" => {
                let many = GET_LIVE.repeat(500);
                let (mut from, mut to) = stream.into_split();
                let count = Arc::clone(&self.count);
                let reading = async {
                    loop {
                        match from.read(&mut buffer).await {
                            Ok(0) | Err(_) => return,
                            Ok(_) => count.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                };
                let writing = async { while to.write_all(many.as_bytes()).await.is_ok() {} };
                tokio::join!(reading, writing);
                Ok(())
            }
            "deaf" => {
                let many = GET_DESCRIPTION.repeat(100);
                loop {
                    stream.write_all(many.as_bytes()).await?;
                    self.count();
                }
            }
            _ => {
                // Each connection asks for one unknown user after another.
                loop {
                    let path = token_path(&format!("auth0|{n}-{}", self.count()));
                    let request =
                        format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
                    stream.write_all(request.as_bytes()).await?;
                    if stream.read(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// As callers are that have all connections that they may have, and make more. Says how many it has, and then, for each line
/// of input, what it was answered over another one, or over many.
fn beyond(socket: &Path) {
    let connect = || std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut held = Vec::new();
    loop {
        let (mut stream, mut status) = (connect(), [0; 12]);
        stream.write_all(GET_LIVE.as_bytes()).unwrap();
        stream.read_exact(&mut status).unwrap();
        if status != *b"HTTP/1.1 200" {
            break;
        }
        held.push(stream);
    }
    println!("! {}", held.len());
    let read = |mut stream: std::os::unix::net::UnixStream| {
        let mut answer = String::new();
        let end = stream.read_to_string(&mut answer);
        // What went wrong belongs to the answer.
        end.err().map_or(answer.clone(), |error| format!("{answer}{error}"))
    };
    let ask = |request: &str| {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).unwrap();
        read(stream)
    };
    for line in std::io::stdin().lock().lines() {
        let answer = match line.unwrap().as_str() {
            "get" => ask(GET_LIVE),
            "head" => ask("HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n"),
            "part of a head" => ask("GET /livez HTTP/1.1\r\nhos"),
            "post" => ask("POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"),
            "megabyte" => {
                let mut stream = connect();
                let head = "POST /v1/reload HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                for _ in 0..100 {
                    stream.write_all(&[b'x'; 10_000]).unwrap();
                }
                read(stream)
            }
            "nothing" => read(connect()),
            "late" => {
                let mut stream = connect();
                std::thread::sleep(A_WHILE);
                stream.write_all(GET_LIVE.as_bytes()).unwrap();
                read(stream)
            }
            "library" => by_a_library(socket),
            "crowd" => {
                let mut all: Vec<_> = (0..30).map(|_| connect()).collect();
                all.iter_mut().for_each(|stream| stream.write_all(GET_LIVE.as_bytes()).unwrap());
                let refused = all.into_iter().map(read).filter(|answer| answer.starts_with("HTTP/1.1 503 "));
                refused.count().to_string()
            }
            "silent crowd" => {
                held.extend((0..300).map(|_| connect()));
                std::thread::sleep(A_WHILE);
                String::from("they are there")
            }
            other => panic!("{other} is nothing to try"),
        };
        println!("! {answer:?}");
    }
}

/// The answer as a library of HTTP hands it out: its status, a header, and its body.
fn by_a_library(socket: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = hyper_util::rt::TokioIo::new(UnixStream::connect(socket).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let mut driven = JoinSet::new();
        driven.spawn(connection);
        let request = hyper::Request::get("/livez").header("host", "x");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        let retry_after = head.headers["retry-after"].to_str().unwrap().to_owned();
        format!("{} {retry_after} {}", head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    })
}

/// One lookup after another for a user that is cached: with `time` every tenth over a new connection, whose time is not
/// taken; with `time-kept` none; with `time-new` each, while no other is open. Answers each line of input with how that
/// went: `lookups median p95 p99 failed`, in microseconds, each the median of its values in windows.
fn as_it_should(socket: &Path, user: &str) {
    let path = token_path(user);
    assert_eq!(Caller::new(socket).get(&path).status, 200);
    println!("! ready");
    let mut kept = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (what, millis) = line.split_once(' ').unwrap();
        if what == "time-new" {
            kept = None;
        }
        let span = Duration::from_millis(millis.parse().unwrap());
        let (begun, mut windows, mut window) = (Instant::now(), Vec::new(), Vec::new());
        let (mut lookups, mut failed, mut window_begun) = (0_u64, 0_u64, Instant::now());
        while begun.elapsed() < span {
            lookups += 1;
            let asked = Instant::now();
            let is_aside = what == "time" && lookups.is_multiple_of(10);
            let heard = match is_aside || what == "time-new" {
                true => Caller::new(socket).get(&path),
                false => kept.get_or_insert_with(|| Caller::new(socket)).get(&path),
            };
            if !is_aside {
                window.push(asked.elapsed());
            }
            let hit = heard.status == 200 && heard.header("cloakroom-cache") == Some("hit");
            failed += u64::from(!hit);
            if window_begun.elapsed() >= A_WHILE {
                windows.push(std::mem::take(&mut window));
                window_begun = Instant::now();
            }
            // A busy caller, but no flood.
            std::thread::sleep(Duration::from_micros(200));
        }
        windows.retain(|window| !window.is_empty());
        let median = |share: f64| {
            let mut values: Vec<_> = windows
                .iter_mut()
                .map(|window| {
                    window.sort_unstable();
                    window[((window.len() as f64 * share) as usize).min(window.len() - 1)]
                })
                .collect();
            values.sort_unstable();
            values.get(values.len() / 2).map_or(0, |value| value.as_micros())
        };
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(median);
        println!("! {lookups} {p50} {p95} {p99} {failed}");
    }
}
