//! The bodies that a simulated API receives: counted and hashed as they arrive, never held in memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hyper::body::Body;
use tokio::time::{Instant, sleep_until};

use crate::fake_auth0::heads::Heads;

use super::content::hexadecimal;
use super::shared::Shared;

/// A request's body while it arrives. What was read is logged, also if it is dropped before its end.
pub(super) struct Received<B> {
    shared: Shared,
    number: u64,
    body: B,
    heads: Option<Heads>,
    digest: Context,
    bytes: u64,
    is_over: bool,
}

impl<B: Body<Data = Bytes> + Send + Unpin> Received<B> {
    pub fn new(shared: Shared, number: u64, body: B, heads: Option<Heads>) -> Self {
        Self { shared, number, body, heads, digest: Context::new(&SHA256), bytes: 0, is_over: false }
    }

    /// The number of the request in the log.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes have arrived, and their SHA-256.
    pub fn so_far(&self) -> (u64, String) {
        (self.bytes, hexadecimal(self.digest.clone().finish().as_ref()))
    }

    /// Reads to the end, or to the point at which the client breaks off; not faster than at `rate` bytes per second.
    pub async fn drain(&mut self, rate: Option<u64>) {
        self.read(u64::MAX, rate).await;
    }

    /// Reads until at least `most` bytes have arrived, or the body has ended.
    pub async fn read(&mut self, most: u64, rate: Option<u64>) {
        let begun = Instant::now();
        while self.bytes < most && self.next().await {
            if let Some(rate) = rate.filter(|&rate| rate > 0) {
                let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
                sleep_until(begun + due).await;
            }
        }
    }

    /// Takes the next frame; `false` at the end.
    async fn next(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let frame = match self.body.is_end_stream() {
            true => None,
            false => poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await,
        };
        let is_complete = frame.is_none();
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.digest.update(data);
                    self.bytes += data.len() as u64;
                    let bytes = self.bytes;
                    self.shared.note(self.number, |call| call.body_bytes = bytes);
                }
                return true;
            }
            None | Some(Err(_)) => self.is_over = true,
        }
        if is_complete {
            if let Some(heads) = &self.heads {
                heads.body_ended();
            }
            self.shared.note(self.number, |call| call.body_is_complete = true);
        }
        false
    }
}

impl<B> Drop for Received<B> {
    fn drop(&mut self) {
        let hash = hexadecimal(self.digest.clone().finish().as_ref());
        self.shared.note(self.number, |call| call.body_sha256 = Some(hash));
    }
}
