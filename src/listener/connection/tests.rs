//! Streams over one connection, in virtual time: what breaks, what lasts, and what ends when.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::api::ShutdownPhase;
use crate::api::response::BrokenStream;

mod served;

use served::{Limits, Served};

const SECOND: Duration = Duration::from_secs(1);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// The end of a chunked body.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

fn frame(text: &'static str) -> Result<Bytes, BrokenStream> {
    Ok(Bytes::from_static(text.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn each_frame_arrives_when_it_is_sent_and_the_connection_persists() {
    let mut served = Served::new();
    let begun = Instant::now();
    for _ in 0..3 {
        let provider = served.call("/stream").await;
        for text in ["one.", "two.", "three."] {
            provider.send(frame(text)).unwrap();
            served.read_to(&format!("{text}\r\n")).await;
        }
        drop(provider);
        served.read_to("0\r\n\r\n").await;
        served.get("/now").await;
        served.read_to("now.").await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "and without a wait");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_known_length_ends_with_its_last_byte() {
    let mut served = Served::new();
    for _ in 0..3 {
        let provider = served.call("/stream?7").await;
        provider.send(frame("one")).unwrap();
        provider.send(frame(".two")).unwrap();
        let text = served.read_to(".two").await;
        assert!(text.contains("content-length: 7\r\n") && text.ends_with("\r\n\r\none.two"), "{text}");
        provider.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_body_leaves_the_connection_idle() {
    let mut served = Served::new();
    served.send("HEAD /stream?7 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    served.calls.recv().await.unwrap().closed().await;
    served.read_to("\r\n\r\n").await;
    served.get("/now").await;
    served.read_to("now.").await;
    assert!(!served.ends_within(100 * SECOND).await && served.ends_within(200 * SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_broken_stream_is_a_broken_answer() {
    for path in ["/stream", "/stream?100", "/late"] {
        let mut served = Served::new();
        let provider = served.call(path).await;
        provider.send(frame("one.")).unwrap();
        provider.send(Err(BrokenStream::Cut)).unwrap();
        let text = served.read_to_close().await;
        assert!(text.contains("one."), "what came before the error is passed on: {text}");
        assert!(!text.ends_with(LAST_CHUNK), "{text}");
        assert!(served.ends_within(SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_silence_of_a_provider_ends_nothing() {
    for path in ["/stream", "/late"] {
        let mut served = Served::new();
        let provider = served.call(path).await;
        // A client that has shut down its sending half waits for its answer, too.
        served.client.shutdown().await.unwrap();
        for _ in 0..3 {
            assert!(!served.ends_within(TEN_MINUTES).await, "{path}");
            provider.send(frame("one.")).unwrap();
            served.read_to("one.\r\n").await;
        }
        drop(provider);
        assert!(served.read_to_close().await.ends_with("0\r\n\r\n"));
        assert!(served.ends_within(SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_is_noticed_within_a_second() {
    let upload = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123";
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (request, frames) in [(get("/late"), 0), (get("/stream"), 0), (get("/stream"), 1), (upload.into(), 0)]
    {
        let mut served = Served::new();
        served.send(&request).await;
        let provider = served.calls.recv().await.unwrap();
        (0..frames).for_each(|_| provider.send(frame("one.")).unwrap());
        sleep(10 * SECOND).await;
        served.hang_up();
        let gone = Instant::now();
        provider.closed().await;
        assert!(gone.elapsed() <= SECOND, "{request}: {:?}", gone.elapsed());
        assert!(served.ends_within(SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_client_that_does_not_read_is_closed() {
    let mut served = Served::new();
    let provider = served.call("/stream").await;
    let piece = Bytes::from(vec![b'.'; 300_000]);
    // It reads late, and is not closed as long as there is nothing to write.
    for _ in 0..3 {
        provider.send(Ok(piece.clone())).unwrap();
        assert!(!served.ends_within(25 * SECOND).await);
        let mut read = 0;
        while read < piece.len() {
            read += served.read().await.len();
        }
        assert!(!served.ends_within(TEN_MINUTES).await);
    }
    provider.send(Ok(piece)).unwrap();
    assert!(!served.ends_within(29 * SECOND).await);
    assert!(served.ends_within(2 * SECOND).await);
    assert!(provider.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_lasts_and_what_is_pipelined_behind_it_waits() {
    let mut served = Served::new();
    served.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").await;
    for _ in 0..4 {
        assert!(!served.ends_within(TEN_MINUTES).await);
        served.send("x").await;
        assert_eq!(served.uploaded.recv().await, Some(1));
    }
    served.send("xGET /now HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let text = served.read_to("now.").await;
    assert!(text.find("uploaded.").unwrap() < text.find("now.").unwrap(), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_costs_no_upload() {
    let expecting = |path| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
    };
    let mut served = Served::new();
    served.send(expecting("/refused")).await;
    let text = served.read_to_close().await;
    assert!(text.starts_with("HTTP/1.1 403 ") && text.ends_with("refused."), "{text}");

    let mut served = Served::new();
    served.send(expecting("/upload")).await;
    assert_eq!(served.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    served.send(vec![b'x'; 2_000_000]).await;
    assert!(served.read_to("uploaded.").await.starts_with("HTTP/1.1 200 "));
}

/// Many clients read nothing before they have sent the whole body.
#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_the_whole_body_reaches_its_client() {
    for path in ["/refused", "/stream"] {
        let mut served = Served::new();
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n");
        served.send(request).await;
        let provider = if path == "/stream" { served.calls.recv().await } else { None };
        provider.inspect(|provider| provider.send(frame("refused.")).unwrap());
        sleep(SECOND / 2).await;
        served.send(vec![b'x'; 2_000_000]).await;
        let text = served.read_to_close().await;
        assert!(text.contains("refused."), "{text}");
        assert!(served.ends_within(2 * SECOND).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_until_the_shutdown_is_over() {
    let mut served = Served::new();
    let provider = served.call("/stream").await;
    for phase in [ShutdownPhase::Draining, ShutdownPhase::Closing] {
        served.phase.send_replace(phase);
        assert!(!served.ends_within(TEN_MINUTES).await);
        provider.send(frame("one.")).unwrap();
        served.read_to("one.\r\n").await;
    }
    served.phase.send_replace(ShutdownPhase::Over);
    assert!(served.ends_within(Duration::from_millis(10)).await);
    assert!(provider.is_closed());
    assert_eq!(served.read_to_close().await, "", "it has no clean end");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_stream_ends_during_the_shutdown_is_closed() {
    let mut served = Served::new();
    let provider = served.call("/stream").await;
    provider.send(frame("one.")).unwrap();
    served.read_to("one.\r\n").await;
    served.phase.send_replace(ShutdownPhase::Closing);
    assert!(!served.ends_within(TEN_MINUTES).await);
    drop(provider);
    assert_eq!(served.read_to_close().await, "0\r\n\r\n");
    assert!(served.ends_within(SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_stream_leaves_its_connections_slot_to_others_and_takes_one_again() {
    let limits = Limits::new(4, 4);
    let mut first = Served::within(&limits);
    let mut second = Served::within(&limits);
    assert!(limits.slot().is_none(), "half of the slots are the most of one uid");
    let (one, two) = (first.call("/stream").await, second.call("/late").await);
    let mut third = Served::within(&limits);
    third.get("/stream").await;
    assert!(third.read_to("full.").await.starts_with("HTTP/1.1 503 "), "streams have a limit of their own");
    assert_eq!(limits.info.streams.load(std::sync::atomic::Ordering::Relaxed), 2);
    // One slot is free again, and only one.
    drop(one);
    first.read_to("0\r\n\r\n").await;
    first.get("/now").await;
    first.read_to("now.").await;
    two.send(frame("two.")).unwrap();
    drop(two);
    assert!(second.read_to_close().await.ends_with("two.\r\n0\r\n\r\n"), "it is closed after its answer");
    assert!(second.ends_within(SECOND).await);
    assert_eq!(limits.info.streams.load(std::sync::atomic::Ordering::Relaxed), 0);
    drop((first, third));
    tokio::task::yield_now().await;
    assert!(limits.slot().is_some() && limits.slot().is_some());
}

#[tokio::test(start_paused = true)]
async fn without_stream_slots_no_call_is_proxied() {
    let mut served = Served::within(&Limits::new(8, 0));
    served.get("/stream").await;
    served.read_to("full.").await;
    served.get("/now").await;
    served.read_to("now.").await;
}
