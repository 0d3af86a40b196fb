//! Callers as they should not be, and one as they should; each plays its role until it is told that it is enough. Lines
//! that begin with `! ` are for whoever started it.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::caller::{Caller, token_path};

const GET_LIVE: &str = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_DESCRIPTION: &str = "GET /openapi.json HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n";

/// As long as a pause that takes nobody's processor.
const A_WHILE: Duration = Duration::from_millis(100);

pub fn play(role: &str, socket: &Path) {
    let (role, tail) = role.split_once(' ').unwrap_or((role, ""));
    if role == "other" {
        return as_it_should(socket, tail);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let enough = std::thread::spawn(|| std::io::stdin().lock().read_line(&mut String::new()));
    runtime.block_on(async {
        let abuse = Abuse { socket: socket.to_owned(), count: Arc::default() };
        let mut all = JoinSet::new();
        let (many, ready) = match role {
            "slow-heads" => (400, 300),
            "slow-bodies" => (400, 300),
            "crumbs" => (24, 20_000),
            "connections" => (tail.parse().unwrap(), 100),
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
    count: Arc<AtomicU64>,
}

impl Abuse {
    fn count(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    async fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    async fn go(&self, role: &str, n: u64) -> std::io::Result<()> {
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

/// One lookup after another for a user that is cached; every tenth over a new connection. Answers each line of input
/// with how that went: `lookups median p95 p99 failed`, in microseconds, each the median of its values in windows.
fn as_it_should(socket: &Path, user: &str) {
    let path = token_path(user);
    let mut kept = Caller::new(socket);
    assert_eq!(kept.get(&path).status, 200);
    println!("! ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (what, millis) = line.split_once(' ').unwrap();
        let span = Duration::from_millis(millis.parse().unwrap());
        let (begun, mut windows, mut window) = (Instant::now(), Vec::new(), Vec::new());
        let (mut lookups, mut failed, mut window_begun) = (0_u64, 0_u64, Instant::now());
        while begun.elapsed() < span {
            lookups += 1;
            let asked = Instant::now();
            let is_new = what == "time" && lookups.is_multiple_of(10);
            let heard = if is_new { Caller::new(socket).get(&path) } else { kept.get(&path) };
            if !is_new {
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
