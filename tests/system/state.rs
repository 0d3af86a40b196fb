//! A process that redeems refresh tokens is killed at every step and at every system call, and begins again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::process::is_root;
use crate::support::required::everything_is_required;

mod redeemer;
#[path = "../support/single_use_provider.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_use_provider;

use single_use_provider::{Provider, Truth};

/// When a request makes the provider kill the process that sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kills {
    BeforeProcessing,
    BeforeAnswering,
    AfterAnswering,
}

/// A provider behind a socket, and the state file of the process that asks it.
struct Scene {
    directory: tempfile::TempDir,
    provider: Provider,
    plan: Arc<Mutex<Plan>>,
    /// Requests that are being answered.
    active: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Plan {
    /// The process that asks.
    process: Option<Pid>,
    kills: Option<Kills>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (provider, plan) = (Provider::default(), Arc::<Mutex<Plan>>::default());
        let listener = UnixListener::bind(directory.path().join("provider")).unwrap();
        let active = Arc::<AtomicUsize>::default();
        let scene = Self { directory, provider, plan, active };
        let (provider, plan, active) =
            (scene.provider.clone(), Arc::clone(&scene.plan), Arc::clone(&scene.active));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                active.fetch_add(1, Ordering::SeqCst);
                let (provider, plan, active) = (provider.clone(), Arc::clone(&plan), Arc::clone(&active));
                std::thread::spawn(move || {
                    answer(stream, &provider, &plan);
                    active.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        scene
    }

    /// Waits until the provider has answered what was sent before, also by a process that is gone.
    fn settle(&self) {
        // Connections are accepted in their order.
        let mut last = UnixStream::connect(self.socket()).unwrap();
        last.shutdown(std::net::Shutdown::Write).unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        while self.active.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("provider")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn command(&self, times: usize, users: &[String]) -> Command {
        redeemer::command(&self.state(), &self.socket(), times, users)
    }

    /// Runs a process to its end, which may be a violent one. Returns what it has handed out.
    fn run(&self, mut command: Command) -> Vec<String> {
        let mut child = start(&mut command);
        self.plan.lock().unwrap().process = Some(Pid::from_raw(child.0.id() as i32));
        let lines = child.lines().collect();
        child.wait();
        self.settle();
        lines
    }

    /// The tokens that were sent, with how often each was.
    fn sent(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        for token in self.provider.log() {
            *sent.entry(token).or_default() += 1;
        }
        sent
    }
}

/// Answers one request, and kills the process that has sent it if that is planned.
fn answer(mut stream: UnixStream, provider: &Provider, plan: &Mutex<Plan>) {
    let mut token = String::new();
    if stream.read_to_string(&mut token).is_err() || token.is_empty() {
        return;
    }
    let kills = |when| {
        let mut plan = plan.lock().unwrap();
        let is_planned = plan.kills == Some(when);
        if is_planned {
            plan.kills = None;
            kill(plan.process.unwrap(), Signal::SIGKILL).unwrap();
        }
        is_planned
    };
    if kills(Kills::BeforeProcessing) {
        return provider.receive(&token);
    }
    let answer = provider.redeem(&token).unwrap_or("refused".to_owned());
    kills(Kills::BeforeAnswering);
    // The process may be gone.
    stream.write_all(answer.as_bytes()).ok();
    kills(Kills::AfterAnswering);
}

/// A process that is killed when the test ends.
struct Redeemer(Child);

fn start(command: &mut Command) -> Redeemer {
    Redeemer(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
}

impl Redeemer {
    /// The lines `USER what`, and not those of the test harness.
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        lines.filter(|line| line.starts_with("user"))
    }

    fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Redeemer {
    fn drop(&mut self) {
        // It has usually ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One user, whose token was redeemed by a process that was killed, continues in another one.
fn expect_recovery(scene: &Scene, token: &str, handed_out: &[String], case: &str) -> bool {
    let before = scene.provider.log();
    let users = [format!("user={token}")];
    let after = scene.run(scene.command(2, &users));
    assert_eq!(after.len(), 2, "{case}: {after:?}");
    let last = before.last().map(String::as_str).unwrap_or_default();
    for (sent, times) in scene.sent() {
        assert!(times <= 1 + usize::from(sent == last), "{case}: {sent} was sent {times} times");
    }
    if after[0] == "user refresh_lost" {
        assert_ne!(scene.provider.truth(last), Truth::Live, "{case}");
        // What was handed out was stored before: only the redemption after it can be lost.
        let next = handed_out.last().and_then(|line| line.strip_prefix("user access before "));
        assert!(next.is_none_or(|next| next == last), "{case}: {handed_out:?}, {before:?}");
        return true;
    }
    assert!(after.iter().all(|line| line.starts_with("user access")), "{case}: {after:?}");
    false
}

#[test]
fn a_kill_at_any_step_of_a_redemption_loses_only_an_answer_that_was_not_stored() {
    for (kills, may_be_lost) in
        [(Kills::BeforeProcessing, false), (Kills::BeforeAnswering, true), (Kills::AfterAnswering, true)]
    {
        let scene = Scene::new();
        let token = scene.provider.log_in();
        let users = [format!("user={token}")];
        assert_eq!(scene.run(scene.command(1, &users)).len(), 1);
        scene.plan.lock().unwrap().kills = Some(kills);
        let handed_out = scene.run(scene.command(1, &users));
        let is_lost = expect_recovery(&scene, &token, &handed_out, &format!("{kills:?}"));
        assert!(may_be_lost || !is_lost, "{kills:?}");
        assert!(kills != Kills::BeforeAnswering || is_lost, "the answer is lost");
    }
}

#[test]
fn a_kill_at_any_system_call_loses_only_an_answer_that_was_not_stored() {
    let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !has_strace {
        assert!(!everything_is_required(), "strace is missing: make setup PARTS=crashes");
        return;
    }
    let mut killed = 0;
    for call in ["openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "renameat2", "flock"] {
        for number in 1..200 {
            let scene = Scene::new();
            let token = scene.provider.log_in();
            let redeems = scene.command(2, &[format!("user={token}")]);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
            // Of the calls of each thread; one does all that blocks.
            traced.arg("-e").arg(format!("inject={call}:signal=KILL:when={number}"));
            traced.arg(redeems.get_program()).args(redeems.get_args());
            traced.envs(redeems.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let handed_out = scene.run(traced);
            if handed_out.len() == 2 && expect_end(&scene, &token, &handed_out) {
                break;
            }
            killed += 1;
            expect_recovery(&scene, &token, &handed_out, &format!("{call} {number}"));
        }
    }
    assert!(killed > 40, "{killed} system calls");
}

/// Whether the process that handed these out has also ended in order: the next one finds nothing to retry.
fn expect_end(scene: &Scene, token: &str, handed_out: &[String]) -> bool {
    !expect_recovery(scene, token, handed_out, "at the end") && scene.provider.log().len() == 4
}

/// Many users, and restarts in the middle of their redemptions.
#[test]
fn restarts_under_load_redeem_no_token_twice() {
    let scene = Scene::new();
    let users: Vec<_> = (0..20).map(|at| format!("user{at}={}", scene.provider.log_in())).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for restart in 0..30 {
        let mut child = start(&mut scene.command(0, &users));
        std::thread::sleep(Duration::from_millis(random.u64(100..300)));
        // In order: redemptions under way are finished.
        drop(child.0.stdin.take());
        let lines: Vec<_> = child.lines().collect();
        assert!(child.wait().success(), "{restart}");
        assert!(lines.iter().all(|line| line.contains("access before")), "{restart}: {lines:?}");
    }
    let sent = scene.sent();
    assert!(sent.values().all(|times| *times == 1) && sent.len() > 100, "{sent:?}");
}

#[test]
fn kills_under_load_redeem_no_token_but_for_the_one_retry() {
    let scene = Scene::new();
    let users: Vec<_> = (0..20).map(|at| format!("user{at}={}", scene.provider.log_in())).collect();
    let mut random = fastrand::Rng::with_seed(7);
    let mut lost = 0;
    for restart in 0..30 {
        let mut child = start(&mut scene.command(0, &users));
        std::thread::sleep(Duration::from_millis(random.u64(100..300)));
        child.0.kill().unwrap();
        let lines: Vec<_> = child.lines().collect();
        child.wait();
        for line in lines.iter().filter(|line| !line.contains("access before")) {
            assert!(line.ends_with(" refresh_lost"), "{restart}: {line}");
            lost += 1;
        }
        scene.settle();
        for (token, times) in scene.sent() {
            assert!(times <= 2, "{restart}: {token} was sent {times} times");
        }
    }
    // A user whose answer was lost stays so, because nobody logs in here.
    assert!(lost > 0, "no kill was between an answer and its sync");
}

/// A file system of 200 KiB that fills up, while the process runs.
#[test]
fn a_full_file_system_stops_redemptions_and_loses_none() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let mount = scene.directory.path().join("small");
    fs::create_dir(&mount).unwrap();
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
    };
    let at = mount.to_str().unwrap();
    run("mount", &["-t", "tmpfs", "-o", "size=200k", "none", at]);
    let _mounted = Mounted(&mount);
    let users = [format!("user={}", scene.provider.log_in())];
    let mut child = start(&mut redeemer::command(&mount.join("state"), &scene.socket(), 0, &users));
    let mut lines = child.lines();
    let mut until = |what: &str| {
        // Far more than there are in the time that each step takes.
        let mut soon = lines.by_ref().take(20_000);
        soon.find(|line| line.contains(what)).unwrap_or_else(|| panic!("never {what}"));
    };
    until("access before");
    let filling = mount.join("filling");
    fs::write(&filling, vec![1; 400 * 1024]).unwrap_err();
    until("State");
    fs::remove_file(&filling).unwrap();
    until("access before");
    drop(child.0.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().success());
    assert!(scene.sent().values().all(|times| *times == 1), "{:?}", scene.sent());
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}
