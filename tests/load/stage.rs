//! What the tests of abuse share: a daemon, clients under their own uids, and the timing of lookups.

use std::fmt;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use cloakroom::fake_auth0::users;

use crate::hostile;
use crate::support::deployment::Deployment;
use crate::support::process::{Daemon, copy_program};

pub const ABUSER: u32 = 30_001;
pub const OTHER: u32 = 30_002;

/// No rule names it.
pub const STRANGER: u32 = 30_003;

/// What is in this variable makes the test binary a caller; see [`hostile`].
pub const ROLE: &str = "CLOAKROOM_TEST_ROLE";

/// Below this, what a busy machine does to a process is more than what another caller does.
pub const FLOOR: Duration = Duration::from_millis(1);

/// How much slower the other's answers may get. They should not get slower at all.
pub const SLOWER: u32 = 3;

/// The same beside a crowd that competes for processors as well, which it must to have something to say at all times.
pub const FLOOR_IN_A_CROWD: Duration = Duration::from_millis(25);

/// The same of answers over connections that are made for them: they wait in the kernel's queue with those that the abuser
/// makes, and who made which is only known at its end.
pub const FLOOR_OF_NEW: Duration = Duration::from_millis(50);

/// The same of probes: by default they are given up on after a second.
pub const FLOOR_OF_PROBES: Duration = Duration::from_millis(500);
pub const MAX_CONNECTIONS: u64 = 512;

/// Not a test: what the test starts as other uids.
#[test]
fn a_caller_under_another_uid() {
    let Ok(role) = std::env::var(ROLE) else { return };
    hostile::play(&role, Path::new("run/api.sock"));
}

/// A process that plays a role, until this is dropped.
pub struct Player {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    pub fn start(stage: &Stage, uid: u32, role: &str) -> Self {
        // Processors are not what callers compete for here: whoever is idle to the scheduler gives way at once, not at the
        // end of its slice, as one with a low priority does.
        let mut command = Command::new("chrt");
        command.args([if uid == ABUSER { "--idle" } else { "--other" }, "0"]).arg(stage.path("caller"));
        command.args(["--exact", "stage::a_caller_under_another_uid", "--nocapture", "--quiet"]);
        command.env_clear().env(ROLE, role).current_dir(stage.deployment.directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).uid(uid).gid(uid);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that is for us.
    pub fn says(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the caller ended").unwrap();
            if let Some(said) = line.strip_prefix("! ") {
                return said.to_owned();
            }
        }
    }

    pub fn told(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.says()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How the other's lookups went for a while.
#[derive(Clone, Copy, Debug)]
pub struct Went {
    pub lookups: u64,
    pub median: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub failed: u64,
}

impl fmt::Display for Went {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lookups, median, p95, p99, failed } = self;
        write!(f, "{lookups} lookups, median {median:?}, p95 {p95:?}, p99 {p99:?}, {failed} failed")
    }
}

/// A daemon, and the other caller with everything in the cache.
pub struct Stage {
    pub deployment: Deployment,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(MAX_CONNECTIONS, "")
    }

    pub fn with(max_connections: u64, settings: &str) -> Self {
        let rule = |uid| format!("[[listener.allow]]\nuid = {uid}\n");
        let deployment = Deployment::new(&format!(
            "[cache]\nmax_bytes = \"8MiB\"\n[[listener]]\npath = \"{{dir}}/run/api.sock\"\nmode = \"0666\"\n\
             max_connections = {max_connections}\n{}{}{}{settings}",
            rule(ABUSER),
            rule(OTHER),
            rule(0)
        ));
        Self::of(deployment)
    }

    /// A stage on which clients under any uid find this deployment.
    pub fn of(deployment: Deployment) -> Self {
        let stage = Self { deployment };
        copy_program(std::env::current_exe().unwrap(), stage.path("caller"));
        std::fs::set_permissions(stage.deployment.directory.path(), PermissionsExt::from_mode(0o755))
            .unwrap();
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.deployment.directory.path().join(name)
    }

    pub fn start(&self) -> Daemon {
        let daemon = self.deployment.start();
        // Root made the directory of the socket for itself.
        std::fs::set_permissions(self.path("run"), PermissionsExt::from_mode(0o755)).unwrap();
        daemon
    }
}

pub fn measure(other: &mut Player, what: &str) -> Went {
    let line = other.told(what);
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    let micros = |n: usize| Duration::from_micros(numbers[n]);
    Went { lookups: numbers[0], median: micros(1), p95: micros(2), p99: micros(3), failed: numbers[4] }
}

/// Whether answers came later than they may, median or nearly all of them.
pub fn is_later([quiet, meanwhile]: [Went; 2], floor: Duration) -> bool {
    let later = |(quiet, meanwhile): (Duration, Duration)| meanwhile > (quiet * SLOWER).max(floor);
    [(quiet.median, meanwhile.median), (quiet.p95, meanwhile.p95)].into_iter().any(later)
}

/// Whether what is asked for `what` is slower in each of some attempts while an abuser plays `role`: what else the machine
/// does is in every figure.
pub fn is_slower(
    stage: &Stage,
    other: &mut Player,
    (uid, role): (u32, &str),
    (what, floor): (&str, Duration),
) -> bool {
    (0..5).all(|_| {
        let quiet = measure(other, what);
        let mut abuser = Player::start(stage, uid, role);
        let begun = abuser.says();
        let meanwhile = measure(other, what);
        let done = abuser.told("enough");
        println!("{role}: {begun}; {done}\n  before:    {quiet}\n  meanwhile: {meanwhile}");
        assert_eq!(quiet.failed + meanwhile.failed, 0, "{role}");
        is_later([quiet, meanwhile], floor)
    })
}

pub fn other_of(stage: &Stage) -> Player {
    let mut other = Player::start(stage, OTHER, &format!("other {}", users::GOOGLE));
    assert_eq!(other.says(), "ready");
    measure(&mut other, "time 500");
    other
}
