//! Scans the bytes of a header section for two framings, of which hyper shows one.
//!
//! hyper removes `Content-Length` from a request that has `Transfer-Encoding` as well, so that no service can refuse
//! it. The listener's stream feeds the bytes that arrive while a client sends a header section to a [`HeadScan`], and
//! marks the request with [`TwoFramings`]. A request that arrives together with the one before it (pipelining) is not
//! scanned; hyper then reads it as chunked, and closes the connection after the answer.

/// Marks a request, in its extensions, whose head has both `Transfer-Encoding` and `Content-Length`.
#[derive(Clone, Copy, Debug)]
pub struct TwoFramings;

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";

/// A scan of one header section, which may arrive in pieces. Allocates nothing.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// The beginning of the current line, in lower case.
    name: [u8; TRANSFER_ENCODING.len()],
    /// How many bytes of the current line have come, up to its colon.
    length: usize,
    /// What comes is after the colon of a line.
    is_in_value: bool,
    /// A line that is not empty has come: empty ones before a request are ignored (RFC 9112 §2.2).
    has_begun: bool,
    /// The empty line that ends the section has come.
    is_over: bool,
    has_transfer_encoding: bool,
    has_content_length: bool,
}

impl HeadScan {
    /// Scans the next bytes of the connection. Those after the header section are ignored.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_over {
                return;
            }
            match byte {
                b'\n' => self.end_line(),
                _ if self.is_in_value => {}
                b':' => self.end_name(),
                _ => {
                    if let Some(place) = self.name.get_mut(self.length) {
                        *place = byte.to_ascii_lowercase();
                    }
                    self.length = self.length.saturating_add(1);
                }
            }
        }
    }

    /// Whether the header section, as far as it has come, has both headers.
    pub fn has_two_framings(&self) -> bool {
        self.has_transfer_encoding && self.has_content_length
    }

    fn end_name(&mut self) {
        let name = self.name.get(..self.length).unwrap_or_default();
        self.has_transfer_encoding |= name == TRANSFER_ENCODING;
        self.has_content_length |= name == CONTENT_LENGTH;
        self.is_in_value = true;
    }

    fn end_line(&mut self) {
        let line = self.name.get(..self.length).unwrap_or_default();
        let is_empty = !self.is_in_value && (self.length == 0 || line == b"\r");
        self.is_over = is_empty && self.has_begun;
        self.has_begun |= !is_empty;
        (self.length, self.is_in_value) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str =
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n";

    fn has_two_framings(bytes: &str) -> bool {
        let mut scan = HeadScan::default();
        scan.feed(bytes.as_bytes());
        let mut in_pieces = HeadScan::default();
        bytes.as_bytes().chunks(1).for_each(|piece| in_pieces.feed(piece));
        assert_eq!(in_pieces.has_two_framings(), scan.has_two_framings());
        scan.has_two_framings()
    }

    #[test]
    fn both_headers_are_found_in_either_order() {
        assert!(has_two_framings(BOTH));
        assert!(has_two_framings(&format!("\r\n\n{BOTH}")));
        assert!(has_two_framings(&BOTH.replace('\r', "")));
        let reversed = "POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\ncontent-length:5\r\n\r\n";
        assert!(has_two_framings(reversed));
    }

    #[test]
    fn what_is_not_in_the_names_of_one_header_section_is_not_found() {
        for lines in [
            "POST / HTTP/1.1\nContent-Length: 5",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nX-Content-Length: 5",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length-X: 5",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nX: Content-Length: 5",
            "POST /content-length:5 HTTP/1.1\nTransfer-Encoding: chunked",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-\rLength: 5",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nContent-Length: 5",
        ] {
            assert!(!has_two_framings(&lines.replace('\n', "\r\n")), "{lines}");
        }
    }
}
