//! Streams beside lookups: what many of them cost others, what becomes of those beyond the limit, and how late a frame
//! is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloakroom::domain::user::UserId;
use cloakroom::fake_auth0::users;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::alone;
use crate::stage::{ABUSER, OTHER, Player, Stage, Went, measure, other_of};
use crate::support::api_calls::{Api, Call};
use crate::support::process::is_root;

/// How many streams one client has.
const STREAMS: usize = 200;

/// Between the first calls of one client.
const BETWEEN_CALLS: Duration = Duration::from_millis(3);

/// Between two calls that were refused, which `Retry-After` asks for.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Until the work of opening streams, such as their handshakes, is over.
const SETTLING: Duration = Duration::from_secs(2);

/// What each stream is of: a frame twice a second.
const EVENTS: &str = "/events?every=500";

/// How many frames are timed.
const FRAMES: usize = 100;

/// What the client of a role counts.
#[derive(Default)]
struct Counts {
    open: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

/// Plays a client with this many streams, such as `200 /events?every=500`. Says how many it has, and in the end what came.
pub fn play(socket: &Path, tail: &str) {
    let (many, tail) = tail.split_once(' ').unwrap();
    let many: u64 = many.parse().unwrap();
    let user = UserId::parse(users::GOOGLE).unwrap().to_path_segment();
    let path = format!("/v1/users/{user}/proxy/google-oauth2/api{tail}");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
    let enough = std::thread::spawn(|| std::io::stdin().lock().read_line(&mut String::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let counts = Arc::<Counts>::default();
        let mut all = JoinSet::new();
        for number in 0..many {
            let stream = stream(socket.to_owned(), request.clone(), Arc::clone(&counts));
            all.spawn(async move {
                // Frames that are sent at intervals come one after the other then.
                sleep(BETWEEN_CALLS * number as u32).await;
                stream.await;
            });
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        while count(&counts.open) + count(&counts.refused) < many {
            sleep(BETWEEN_CALLS).await;
        }
        println!("! {}", count(&counts.open));
        while !enough.is_finished() {
            sleep(BETWEEN_CALLS).await;
        }
        let [open, refused, bytes] = [&counts.open, &counts.refused, &counts.bytes].map(count);
        println!("! {open} streams with {bytes} bytes, {refused} calls refused");
        std::future::pending::<()>().await;
    });
}

/// Plays the same client without a daemon: `200 localhost:8443 /events?every=500`.
pub fn play_directly(tail: &str) {
    let [many, host, path] = tail.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let ca_pem = std::fs::read_to_string("api.pem").unwrap();
    let all: Vec<_> = (0..many.parse().unwrap())
        .map(|_| {
            std::thread::sleep(BETWEEN_CALLS);
            let mut stream = directly(host, &ca_pem, path);
            assert!(stream.read_line(&mut String::new()).unwrap() > 0);
            stream
        })
        .collect();
    println!("! {many}");
    for mut stream in all {
        std::thread::spawn(move || while stream.read(&mut [0; 16 * 1024]).unwrap() > 0 {});
    }
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    println!("! {many} streams");
}

/// Reads one stream for ever. A call that is refused is made again.
async fn stream(socket: PathBuf, request: String, counts: Arc<Counts>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut length = stream.read(&mut buffer).await.unwrap();
        if buffer.starts_with(b"HTTP/1.1 200 ") {
            counts.open.fetch_add(1, Ordering::Relaxed);
            while length > 0 {
                counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
                length = stream.read(&mut buffer).await.unwrap();
            }
            panic!("a stream has ended");
        }
        let answer = String::from_utf8_lossy(&buffer[..length]);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"overloaded\""), "{answer}");
        assert!(answer.contains("\r\nretry-after: "), "{answer}");
        counts.refused.fetch_add(1, Ordering::Relaxed);
        sleep(RETRY_AFTER).await;
    }
}

/// A daemon whose clients may have this many streams, and an API.
fn stage(max_streams: usize) -> (Api, Stage) {
    let api = Api::listen();
    let listener = format!("mode = \"0666\"\nmax_streams = {max_streams}");
    let rules = [ABUSER, OTHER, 0].map(|uid| (uid, "[\"GET api/**\"]"));
    let stage = Stage::of(api.deployment_for(&rules, "", &listener));
    (api, stage)
}

/// How lookups of `OTHER` go while this uid plays a role, which says `expected` when it has begun.
fn lookups_beside(stage: &Stage, other: &mut Player, (uid, role): (u32, &str), expected: &str) -> Went {
    let mut streaming = Player::start(stage, uid, role);
    assert_eq!(streaming.says(), expected);
    std::thread::sleep(SETTLING);
    let went = measure(other, "time-kept 2000");
    println!("uid {uid}, {role}: {}\n  {went}", streaming.told("enough"));
    assert_eq!(went.failed, 0);
    went
}

/// Whether 99 of 100 lookups of `OTHER` take more than 1.5 times as long, in each of some attempts, while this uid has as
/// many streams as it gets, as beside streams of its own that the daemon has no part in: what the API and a client do with
/// frames takes processors from lookups either way. `expected` of the streams are open.
fn are_lookups_later(api: &Api, stage: &Stage, uid: u32, expected: &str) -> bool {
    let mut other = other_of(stage);
    (0..5).all(|_| {
        let direct = format!("direct {expected} {} {EVENTS}", api.host());
        let without = lookups_beside(stage, &mut other, (uid, &direct), expected);
        let streams = format!("streams {STREAMS} {EVENTS}");
        let with = lookups_beside(stage, &mut other, (uid, &streams), expected);
        with.p99 * 2 > without.p99 * 3
    })
}

#[test]
#[ignore = "needs a quiet machine; make soak runs it"]
fn lookups_are_not_later_beside_two_hundred_streams() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    let (api, stage) = stage(2 * STREAMS);
    let _daemon = stage.start();
    for uid in [ABUSER, OTHER] {
        assert!(!are_lookups_later(&api, &stage, uid, "200"), "streams of {uid}");
    }
}

#[test]
#[ignore = "needs a quiet machine; make soak runs it"]
fn lookups_are_not_later_beside_calls_that_find_no_slot() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    // A uid has half of them.
    let (api, stage) = stage(64);
    let _daemon = stage.start();
    for uid in [ABUSER, OTHER] {
        assert!(!are_lookups_later(&api, &stage, uid, "32"), "calls of {uid}");
    }
}

/// A connection to the API at `host` without the daemon, with a stream of events.
fn directly(host: &str, ca_pem: &str, path: &str) -> BufReader<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(tls), ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer any\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    stream
}

/// When a frame with this text has come.
fn arrival(stream: &mut BufReader<impl Read>, text: &str) -> Instant {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0);
    }
    Instant::now()
}

/// The median time from the API's write until a frame has come.
fn delay(api: &Api, stream: &mut BufReader<impl Read>) -> Duration {
    while api.api.event_streams() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let timed = |number| {
        let text = format!("frame {number};");
        let begun = Instant::now();
        assert_eq!(api.api.emit(&text), 1);
        let took = arrival(stream, &text) - begun;
        // As events are, it is followed by nothing for a while.
        std::thread::sleep(Duration::from_millis(5));
        took
    };
    let mut took: Vec<_> = (0..FRAMES).map(timed).collect();
    took.sort_unstable();
    took[FRAMES / 2]
}

/// Frames that were collected before they are sent, or that wait for an acknowledgement (40 ms in Linux), would come
/// later by far.
#[test]
#[ignore = "needs a quiet machine; make soak runs it"]
fn a_frame_is_with_the_client_soon_after_the_api_wrote_it() {
    let _alone = alone();
    let api = Api::listen();
    let deployment = api.deployment("", "[\"GET api/**\"]");
    let _daemon = deployment.start();
    let is_late = (0..3).all(|_| {
        let direct = delay(&api, &mut directly(api.host(), api.ca_pem(), "/events"));
        while api.api.event_streams() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut call = Call::get(&deployment.socket(), "/events");
        assert_eq!(call.status(), 200);
        let proxied = delay(&api, &mut call.0);
        drop(call);
        while api.api.event_streams() > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("median of {FRAMES} frames: {direct:?} directly, {proxied:?} through the daemon");
        proxied > direct * 5 + Duration::from_millis(10)
    });
    assert!(!is_late, "frames come later through the daemon");
}
