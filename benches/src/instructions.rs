//! Instructions per request, counted by callgrind. Unlike time they are nearly the same wherever and whenever they are
//! counted; what they leave out is the kernel's share, and what a processor makes of them.

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
    control(subject, "--dump");
    // What is counted until it is told to stop is the first part.
    let counts = fs::read_to_string(subject.counts.with_extension("counts.1")).unwrap();
    let total =
        counts.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")));
    total.unwrap().trim().parse::<f64>().unwrap() / COUNTED as f64
}

fn control(subject: &Subject, what: &str) {
    let mut command = Command::new("callgrind_control");
    command.arg(what).arg(subject.id().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
}
