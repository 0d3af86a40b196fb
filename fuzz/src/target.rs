//! Targets of proxied calls and patterns of calls, against a reader that decodes by hand.

use cloakroom::domain::policy::call::{Call, CallPattern};
use cloakroom::domain::target::Target;

/// The first line is a pattern of a call, the rest a target.
pub fn judge(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (pattern, raw) = input.split_once('\n').unwrap_or(("", input));
    let Ok(target) = Target::judge(raw) else { return };
    assert_eq!(target.as_str(), raw);
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    assert_eq!(format!("{}{query}", target.path()), raw);
    assert!(raw.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'#'), "{raw:?}");
    assert!(!target.path().contains("//"), "{raw:?}");
    let mut path = target.path().as_bytes().to_vec();
    for _ in 0..3 {
        assert!(!leads_elsewhere(&path), "{raw:?}");
        path = decoded(&path);
    }
    if let Ok(pattern) = CallPattern::parse(pattern) {
        let call = Call { method: pattern.method(), name: pattern.name(), target: &target };
        assert_eq!(pattern.matches(&call), by_definition(pattern.path(), target.path()), "{pattern} {raw:?}");
    }
}

/// Whether a reader of the path could find in it a segment of dots or a control character.
fn leads_elsewhere(path: &[u8]) -> bool {
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap();
        [&b"."[..], b".."].contains(&name)
    };
    path.iter().any(u8::is_ascii_control) || path.split(|byte| [b'/', b'\\'].contains(byte)).any(is_dots)
}

/// Each escape decoded once; what is none stays.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Whether the path of a pattern matches `path`: segment by segment, each decoded unless that changes what is reserved.
fn by_definition(pattern: &str, path: &str) -> bool {
    let segments = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (pattern, path) = (segments(pattern), segments(path));
    let is_open = pattern.last().is_some_and(|last| last == "**");
    let wanted = if is_open { &pattern[..pattern.len() - 1] } else { &pattern[..] };
    if path.len() < wanted.len() || (!is_open && path.len() > wanted.len()) {
        return false;
    }
    wanted.iter().zip(&path).all(|(wanted, given)| match wanted.as_str() {
        "*" => !given.is_empty(),
        literal => parts(literal) == parts(given),
    })
}

/// The characters of a segment, each with whether it is a reserved one that is encoded.
fn parts(segment: &str) -> Vec<(bool, u8)> {
    let bytes = segment.as_bytes();
    let (mut parts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let byte = decoded(&bytes[at..at + 3])[0];
            let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            parts.push((!is_unreserved, byte));
            at += 3;
        } else {
            parts.push((false, bytes[at]));
            at += 1;
        }
    }
    parts
}
