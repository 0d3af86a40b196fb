//! Tests of bodies: downloads, uploads, events, and those that break off.

use std::task::{Context, Poll, Waker};

use hyper::body::Frame;
use tokio::time::Instant;

use super::*;

/// An upload of `left` bytes in frames of 1 KiB, made as they are read.
struct Upload {
    left: u64,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = self.left.min(1024);
        self.left -= length;
        let frame = Bytes::from_static(&[b'u'; 1024]).slice(..length as usize);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(frame))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_is_the_known_content_with_its_length_or_in_chunks() {
    let api = api();
    let sized = api.answer(get("/download?bytes=200000")).await;
    assert_eq!(field(&sized, "content-length").unwrap(), "200000");
    assert_eq!(sized.body().size_hint().exact(), Some(200_000));
    let bytes = body(sized).await;
    assert_eq!(bytes, content(0, 200_000));
    assert_eq!(content(5_000, 100_000), bytes.slice(5_000..105_000));
    assert_eq!(
        content::hexadecimal(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref()),
        content_sha256(200_000)
    );
    let chunked = api.answer(get("/download?bytes=200000&chunked")).await;
    assert_eq!((field(&chunked, "content-length"), chunked.body().size_hint().exact()), (None, None));
    assert_eq!(body(chunked).await, bytes);
    assert_eq!(api.calls()[1].answer_bytes, 200_000);
}

#[tokio::test(start_paused = true)]
async fn a_paced_download_takes_its_time() {
    let api = api();
    let begun = Instant::now();
    let answer = api.answer(get("/download?bytes=10000&rate=1000")).await;
    assert_eq!(body(answer).await.len(), 10_000);
    let took = begun.elapsed();
    assert!(took > 9 * SECOND && took <= 10 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_counted_hashed_and_read_at_its_rate() {
    let api = api();
    let begun = Instant::now();
    let sent = request("PUT", "/upload?rate=1024").body(Upload { left: 5_000 }).unwrap();
    let answer = json(api.answer(sent).await).await;
    assert_eq!(answer["bytes"], 5_000);
    assert_eq!(answer["sha256"].as_str(), api.calls()[0].body_sha256.as_deref());
    assert!(begun.elapsed() > 4 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_leaves_the_rest_of_the_body() {
    let api = api();
    let sent = request("POST", "/early?after=2000").body(Upload { left: 1 << 40 }).unwrap();
    assert_eq!(api.answer(sent).await.status(), StatusCode::UNAUTHORIZED);
    let call = &api.calls()[0];
    assert_eq!((call.body_bytes, call.body_is_complete), (2_048, false));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_body_is_logged_up_to_where_it_broke_off() {
    let api = api();
    let mut upload =
        Box::pin(api.answer(request("PUT", "/upload?rate=1024").body(Upload { left: 5_000 }).unwrap()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(upload.as_mut().poll(&mut cx).is_pending());
    tokio::time::sleep(SECOND / 2).await;
    drop(upload);
    let call = &api.calls()[0];
    assert_eq!((call.body_bytes, call.body_is_complete, call.status), (1_024, false, None));
    assert_eq!(call.closed_by_client_at.unwrap().wall, START.after(SECOND / 2));
    assert!(call.body_sha256.is_some() && call.ended_at.is_none());
}

#[tokio::test(start_paused = true)]
async fn events_arrive_when_they_are_emitted_and_at_each_interval() {
    let api = api();
    let mut plain = api.answer(get("/events")).await.into_body();
    let mut ticking = api.answer(get("/events?every=1000")).await.into_body();
    assert_eq!(api.emit("one\ntwo"), 2);
    let next = async |body: &mut ApiBody| body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    assert_eq!(next(&mut plain).await.unwrap(), "data: one\ndata: two\n\n");
    assert_eq!(next(&mut ticking).await.unwrap(), "data: one\ndata: two\n\n");
    let begun = Instant::now();
    assert_eq!(next(&mut ticking).await.unwrap(), "data: tick 1\n\n");
    assert_eq!(begun.elapsed(), SECOND);
    drop(ticking);
    assert!(api.calls()[1].closed_by_client_at.is_some());
    assert_eq!(api.event_streams(), 1);
    api.end_events();
    assert_eq!(next(&mut plain).await, None);
    assert!(api.calls()[0].ended_at.is_some() && api.calls()[0].closed_by_client_at.is_none());
}

#[tokio::test(start_paused = true)]
async fn bodies_break_off_or_stop_where_they_are_told() {
    let api = api();
    for target in ["/cut?after=100", "/cut?after=100&chunked"] {
        let cut = api.answer(get(target)).await;
        assert_eq!(field(&cut, "content-length").is_some(), !target.contains("chunked"));
        let mut body = cut.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 100);
        assert!(body.frame().await.unwrap().is_err(), "{target}");
    }
    assert!(api.calls().iter().all(|call| call.closed_by_client_at.is_none()));
    let mut stalled = api.answer(get("/stall-body?after=10")).await.into_body();
    assert_eq!(stalled.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
    assert!(tokio::time::timeout(60 * SECOND, stalled.frame()).await.is_err());
    assert!(tokio::time::timeout(60 * SECOND, api.answer(get("/stall"))).await.is_err());
    assert!(api.calls()[3].closed_by_client_at.is_some());
}
