//! The load: one thread that never waits, with many connections. Closed, it asks again as soon as it is answered; open,
//! it asks at a given rate, and counts a request's time from when it was due, so that nothing is left out that a slow
//! answer has delayed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

/// How one asks, and how long an answer is.
#[derive(Clone)]
pub struct Protocol {
    /// What is sent, one of them after the other.
    pub requests: Vec<Vec<u8>>,
    pub answers: Answers,
}

#[derive(Clone, Copy)]
pub enum Answers {
    /// HTTP/1.1 with a content-length, and this status.
    Http(u16),
    /// A bulk string of Redis'.
    Redis,
}

/// What came of it.
pub struct Outcome {
    pub answered: u64,
    pub took: Duration,
    /// Nanoseconds from when each was due.
    pub latencies: Histogram<u64>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// Microseconds.
    pub fn quantile(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    /// When the request under way was due.
    due: Option<Instant>,
}

/// Asks `times` times through one connection, one after the other.
pub fn run_times(socket: &Path, protocol: &Protocol, times: usize) -> Outcome {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut latencies = Histogram::new_with_bounds(100, 60_000_000_000, 3).unwrap();
    let begun = Instant::now();
    for number in 0..times {
        let due = Instant::now();
        stream.write_all(&protocol.requests[number % protocol.requests.len()]).unwrap();
        let mut received = Vec::new();
        while received.is_empty() || !is_whole(&mut received, protocol.answers) {
            let mut bytes = [0; 16 * 1024];
            let length = stream.read(&mut bytes).unwrap();
            received.extend_from_slice(&bytes[..length]);
        }
        latencies.saturating_record(due.elapsed().as_nanos() as u64);
    }
    Outcome { answered: times as u64, took: begun.elapsed(), latencies }
}

/// Asks once through each of as many connections as there are requests, all at the same time: how long it takes until the
/// last is answered, and the answers' statuses.
pub fn crowd(socket: &Path, requests: &[Vec<u8>]) -> (Duration, BTreeMap<u16, usize>) {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut open: Vec<_> = requests.iter().map(|_| (connect(socket), Vec::new())).collect();
    for (number, (stream, _)) in open.iter_mut().enumerate() {
        poll.registry().register(stream, Token(number), Interest::READABLE).unwrap();
    }
    let begun = Instant::now();
    for ((stream, _), request) in open.iter_mut().zip(requests) {
        assert_eq!(stream.write(request).unwrap(), request.len());
    }
    let mut statuses = BTreeMap::new();
    while statuses.values().sum::<usize>() < requests.len() {
        poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        for event in &events {
            let (stream, received) = &mut open[event.token().0];
            let mut bytes = [0; 16 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                received.extend_from_slice(&bytes[..length]);
            }
            if let Some((status, _)) = http_answer(received).filter(|(_, length)| received.len() == *length) {
                *statuses.entry(status).or_default() += 1;
                received.clear();
            }
        }
    }
    (begun.elapsed(), statuses)
}

/// Asks at `socket` for `span` through `connections`, `rate` times a second, or as often as it is answered.
pub fn run(
    socket: &Path,
    protocol: &Protocol,
    connections: usize,
    span: Duration,
    rate: Option<f64>,
) -> Outcome {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut open: Vec<_> = (0..connections)
        .map(|number| {
            let mut stream = connect(socket);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE).unwrap();
            Connection { stream, received: Vec::with_capacity(64 * 1024), due: None }
        })
        .collect();
    let mut idle: VecDeque<usize> = (0..connections).collect();
    let mut latencies = Histogram::new_with_bounds(100, 60_000_000_000, 3).unwrap();
    let (mut answered, mut asked) = (0_u64, 0_usize);
    let begun = Instant::now();
    let end = begun + span;
    let interval = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let mut next_due = begun;
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        loop {
            let due = match interval {
                Some(_) if next_due > now => break,
                Some(_) => next_due,
                None => now,
            };
            let Some(number) = idle.pop_front() else { break };
            let connection = &mut open[number];
            connection.due = Some(due);
            let request = &protocol.requests[asked % protocol.requests.len()];
            asked += 1;
            // Requests are small, and a connection has but one under way.
            assert_eq!(connection.stream.write(request).unwrap(), request.len());
            if let Some(interval) = interval {
                next_due += interval;
            }
        }
        // It looks again and again, for what is due next may be due within microseconds; and were it asleep, servers
        // would have to wake it, the more often the slower they are.
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        for event in &events {
            let number = event.token().0;
            let connection = &mut open[number];
            loop {
                let mut bytes = [0; 16 * 1024];
                match connection.stream.read(&mut bytes) {
                    Ok(0) => panic!("{} hung up", socket.display()),
                    Ok(length) => connection.received.extend_from_slice(&bytes[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                if is_whole(&mut connection.received, protocol.answers) {
                    let due = connection.due.take().unwrap();
                    latencies.saturating_record(due.elapsed().as_nanos() as u64);
                    answered += 1;
                    idle.push_back(number);
                    break;
                }
            }
        }
    }
    Outcome { answered, took: begun.elapsed(), latencies }
}

fn connect(socket: &Path) -> UnixStream {
    loop {
        match std::os::unix::net::UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_nonblocking(true).unwrap();
                return UnixStream::from_std(stream);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Whether an answer has been received as a whole; then it is taken out.
fn is_whole(received: &mut Vec<u8>, answers: Answers) -> bool {
    let length = match answers {
        Answers::Http(wanted) => {
            let Some((status, length)) = http_answer(received) else { return false };
            assert_eq!(status, wanted, "{}", String::from_utf8_lossy(received));
            length
        }
        Answers::Redis => {
            let Some(head) = find(received, b"\r\n") else { return false };
            let length: usize = std::str::from_utf8(&received[1..head]).unwrap().parse().expect("a value");
            head + 2 + length + 2
        }
    };
    if received.len() < length {
        return false;
    }
    assert_eq!(received.len(), length, "more than was asked for");
    received.clear();
    true
}

/// Status and length of the answer that has begun to arrive, if its head is there.
fn http_answer(received: &[u8]) -> Option<(u16, usize)> {
    let head = find(received, b"\r\n\r\n")?;
    let text = std::str::from_utf8(&received[..head]).unwrap();
    let lengths = text.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    Some((text[9..12].parse().unwrap(), head + 4 + lengths.last().expect("a length")))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
