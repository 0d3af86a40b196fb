//! The memory of another process, as the kernel shows it to root.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use nix::unistd::Pid;

/// A text that is found again by any part of it that is longer than two of its links.
pub struct Canary {
    link: Vec<u8>,
    text: String,
}

impl Canary {
    /// `kind` tells it from others. The link is put together here, so that it stands nowhere else.
    pub fn new(kind: u8) -> Self {
        let link = [b"c4n4ry", &[kind][..], b"x"].concat();
        let links: Vec<String> =
            (0..24).map(|n| format!("{}{n:04}", String::from_utf8(link.clone()).unwrap())).collect();
        Self { link, text: links.concat() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Everything that the process can write to. Takes root with `CAP_SYS_PTRACE`, since the daemon lets nobody else.
pub struct Memory(Vec<(String, u64, Vec<u8>)>);

impl Memory {
    pub fn of(pid: Pid) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut parts = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let name = words.nth(3).unwrap_or("anonymous").to_owned();
            let (from, to) = range.split_once('-').unwrap();
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            memory.read_exact_at(&mut bytes, from).unwrap();
            parts.push((name, from, bytes));
        }
        assert!(parts.len() > 5, "{maps}");
        Self(parts)
    }

    /// How often `what` is there.
    pub fn count(&self, what: &[u8]) -> usize {
        self.0.iter().map(|(.., bytes)| find(bytes, what).len()).sum()
    }

    /// Where links of `canary` are, one place for each run of them, and how long the run is.
    pub fn places(&self, canary: &Canary) -> Vec<(String, u64, usize)> {
        let mut places: Vec<(String, u64, usize)> = Vec::new();
        let mut last = 0;
        for (name, from, bytes) in &self.0 {
            for at in find(bytes, &canary.link) {
                let at = from + at as u64;
                match places.last_mut() {
                    Some(place) if at == last + 12 => place.2 += 12,
                    _ => places.push((name.clone(), at, 12)),
                }
                last = at;
            }
        }
        places
    }
}

/// Where `what` stands in `bytes`.
fn find(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == what[0]) {
        if bytes[from + at..].starts_with(what) {
            found.push(from + at);
        }
        from += at + 1;
    }
    found
}
