//! Finds the references in a `Link` value (RFC 8288 §3).
//!
//! A value has several links, and a comma, `<` and `>` may stand in quoted parameters as well.

use std::ops::Range;

/// Where a link is in a value.
#[derive(Debug)]
pub(super) struct Link {
    /// Its reference, without `<` and `>`.
    pub reference: Range<usize>,
    /// The end of its parameters.
    pub end: usize,
}

/// The links of a value; `None` if the value is no list of links.
///
/// Names of parameters and unquoted values are read as RFC 8288 Appendix B.3 reads them: to the next separator.
pub(super) fn links(value: &[u8]) -> Option<Vec<Link>> {
    let mut reader = Reader { value, at: 0 };
    let mut found = Vec::new();
    loop {
        // Empty elements of a list are ignored (RFC 9110 §5.6.1).
        reader.skip(|byte| is_space(byte) || byte == b',');
        if reader.peek().is_none() {
            return Some(found);
        }
        reader.take(b'<')?;
        let start = reader.at;
        // A reference has no `<` (RFC 3986 §2): some clients would take what follows one for another link.
        reader.skip(|byte| !b"<>".contains(&byte));
        let reference = start..reader.at;
        reader.take(b'>')?;
        reader.skip_parameters()?;
        found.push(Link { reference, end: reader.at });
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

struct Reader<'a> {
    value: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        let rest = self.value.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !is_skipped(*byte)).unwrap_or(rest.len());
    }

    /// Reads to the comma after this link's parameters, or to the end.
    fn skip_parameters(&mut self) -> Option<()> {
        loop {
            self.skip(is_space);
            if matches!(self.peek(), None | Some(b',')) {
                return Some(());
            }
            self.take(b';')?;
            self.skip(is_space);
            self.skip(|byte| !b"=;,\"<> \t".contains(&byte));
            self.skip(is_space);
            if self.take(b'=').is_some() {
                self.skip(is_space);
                self.skip_value()?;
            }
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        if self.take(b'"').is_none() {
            self.skip(|byte| !b";,\"<> \t".contains(&byte));
            return Some(());
        }
        loop {
            self.skip(|byte| byte != b'"' && byte != b'\\');
            if self.take(b'"').is_some() {
                return Some(());
            }
            // A backslash, and the character that it escapes.
            self.take(b'\\')?;
            self.peek()?;
            self.at += 1;
        }
    }
}
