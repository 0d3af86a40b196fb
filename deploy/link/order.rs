//! Passes `order.txt` to the linker of release builds, if that linker can order functions. README.md states the reason.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a build stops at the first surprise")]

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

/// Prints instructions for cargo. An `order.txt` that is out of date costs memory, and never fails the build.
pub fn instruct_linker() {
    let order = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("deploy/link/order.txt");
    println!("cargo:rerun-if-changed={}", order.display());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=deploy/link/order.rs");
    // Without this, the linker warns of each name that the program lacks, as after a change of dependencies.
    let arguments = [
        format!("-Wl,--symbol-ordering-file={}", order.display()),
        "-Wl,--no-warn-symbol-ordering".to_owned(),
    ];
    if env::var("PROFILE").unwrap() == "release" && can_link(&arguments) {
        arguments.iter().for_each(|argument| println!("cargo:rustc-link-arg-bin=cloakroom={argument}"));
    }
}

/// Whether the linker of this build accepts the arguments, tried with an empty program. LLVM's linker, which is Rust's
/// own on x86-64, accepts them; GNU's does not.
fn can_link(arguments: &[String]) -> bool {
    let out = env::var("OUT_DIR").unwrap();
    let source = Path::new(&out).join("probe.rs");
    std::fs::write(&source, "fn main() {}").unwrap();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut command = Command::new(env::var("RUSTC").unwrap());
    command.args(["--target", &env::var("TARGET").unwrap(), "--out-dir", &out]).arg(source);
    command.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    command.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
