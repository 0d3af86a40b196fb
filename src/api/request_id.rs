//! The id of a request, which its answer, the log and the audit log contain. Formatted by hand, because `format!` takes
//! 890 instructions of a hit's 17,000.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderValue;

/// The ids of one run of the daemon.
#[derive(Debug)]
pub struct RequestIds {
    run: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that contain `run`, so that they differ from those of other runs.
    pub fn new(run: u32) -> Self {
        Self { run, next: AtomicU64::new(1) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        RequestId::new(self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// `8c1f03aa-1f`: the run, and the request's number within it, in hexadecimal digits.
#[derive(Clone, Copy)]
pub struct RequestId {
    text: [u8; LONGEST],
    begins: usize,
}

const RUN: usize = 8;
const LONGEST: usize = RUN + 1 + 16;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl RequestId {
    /// The id of the `number`th request of this `run`. The text is written from its end, so that the number of digits
    /// need not be known.
    fn new(run: u32, number: u64) -> Self {
        let mut text = [b'0'; LONGEST];
        let mut begins = LONGEST;
        let mut put = |byte: u8| {
            begins = begins.saturating_sub(1);
            if let Some(place) = text.get_mut(begins) {
                *place = byte;
            }
        };
        let mut rest = number;
        loop {
            put(digit(rest));
            rest >>= 4;
            if rest == 0 {
                break;
            }
        }
        put(b'-');
        for at in 0..RUN {
            put(digit(u64::from(run >> (4 * at))));
        }
        Self { text, begins }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Made of digits.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text as the value of a header.
    pub fn header(&self) -> HeaderValue {
        // Digits are what a header may hold.
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.get(self.begins..).unwrap_or_default()
    }
}

fn digit(number: u64) -> u8 {
    DIGITS.get((number & 0xf) as usize).copied().unwrap_or(b'0')
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_format_would() {
        for (run, number) in [(0, 0), (7, 1), (0x8c1f_03aa, 0x1f), (u32::MAX, u64::MAX), (1 << 31, 1 << 60)] {
            let id = RequestId::new(run, number);
            assert_eq!(id.as_str(), format!("{run:08x}-{number:x}"));
            assert_eq!(id.header(), id.as_str());
        }
    }
}
