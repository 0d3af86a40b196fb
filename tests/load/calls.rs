//! The memory that calls of a provider's API take, however much goes through.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::alone;
use crate::memory::memory;
use crate::support::api_calls::{ALL, Api, Call};
use crate::support::deployment::Deployment;
use crate::support::process::Daemon;

const MIB: u64 = 1024 * 1024;

/// The most memory that the daemon takes while `bytes` go to a client that pauses.
fn download(daemon: &Daemon, deployment: &Deployment, bytes: u64) -> u64 {
    let mut call = Call::get(&deployment.socket(), &format!("/download?bytes={bytes}"));
    assert_eq!(call.status(), 200);
    let (mut buffer, mut left, mut most) = (vec![0; 256 * 1024], bytes, 0);
    while left > 0 {
        let read = call.0.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{left} bytes are missing");
        left -= read as u64;
        if (left / MIB).is_multiple_of(16) {
            std::thread::sleep(Duration::from_millis(1));
            most = most.max(memory(daemon.pid(), "VmRSS"));
        }
    }
    most
}

/// The most memory that the daemon takes while `bytes` go to an API that reads 64 MiB a second.
fn upload(api: &Api, daemon: &Daemon, deployment: &Deployment, bytes: u64) -> io::Result<u64> {
    let fields = format!("content-length: {bytes}\r\n");
    let mut call = Call::begin(&deployment.socket(), "PUT", "/upload?rate=67108864", &fields);
    let (part, mut left, mut most) = (vec![7; 256 * 1024], bytes, 0);
    while left > 0 {
        let size = left.min(part.len() as u64);
        call.0.get_mut().write_all(&part[..size as usize])?;
        left -= size;
        if (left / MIB).is_multiple_of(16) {
            most = most.max(memory(daemon.pid(), "VmRSS"));
        }
    }
    assert_eq!(call.status(), 200);
    assert_eq!(api.api.calls().last().unwrap().body_bytes, bytes);
    Ok(most)
}

/// Memory does not grow with what goes through, in either direction. It is compared with that of one MiB.
fn memory_stays_bounded(bytes: u64) {
    let _alone = alone();
    let api = Api::listen();
    let deployment = api.deployment("", ALL);
    let daemon = deployment.start();
    let calm = download(&daemon, &deployment, MIB).max(upload(&api, &daemon, &deployment, MIB).unwrap());
    let down = download(&daemon, &deployment, bytes);
    let up = upload(&api, &daemon, &deployment, bytes).unwrap();
    let grown = |most: u64| most.saturating_sub(calm) / 1024;
    println!("{} MiB: {} KiB more down, {} KiB more up", bytes / MIB, grown(down), grown(up));
    assert!(grown(down) <= 4096 && grown(up) <= 4096, "{} KiB, {} KiB", grown(down), grown(up));
}

#[test]
fn memory_does_not_grow_with_what_goes_through() {
    memory_stays_bounded(128 * MIB);
}

#[test]
#[ignore = "takes a minute; make soak runs it"]
fn memory_does_not_grow_with_a_gibibyte() {
    memory_stays_bounded(1024 * MIB);
}
