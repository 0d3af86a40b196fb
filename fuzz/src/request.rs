//! Whatever a caller sends.

use std::cell::OnceCell;
use std::time::Duration;

use cloakroom::api::types::{ManagementTokenAnswer, TokenAnswer};
use cloakroom::fake_auth0::users;
use percent_encoding::percent_decode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use crate::daemon::Daemon;
use crate::holds;
use crate::http::Reply;

/// In an input: the caller sends nothing for a while. At its end: and keeps its half open.
const PAUSE: u8 = 0x1e;
const PAUSED_FOR: Duration = Duration::from_secs(2);

/// In an input: the byte before it stands here so many times 64, as the next byte says, so that a small input reaches
/// large bounds.
const AGAIN: u8 = 0x1f;

/// What an input comes to is cut off here.
const LONGEST: usize = 256 * 1024;

/// No connection without a request under way lasts longer: twice the idle time of `src/listener/connection.rs`.
const IDLE: Duration = Duration::from_secs(240);

/// No request takes longer: its head, its body, the tenant's keys and its lookup 5 seconds each, and a second for the
/// rest.
const EACH: Duration = Duration::from_secs(21);

/// In an input: a user's own token, which is another in every run.
const SESSION: &[u8] = b"{session}";

/// More than this is not sent bit by bit.
const BITS: usize = 1024;
const BIT: usize = 5;

thread_local! {
    static DAEMON: OnceCell<Daemon> = const { OnceCell::new() };
}

/// The first byte chooses a listener and the tenant's mood, counted from `A`; the rest is sent.
pub fn exchange(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    let choice = choice.wrapping_sub(b'A');
    DAEMON.with(|daemon| {
        let daemon = daemon.get_or_init(Daemon::start);
        let script = Script::read(rest, &daemon.session);
        daemon.runtime.block_on(async {
            let replies = script.play(daemon, choice, false).await;
            if script.is_short() {
                let in_bits = script.play(daemon, choice, true).await;
                is_answered_alike(&replies, &in_bits);
            }
        });
    });
}

/// However it arrives. One may be cut short: hyper looks at a head again only when it is whole, so what is wrong and
/// breaks off is told only if it came in one piece; and whether a connection goes on after a request that was refused
/// before its body was there depends on how much of that had come.
fn is_answered_alike(at_once: &[Reply], in_bits: &[Reply]) {
    for (one, other) in at_once.iter().zip(in_bits) {
        assert_eq!(one.status, other.status, "{one:?}, and in bits {other:?}");
    }
}

struct Script {
    /// Parted by pauses.
    parts: Vec<Vec<u8>>,
    stays: bool,
}

impl Script {
    fn read(bytes: &[u8], session: &str) -> Self {
        let mut parts = vec![Vec::new()];
        let (mut length, mut rest) = (0, bytes);
        while let [first, after @ ..] = rest {
            let part: &mut Vec<u8> = parts.last_mut().unwrap();
            if let Some(after) = rest.strip_prefix(SESSION) {
                length += session.len();
                part.extend(session.as_bytes());
                rest = after;
                continue;
            }
            rest = after;
            let more = match (*first, part.last().copied(), rest) {
                (PAUSE, ..) => {
                    parts.push(Vec::new());
                    continue;
                }
                (AGAIN, Some(last), [times, after @ ..]) => {
                    rest = after;
                    vec![last; usize::from(*times) * 64]
                }
                (byte, ..) => vec![byte],
            };
            length += more.len();
            part.extend(more);
            if length > LONGEST {
                break;
            }
        }
        let stays = parts.len() > 1 && parts.last().is_some_and(Vec::is_empty);
        Self { parts, stays }
    }

    fn is_short(&self) -> bool {
        self.parts.len() == 1 && self.parts[0].len() <= BITS
    }

    /// Sends it and holds what comes back to what is promised.
    async fn play(&self, daemon: &Daemon, choice: u8, in_bits: bool) -> Vec<Reply> {
        daemon.begin(choice >> 2).await;
        let socket = &daemon.sockets[usize::from(choice) % daemon.sockets.len()];
        let stream = UnixStream::connect(socket).await.unwrap();
        let (mut from, to) = stream.into_split();
        let begun = Instant::now();
        let mut received = Vec::new();
        let reading = async {
            // What the kernel took back unread is no concern of ours, once everything before it is here.
            from.read_to_end(&mut received).await.ok();
        };
        let sending = async {
            self.send(to, in_bits).await;
            std::future::pending::<()>().await;
        };
        let both = async {
            tokio::select! {
                () = reading => {}
                () = sending => {}
            }
        };
        let took =
            timeout(Duration::from_secs(100_000), both).await.map(|()| begun.elapsed()).expect("an end");
        let replies = Reply::all(&received);
        let most = IDLE + PAUSED_FOR * self.parts.len() as u32 + EACH * (replies.len() as u32 + 1);
        assert!(took <= most, "{took:?} for {} answers", replies.len());
        let sent = self.parts.concat();
        self.hold(daemon, &sent, &replies);
        replies
    }

    async fn send(&self, mut to: tokio::net::unix::OwnedWriteHalf, in_bits: bool) {
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                sleep(PAUSED_FOR).await;
            }
            let bits = if in_bits { BIT } else { part.len().max(1) };
            for bit in part.chunks(bits) {
                // Whoever has been refused need not be listened to.
                if to.write_all(bit).await.is_err() {
                    return;
                }
                if in_bits {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
        if self.stays {
            std::future::pending::<()>().await;
        }
        to.shutdown().await.ok();
    }

    fn hold(&self, daemon: &Daemon, sent: &[u8], replies: &[Reply]) {
        let was_head = holds(sent, b"HEAD");
        replies.iter().for_each(|reply| reply.is_as_documented(was_head));
        // What the caller itself has said may be said to it.
        let decoded: Vec<u8> = percent_decode(sent).collect();
        let told = |secret: &str| holds(sent, secret.as_bytes()) || holds(&decoded, secret.as_bytes());
        let management = daemon.management_token();
        let secrets = daemon.secrets.iter().chain(&management).filter(|secret| !told(secret));
        let secrets: Vec<_> = secrets.map(String::as_str).collect();
        let log = daemon.logged();
        for secret in secrets.iter().chain([&daemon.session.as_str()]) {
            assert!(!holds(&log, secret.as_bytes()), "a secret is logged: {}", log.escape_ascii());
        }
        for reply in replies {
            let mut body = reply.body.clone();
            if reply.status == 200 {
                leave_out_what_was_asked_for(&mut body, sent, &decoded);
            }
            let headers = format!("{:?}", reply.headers);
            for secret in &secrets {
                assert!(!holds(&body, secret.as_bytes()), "a secret where none was asked for: {reply:?}");
                assert!(!headers.contains(secret), "{headers}");
            }
        }
    }
}

/// Takes the token out of an answer that is meant to hold one, if its user was asked for.
fn leave_out_what_was_asked_for(body: &mut Vec<u8>, sent: &[u8], decoded: &[u8]) {
    let tokens: Vec<String> = if let Ok(answer) = serde_json::from_slice::<TokenAnswer<'_>>(body) {
        let is_own = holds(sent, b"/v1/me/token") && answer.user_id == users::GOOGLE;
        let is_named = holds(sent, b"/token") && holds(decoded, answer.user_id.as_bytes());
        assert!(is_own || is_named, "nobody asked for it");
        [Some(answer.access_token), answer.access_token_secret]
            .into_iter()
            .flatten()
            .map(Into::into)
            .collect()
    } else if let Ok(answer) = serde_json::from_slice::<ManagementTokenAnswer<'_>>(body) {
        assert!(holds(sent, b"/v1/management-token"), "nobody asked for it");
        vec![answer.access_token.into()]
    } else {
        return;
    };
    let mut text = String::from_utf8(std::mem::take(body)).unwrap();
    for token in tokens {
        assert!(token.len() > 4);
        text = text.replacen(&token, "", 1);
    }
    *body = text.into_bytes();
}
