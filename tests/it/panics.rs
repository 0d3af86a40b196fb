//! The text of a panic says where it was, and nothing of its message.

use std::sync::mpsc;

use cloakroom::process::panics;

const WORKER: &str = "a thread that panics";

#[test]
fn a_panic_says_where_and_never_what() {
    let (say, said) = mpsc::channel();
    let before = std::panic::take_hook();
    // The hook is the process's, and other tests run beside this one.
    std::panic::set_hook(Box::new(move |info| match std::thread::current().name() {
        Some(WORKER) => say.send(panics::text(info)).unwrap(),
        _ => before(info),
    }));
    let thread = std::thread::Builder::new().name(WORKER.into());
    let panicked = thread.spawn(|| panic!("canary {}", "canary")).unwrap().join();
    assert!(panicked.is_err());
    let text = said.recv().unwrap();
    assert!(text.contains(WORKER) && text.contains("tests/it/panics.rs:"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}
