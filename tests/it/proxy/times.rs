//! How long the daemon waits for a client that sends, and for a provider that reads and answers, in virtual time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use super::desk::{Desk, DeskOptions, SECOND};

const LONGER: &str = "idle_timeout = \"2m\"";

async fn desk(proxy: &str) -> Desk {
    Desk::new(DeskOptions { proxy, ..DeskOptions::default() }).await
}

/// The rest of what the daemon answers until it closes the connection, and after how many seconds.
async fn rest(client: &mut UnixStream) -> (String, u64) {
    let begun = Instant::now();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    (answer, begun.elapsed().as_secs())
}

fn assert_own(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    assert!(!answer.contains("cloakroom-upstream"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_within_its_body_is_answered_408_and_the_call_is_broken_off() {
    for (keys, seconds) in [("", 30), (LONGER, 120)] {
        for body in
            ["content-length: 100\r\n\r\nten bytes.", "transfer-encoding: chunked\r\n\r\na\r\nten bytes.\r\n"]
        {
            let desk = desk(keys).await;
            let mut client = desk.begin("PUT", "/upload", body).await;
            desk.until(|call| call.body_bytes == 10).await;
            let (answer, waited) = rest(&mut client).await;
            assert_own(&answer, 408, "request_timeout");
            assert_eq!(waited, seconds, "{keys:?}");
            let call = desk.only_call();
            assert!(!call.body_is_complete && call.closed_by_client_at.is_some(), "{call:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_read_is_given_up_and_not_the_client() {
    for (keys, seconds) in [("", 30), (LONGER, 120)] {
        // The wait for the answer's head has not begun.
        let desk = desk(&format!("head_timeout = \"1s\"\n{keys}")).await;
        let mut client =
            desk.begin("PUT", "/stall", "connection: close\r\ncontent-length: 10\r\n\r\nten bytes.").await;
        desk.until(|call| call.body_bytes == 0).await;
        let (answer, waited) = rest(&mut client).await;
        assert_own(&answer, 504, "provider_timeout");
        assert_eq!(waited, seconds, "{keys:?}");
        assert!(desk.only_call().closed_by_client_at.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pauses_within_the_idle_timeout_is_waited_for() {
    // The time for the head begins when the whole body has been sent.
    let desk = desk(&format!("head_timeout = \"1s\"\n{LONGER}")).await;
    let mut client =
        desk.begin("PUT", "/upload", "connection: close\r\ncontent-length: 40\r\n\r\nten bytes.").await;
    for number in 1..=3 {
        desk.until(|call| call.body_bytes == 10 * number).await;
        sleep(90 * SECOND).await;
        client.write_all(b"ten bytes.").await.unwrap();
    }
    let (answer, waited) = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"bytes\":40"), "{answer}");
    assert_eq!(waited, 0);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_pauses_within_its_answer_is_waited_for_as_long_as_the_idle_timeout() {
    for (keys, is_patient) in [("", false), (LONGER, true)] {
        let desk = desk(keys).await;
        let begun = Instant::now();
        let mut client = desk.begin("GET", "/events?every=90000", "\r\n").await;
        desk.until(|call| call.status.is_some()).await;
        let mut answer = Vec::new();
        while client.read_buf(&mut answer).await.unwrap() > 0 {
            if String::from_utf8_lossy(&answer).contains("tick 3") {
                break;
            }
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(answer.contains("tick 1"), is_patient, "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "an end that is none: {answer}");
        let waited = if is_patient { 3 * 90 * SECOND } else { 30 * SECOND };
        assert_eq!(Duration::from_secs(begun.elapsed().as_secs()), waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_of_its_answer_for_half_a_minute_is_given_up() {
    const BYTES: usize = 10_000_000;
    for (keys, pause, is_whole) in [("idle_timeout = \"1s\"", 20, true), (LONGER, 40, false)] {
        let desk = desk(keys).await;
        let rest = "connection: close\r\n\r\n";
        let mut client = desk.begin("GET", &format!("/download?bytes={BYTES}"), rest).await;
        desk.until(|call| call.answer_bytes > 0).await;
        sleep(pause * SECOND).await;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert_eq!(answer.len() > BYTES, is_whole, "{keys}: {}", answer.len());
        assert_eq!(desk.only_call().closed_by_client_at.is_none(), is_whole, "{keys}");
    }
}

/// Calls of the Management API, whose part the API of this desk has.
#[tokio::test(start_paused = true)]
async fn calls_of_the_management_api_wait_half_a_minute_for_either_side() {
    let rule = format!(
        "[[listener.allow]]\nuid = {}\noperations = [\"management_api\"]\ncalls = [\"GET /**\", \"PUT /**\"]\n\
         [management_api]\nclient_id = \"ops\"\nsecret = \"ops-secret\"",
        nix::unistd::geteuid()
    );
    let ten = "connection: close\r\ncontent-length: 10\r\n\r\nten bytes.";
    for (method, tail, rest, status, code) in [
        ("GET", "/stall", "connection: close\r\n\r\n", 504, "upstream_timeout"),
        ("PUT", "/stall", ten, 504, "upstream_timeout"),
        ("PUT", "/upload", "content-length: 100\r\n\r\nten bytes.", 408, "request_timeout"),
    ] {
        let desk = Desk::new(DeskOptions { rule: &rule, prefix: "/api/v2", ..DeskOptions::default() }).await;
        let mut client = desk.begin_at(method, &format!("/api/v2{tail}"), rest).await;
        let length = if tail == "/upload" { 10 } else { 0 };
        desk.until(|call| call.body_bytes == length).await;
        let (answer, waited) = self::rest(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {tail}: {answer}");
        assert!(answer.contains(&format!("\"errorCode\":\"cloakroom_{code}\"")), "{method} {tail}: {answer}");
        assert!(!answer.contains("cloakroom-upstream"), "{method} {tail}: {answer}");
        assert_eq!(waited, 30, "{method} {tail}");
        assert!(desk.only_call().closed_by_client_at.is_some(), "{method} {tail}");
    }
}
