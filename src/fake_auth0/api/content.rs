//! The content of downloads: any number of bytes, the same each time, made as they are needed.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{BufMut, Bytes, BytesMut};

/// The content consists of blocks of this size, in bytes.
const BLOCK: u64 = 4096;

/// How many bytes of content are made at a time at most.
pub(super) const FRAME: u64 = 64 * 1024;

/// Returns `length` bytes of the content from `offset` on.
///
/// Each block of 4096 bytes begins with its number, so that no two are alike.
pub fn content(offset: u64, length: u64) -> Bytes {
    let end = offset.saturating_add(length);
    let (first, last) = (offset / BLOCK, end.div_ceil(BLOCK));
    let mut bytes = BytesMut::new();
    for number in first..last {
        bytes.put_u64(number);
        bytes.put_slice(filler());
    }
    let skipped = usize::try_from(offset % BLOCK).unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = bytes.freeze();
    bytes = bytes.slice(skipped.min(bytes.len())..);
    bytes.truncate(length);
    bytes
}

/// What is in each block behind its number.
fn filler() -> &'static [u8] {
    const FILLER: [u8; 4088] = {
        let mut filler = [0; 4088];
        let mut at = 0;
        while at < filler.len() {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would refuse it")]
            #[expect(clippy::cast_possible_truncation, reason = "the remainder is less than 251")]
            {
                filler[at] = (at % 251) as u8;
            }
            at += 1;
        }
        filler
    };
    &FILLER
}

/// Returns the SHA-256 of the content's first `length` bytes, in hexadecimal.
pub fn content_sha256(length: u64) -> String {
    let mut digest = Context::new(&SHA256);
    let mut offset = 0;
    while offset < length {
        let frame = content(offset, FRAME.min(length - offset));
        offset += frame.len() as u64;
        digest.update(&frame);
    }
    hexadecimal(digest.finish().as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
