//! Heads of answers: how long they may be, and which are malformed.

use super::*;

#[tokio::test]
async fn heads_and_interim_responses_are_bounded_and_no_failure_quotes_them() {
    let peer = Peer::new().await;
    let too_long = format!("HTTP/1.1 200 OK\r\nevil: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let interim = "HTTP/1.1 103 Early Hints\r\nevil: 1\r\n\r\n";
    let most = format!("{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", interim.repeat(8));
    assert!(peer.answered(&most).await.0.is_ok());
    let endless = interim.repeat(100_000);
    for answer in [&too_long, &endless, "SSH-2.0-evil\r\n", "HTTP/1.1 200 evil\r\n", ""] {
        let failure = peer.answered(answer).await.0.err().unwrap();
        assert!(!failure.to_string().contains("evil"), "{failure}");
    }
}

#[tokio::test]
async fn answers_with_other_codings_are_malformed() {
    let peer = Peer::new().await;
    let chunks = "\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for (head, is_passed) in [
        ("200 OK\r\ntransfer-encoding: Chunked", true),
        // LinkedIn's, for what it takes for a robot.
        ("999 Denied\r\ntransfer-encoding: chunked", true),
        ("200 OK\r\ntransfer-encoding: gzip, chunked", false),
        ("200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked", false),
        ("200 OK\r\ntransfer-encoding: chunked, chunked", false),
        ("200 OK\r\ntransfer-encoding: gzip", false),
        ("200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 4", false),
        ("200 OK\r\ntransfer-encoding:\r\ncontent-length: 4", false),
    ] {
        let (answer, _) = peer.answered(&format!("HTTP/1.1 {head}{chunks}")).await;
        match answer {
            Ok(answer) => {
                assert!(is_passed, "{head}");
                assert_eq!(&answer.into_body().collect().await.unwrap().to_bytes()[..], b"ok", "{head}");
            }
            Err(failure) => {
                assert!(!is_passed && matches!(failure, Failure::Malformed { .. }), "{head}: {failure}");
            }
        }
    }
}
