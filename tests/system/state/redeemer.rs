//! A process that redeems refresh tokens as the daemon does, for tests that kill it: this binary, started once more.
//!
//! The provider stays in the test's process, so that it survives. A line of standard output says what was handed out.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::config::{self, UserIds};
use cloakroom::domain::source::{IssuedToken, OverReason, Processed, Redemption, Rotation, SourceFailure};
use cloakroom::domain::user::UserId;
use cloakroom::secret::{KeyMaterial, Secret, TagKey};
use cloakroom::state::{Asked, ChainKey, Chains, OpenState, Redeemed, Terms};
use cloakroom::telemetry::UserNames;

/// Names the arguments: the state file, the provider's socket, how often each user's token is redeemed (0 for until
/// standard input is closed), and `USER=TOKEN` for each user.
const ARGUMENTS: &str = "CLOAKROOM_TEST_REDEEMER";

/// The command that starts this process.
pub fn command(state: &Path, socket: &Path, times: usize, users: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let arguments = format!("{} {} {times} {}", state.display(), socket.display(), users.join(" "));
    command.args([
        "state::redeemer::is_the_process_that_other_tests_kill",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    command.env(ARGUMENTS, arguments);
    command
}

#[test]
#[ignore = "it is a process of other tests"]
#[expect(clippy::disallowed_methods, reason = "the process that starts this one says what it does")]
fn is_the_process_that_other_tests_kill() {
    let arguments = std::env::var(ARGUMENTS).expect("only other tests start this one");
    let mut arguments = arguments.split(' ').map(str::to_owned);
    let mut next = || arguments.next().expect("an argument");
    let (path, socket, times) = (next(), next(), next().parse::<usize>().unwrap());
    let users: Vec<_> = arguments.collect();
    // One thread does all that blocks, so that a tracer can count its system calls.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let keys = vec![KeyMaterial::from_bytes(&[1; 32]).unwrap()];
    let settings = config::State { path: path.into(), keys };
    runtime.block_on(async move {
        let clock = Clock::system();
        let open = move || OpenState::open(&settings, "acme").map_err(|error| error.to_string());
        let state = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        let names = UserNames::new(UserIds::Plain, TagKey::random().unwrap());
        let chains = Chains::in_file(state, names, clock.clone(), Arc::default(), 1);
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        std::thread::spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).ok();
            ends.store(true, Ordering::SeqCst);
        });
        let users = users.into_iter().map(|user| {
            let (chains, clock, socket, is_over) =
                (chains.clone(), clock.clone(), socket.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (user, token) = user.split_once('=').unwrap();
                let mut time = 0;
                while if times == 0 { !is_over.load(Ordering::SeqCst) } else { time < times } {
                    time += 1;
                    redeem(&chains, &clock, &socket, user, token).await;
                }
            })
        });
        for user in users.collect::<Vec<_>>() {
            user.await.unwrap();
        }
        chains.close().await;
    });
}

/// One redemption; if the provider refuses, Auth0 still has the first token.
async fn redeem(chains: &Chains, clock: &Clock, socket: &str, user: &str, token: &str) {
    let (client, grace) = ("client".into(), Duration::ZERO);
    let terms = Terms { client, rotation: Rotation::Single, grace, last_answer: None };
    let key = ChainKey {
        connection: "okta".into(),
        user: UserId::parse(&format!("okta|{user}")).unwrap(),
        identity_user_id: user.to_owned(),
    };
    for _ in 0..2 {
        let asked = Asked { refresh_token: Some(Secret::new(token)), at: clock.now() };
        let socket = socket.to_owned();
        let ask = move |token: Secret| {
            let socket = socket.clone();
            async move {
                // A thread of its own: the one that blocks belongs to the state.
                let (send, answer) = tokio::sync::oneshot::channel();
                std::thread::spawn(move || send.send(ask_provider(&socket, token.expose())));
                answer.await.unwrap()
            }
        };
        match chains.redeem(&key, terms.clone(), asked, ask).await {
            Redeemed::AskAuth0 => {}
            Redeemed::Issued(token) => return say(user, token.access_token.expose()),
            Redeemed::Over(reason) => return say(user, reason.as_str()),
            other => {
                say(user, &format!("{other:?}"));
                return tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn say(user: &str, what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{user} {what}").and_then(|()| out.flush()).ok();
}

fn ask_provider(socket: &str, token: &str) -> Redemption {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(token.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    match ask() {
        Ok(answer) if answer == "refused" => Redemption::Over(OverReason::RefreshRefused),
        Ok(next) if !next.is_empty() => Redemption::Issued {
            token: IssuedToken {
                access_token: Secret::new(format!("access before {next}")),
                expires_in: None,
                scopes: None,
            },
            refresh_token: Some(Secret::new(next)),
        },
        _ => Redemption::Failed {
            failure: SourceFailure::TimedOut { host: "idp.example".into() },
            retry_after: Duration::from_secs(1),
            processed: Processed::Unknown,
        },
    }
}
