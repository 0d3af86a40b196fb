//! Calls of a provider's API with the real binary: streams across a reload and a shutdown.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::api_calls::{ALL, Api, Call};
use crate::support::deployment::Deployment;

/// The status of a call that is over at once.
fn status(deployment: &Deployment, tail: &str) -> u16 {
    Call::get(&deployment.socket(), tail).status()
}

#[test]
fn a_stream_outlives_a_reload_and_new_calls_follow_the_new_rules() {
    let api = Api::listen();
    let deployment = api.deployment("", ALL);
    let mut daemon = deployment.start();
    let mut stream = Call::get(&deployment.socket(), "/events");
    assert_eq!(stream.status(), 200);
    daemon.until("the stream is open", |_| api.api.emit("before") == 1);
    stream.until("before");

    let text = fs::read_to_string(deployment.config()).unwrap();
    fs::write(deployment.config(), text.replace(ALL, "[\"GET api/me\"]")).unwrap();
    assert_eq!(daemon.run(&["reload"]).0, 0);
    assert_eq!((status(&deployment, "/items"), status(&deployment, "/me")), (403, 200));
    assert_eq!(api.api.emit("after"), 1);
    stream.until("after");
}

#[test]
fn a_shutdown_lets_a_stream_go_on_until_the_deadline_and_then_breaks_it_off() {
    let api = Api::listen();
    let deployment = api.deployment("[shutdown]\ndeadline = \"3s\"\n", ALL);
    let mut daemon = deployment.start();
    let mut stream = Call::get(&deployment.socket(), "/events");
    assert_eq!(stream.status(), 200);
    daemon.until("the stream is open", |_| api.api.emit("before") == 1);
    stream.until("before");

    daemon.signal(Signal::SIGTERM);
    daemon.until("the socket is gone", |_| !deployment.socket().exists());
    assert_eq!(api.api.emit("during"), 1);
    stream.until("during");
    assert!(!stream.ends_well(), "what was cut off does not look complete");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
}

#[test]
fn a_stream_that_ends_during_a_shutdown_ends_the_daemon() {
    let api = Api::listen();
    let deployment = api.deployment("[shutdown]\ndeadline = \"60s\"\n", ALL);
    let mut daemon = deployment.start();
    let mut stream = Call::get(&deployment.socket(), "/events");
    assert_eq!(stream.status(), 200);
    daemon.until("the stream is open", |_| api.api.event_streams() == 1);
    daemon.signal(Signal::SIGTERM);
    daemon.until("the socket is gone", |_| !deployment.socket().exists());
    api.api.end_events();
    assert!(stream.ends_well());
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
}
