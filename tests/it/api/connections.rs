//! Connections: how long they last, how many there are, and how they end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cloakroom::app::Ended;
use cloakroom::fake_auth0::{Endpoint, Fault, users};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{raw, world, world_with};
use crate::support::world::World;

/// Guarantee 8: answers that nobody reads take neither memory nor a connection for ever.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_answers_is_waited_for_half_a_minute() {
    let world = world().await;
    let open = || world.running.services().listeners()[0].connections.load(Ordering::Relaxed);
    let one = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n";
    let fill = async |stream: &mut UnixStream| {
        let mut asked = 0;
        // Until the daemon takes no more: it reads no request before the answer to the last one is on its way.
        while tokio::time::timeout(Duration::from_millis(1), stream.write_all(one)).await.is_ok() {
            asked += 1;
        }
        asked
    };
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    assert!(fill(&mut stream).await < 50_000);
    // A little at a time, with pauses: slow, but alive.
    let mut some = vec![0; 300_000];
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(open(), 1);
        assert_ne!(stream.read(&mut some).await.unwrap(), 0);
    }
    let begun = tokio::time::Instant::now();
    while open() == 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((30..=31).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// Guarantee 8: requests under way are bounded by connections, since each connection has one at a time.
#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_begun_one_at_a_time() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(1)));
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    for n in 0..50 {
        let path = World::path(&format!("auth0|{n}"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(world.cache().in_flight() <= 1);
    }
    assert!((9..=10).contains(&world.tenant.calls_to(Endpoint::User).len()));
}

#[tokio::test(start_paused = true)]
async fn slow_heads_and_bodies_are_given_up_on() {
    let world = world().await;
    let begun = tokio::time::Instant::now();
    let head = raw(&world, b"GET /livez HTTP/1.1\r\nhos").await;
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("request_timeout"), "{head}");
    assert_eq!(begun.elapsed().as_secs(), 5);
    let body = raw(&world, b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab").await;
    assert!(body.starts_with("HTTP/1.1 408 ") && body.contains("request_timeout"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_not_waited_for() {
    let world = world().await;
    for (wait, bytes, answer) in [(0, "", ""), (4, "G", "HTTP/1.1 408 ")] {
        let begun = tokio::time::Instant::now();
        let mut stream = UnixStream::connect(&world.socket).await.unwrap();
        tokio::time::sleep(Duration::from_secs(wait)).await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{said}");
        assert_eq!(begun.elapsed().as_secs(), 5, "from connecting, whatever came when");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_many_requests_and_is_closed_when_it_is_idle() {
    let world = world().await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let mut buffer = vec![0; 4096];
    for _ in 0..10 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200 OK"));
        // Longer than a head may take: an idle connection is not a slow one.
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let begun = tokio::time::Instant::now() - Duration::from_secs(60);
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    assert!((120..=240).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// Guarantee 8: connections beyond `max_connections` wait in the kernel's queue until there is room.
#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let world = world_with("[[listener]]\npath = \"{dir}/api.sock\"\nmax_connections = 2").await;
    let connect = async || UnixStream::connect(&world.socket).await.unwrap();
    let mut buffer = vec![0; 4096];
    let mut ask = async |stream: &mut UnixStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::timeout(Duration::from_secs(1), stream.read(&mut buffer)).await.is_ok()
    };
    let (mut first, mut second, mut third) = (connect().await, connect().await, connect().await);
    assert!(ask(&mut first).await && ask(&mut second).await);
    assert!(!ask(&mut third).await);
    drop(first);
    assert!(ask(&mut third).await);
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let world = world().await;
    let one = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = raw(&world, format!("{one}{one}{last}").as_bytes()).await;
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "403"]);
}

/// As `nc -N` and `socat` do.
#[tokio::test(start_paused = true)]
async fn who_has_said_everything_and_shuts_that_half_is_answered() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::Latency(Duration::from_secs(1)));
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let path = World::path(users::GOOGLE);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("access_token"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_holds_its_connection_for_half_a_second_and_its_lookup_goes_on() {
    let world = world().await;
    world.tenant.fault(Endpoint::User, Fault::StallHeaders);
    let open = || world.running.services().listeners()[0].connections.load(Ordering::Relaxed);
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let path = World::path(users::GOOGLE);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\ncloakroom-request: true\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(open(), 1);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(510)).await;
    assert_eq!((open(), world.cache().in_flight()), (0, 1));
}

/// Guarantee 9, as exactly as virtual time allows: nothing of what follows has been seen by the daemon when its end
/// begins, and all of it was there before.
#[tokio::test(start_paused = true)]
async fn the_end_answers_those_who_were_there_before_it() {
    let world = world().await;
    let request = |close| format!("GET /livez HTTP/1.1\r\nhost: x\r\n{close}\r\n");
    let mut kept = UnixStream::connect(&world.socket).await.unwrap();
    kept.write_all(request("").as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let n = kept.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..n].starts_with(b"HTTP/1.1 200 ") && !buffer[..n].windows(5).any(|part| part == b"close")
    );
    let mut accepted = UnixStream::connect(&world.socket).await.unwrap();
    let mut silent = UnixStream::connect(&world.socket).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;

    // Without giving the daemon a turn in between.
    let mut callers: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&world.socket).unwrap();
            std::io::Write::write_all(&mut stream, request("").as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            UnixStream::from_std(stream).unwrap()
        })
        .collect();
    kept.try_write(request("").as_bytes()).unwrap();
    let begun = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        accepted.write_all(request("").as_bytes()).await.unwrap();
        accepted
    };
    let (ended, accepted) = tokio::join!(world.running.stop(), late);
    assert_eq!(ended, Ended::Finished);
    assert!(begun.elapsed() <= Duration::from_millis(1_100), "{:?}", begun.elapsed());
    assert!(!world.socket.exists());
    callers.extend([kept, accepted]);
    for mut caller in callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(silent.read(&mut buffer).await.unwrap(), 0);
}
