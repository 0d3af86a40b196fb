//! Instructions per request, counted by callgrind. Unlike time they are nearly the same wherever and whenever they are
//! counted; what they leave out is the kernel's share, and what a processor makes of them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::load;
use crate::subject::Subject;
use crate::subjects::Ground;

/// Before counting: buffers have grown by then, and whoever asks is a hit.
const WARM: usize = 500;
const COUNTED: usize = 5_000;

/// Bare hyper, then each of `binaries`, by name.
pub fn measure(binaries: &[&str]) -> Vec<(String, f64)> {
    let grounds: Vec<_> = binaries.iter().map(|binary| Ground::counting(Path::new(binary))).collect();
    let mut counts = vec![("bare hyper".to_owned(), count(&grounds[0].bare_hyper()))];
    for (binary, ground) in binaries.iter().zip(&grounds) {
        counts.push(((*binary).to_owned(), count(&ground.cloakroom("cloakroom", "events = \"notable\""))));
    }
    counts
}

fn count(subject: &Subject) -> f64 {
    load::run_times(&subject.socket, &subject.protocol, WARM);
    control(subject, "--zero");
    load::run_times(&subject.socket, &subject.protocol, COUNTED);
    let counts = dump(subject, 1);
    let total =
        counts.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    total.unwrap().trim().parse::<f64>().unwrap() / COUNTED as f64
}

/// The functions of `binary`, which must not have been stripped of their names, that are called from its start to a hit:
/// first those of a hit, the costliest at the top.
pub fn order(binary: &str) -> Vec<String> {
    let ground = Ground::counting(Path::new(binary));
    let subject = ground.cloakroom("cloakroom", "events = \"notable\"");
    load::run_times(&subject.socket, &subject.protocol, WARM);
    let start = dump(&subject, 1);
    load::run_times(&subject.socket, &subject.protocol, COUNTED);
    let mut names = HashMap::new();
    let (start, mut hit) = (functions(&start, &mut names), functions(&dump(&subject, 2), &mut names));
    hit.sort_by_key(|(_, cost)| Reverse(*cost));
    let all = hit.into_iter().chain(start).filter_map(|(id, _)| names.get(&id).cloned());
    let mut seen = HashSet::new();
    // Names are the linker's own; what callgrind appends to those of functions that call themselves is not.
    let all = all.map(|name| name.split('\'').next().unwrap().to_owned());
    // Of the C library, and of what has none.
    let all = all.filter(|name| !name.contains(['@', '(']) && !name.starts_with("0x"));
    all.filter(|name| seen.insert(name.clone())).collect()
}

/// Each function that `counts` has instructions of, in their order, by number; `names` learns what numbers stand for,
/// since callgrind writes a name once.
fn functions(counts: &str, names: &mut HashMap<String, String>) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = Vec::new();
    let mut places = HashMap::new();
    let mut at = None;
    for line in counts.lines() {
        if let Some((kind, rest)) = line.split_once("fn=(") {
            let (id, name) = rest.split_once(')').unwrap();
            if !name.is_empty() {
                names.insert(id.to_owned(), name.trim().to_owned());
            }
            if kind.is_empty() {
                at = Some(*places.entry(id.to_owned()).or_insert_with(|| {
                    found.push((id.to_owned(), 0));
                    found.len() - 1
                }));
            }
        } else if let (Some(at), Some((_, cost))) = (at, line.split_once(' ')) {
            found[at].1 += cost.parse::<u64>().unwrap_or(0);
        }
    }
    found
}

/// Writes down what was counted; this is the `part`th time.
fn dump(subject: &Subject, part: usize) -> String {
    control(subject, "--dump");
    fs::read_to_string(subject.counts.with_extension(format!("counts.{part}"))).unwrap()
}

fn control(subject: &Subject, what: &str) {
    let mut command = Command::new("callgrind_control");
    command.arg(what).arg(subject.id().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}
