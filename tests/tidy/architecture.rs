//! Holds the source to `docs/internals/architecture.md`: which module may use which, what is absent on purpose, and that
//! each file says what it is for.
//!
//! The source is read as text, comments left out. That is blunt, and enough: what it cannot see is rare, and what it
//! sees wrongly fails loudly.

mod imports;
mod tokens;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::repository::{files, read, root};

/// What each module may use. A module may use only those that stand above it here, so there can be no circle.
const ARROWS: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("task", &[]),
    ("process", &[]),
    ("domain", &["secret"]),
    ("signing", &["domain", "secret"]),
    ("json", &["domain"]),
    ("clock", &["domain"]),
    ("config", &["domain", "secret", "signing"]),
    ("flight", &["task"]),
    ("telemetry", &["config", "domain", "secret"]),
    ("transport", &["config", "domain", "secret", "signing"]),
    ("cache", &["clock", "config", "domain", "flight", "secret", "task", "telemetry"]),
    ("management", &["clock", "config", "domain", "secret", "task", "transport"]),
    ("user_token", &["clock", "domain", "flight", "json", "secret"]),
    (
        "upstream",
        &[
            "cache",
            "clock",
            "config",
            "domain",
            "json",
            "management",
            "secret",
            "signing",
            "telemetry",
            "transport",
            "user_token",
        ],
    ),
    ("state", &["clock", "config", "domain", "flight", "secret", "task", "telemetry"]),
    ("providers", &["clock", "config", "domain", "flight", "json", "secret", "telemetry", "transport"]),
    ("sources", &["cache", "clock", "config", "domain", "providers", "secret", "state", "upstream"]),
    (
        "api",
        &[
            "cache",
            "clock",
            "config",
            "domain",
            "json",
            "management",
            "secret",
            "telemetry",
            "transport",
            "user_token",
        ],
    ),
    ("listener", &["api", "config", "domain"]),
    ("admin", &["api", "listener"]),
    ("fake_auth0", &["clock", "domain", "secret", "task"]),
    (
        "app",
        &[
            "admin",
            "api",
            "cache",
            "clock",
            "config",
            "domain",
            "listener",
            "management",
            "process",
            "providers",
            "secret",
            "sources",
            "state",
            "telemetry",
            "transport",
            "upstream",
            "user_token",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "app",
            "clock",
            "config",
            "fake_auth0",
            "domain",
            "management",
            "process",
            "providers",
            "secret",
            "state",
            "task",
            "telemetry",
            "transport",
            "upstream",
        ],
    ),
    ("main", &["cli"]),
];

/// Arrows that only these files may draw: `cli` is wide, and most of its commands have to get by with a socket.
const NARROW: &[(&str, &str, &[&str])] = &[
    ("cli", "app", &["src/cli/check.rs", "src/cli/check/sources.rs", "src/cli/demo.rs", "src/cli/serve.rs"]),
    ("cli", "providers", &["src/cli/check/sources.rs"]),
    ("cli", "fake_auth0", &["src/cli/demo.rs"]),
    ("cli", "management", &["src/cli/check.rs", "src/cli/check/management_api.rs"]),
    ("cli", "secret", &["src/cli/check.rs", "src/cli/check/sources.rs", "src/cli/demo.rs"]),
    ("cli", "state", &["src/cli/check.rs"]),
    ("cli", "transport", &["src/cli/check/systemd_unit.rs"]),
    ("cli", "upstream", &["src/cli/check.rs", "src/cli/check/management_api.rs", "src/cli/check/vault.rs"]),
];

/// The files in which a secret leaves its type, and why each may.
const DOORS: &[(&str, &str)] = &[
    ("src/secret.rs", "defines it"),
    ("src/config/client_secret.rs", "looks for spaces around a secret that was read"),
    ("src/config/proxy.rs", "looks for a password in the proxy's address"),
    ("src/cli/demo.rs", "writes the simulated client's secret into the file that the daemon reads"),
    (
        "src/fake_auth0/application.rs",
        "the simulated tenant compares what it was sent with the client's secret",
    ),
    ("src/cache/issuer.rs", "a token that was issued, on its way into an identity's texts"),
    ("src/fake_auth0/client_certificates.rs", "the simulated tenant certifies an application's key"),
    ("src/domain/identity.rs", "puts an identity's texts, tokens among them, into one piece of memory"),
    ("src/api/token_json.rs", "the answer that callers ask for: an identity's token"),
    ("src/api/proxy/provider_call.rs", "a token, searched for in the answer's headers"),
    ("src/api/proxy/management_call.rs", "the Management token, searched for in the answer's headers"),
    ("src/api/handlers.rs", "the answer that callers ask for: the Management token"),
    ("src/upstream/credentials.rs", "the client's secret or assertion in a request to the token endpoint"),
    ("src/upstream/vault/request.rs", "the subject token in an exchange"),
    ("src/upstream/vault/answer/tests.rs", "tests compare what was read"),
    ("src/transport/bearer.rs", "a token on its way to Auth0 or to its provider, marked as sensitive"),
    ("src/transport/maybe_proxied.rs", "the proxy's password, on its way to the proxy"),
    ("src/app/secret_files.rs", "a hash of a secret on disk, to notice another"),
    ("src/providers/answer_body.rs", "a token that was issued, whose characters are looked at"),
    ("src/providers/wire.rs", "the connection's secret and a refresh token, on their way to the provider"),
    ("src/sources.rs", "the fingerprint and the claims of a token that was issued"),
    ("src/state/record.rs", "a refresh token in the text that is sealed"),
    ("src/state/sealing.rs", "the material from which the keys of the state are derived"),
    ("src/user_token.rs", "a user's own token, taken apart to be verified"),
    ("src/signing/tests.rs", "tests verify what was signed"),
    ("src/upstream/wire/tests.rs", "tests compare what was read"),
    ("src/domain/identity/tests.rs", "tests compare what was read"),
    ("src/domain/identity/renewal.rs", "tests compare what is kept"),
    ("src/domain/redemption/tests.rs", "tests compare what is redeemed"),
    ("src/domain/redemption/tests/model.rs", "the judge compares what was redeemed"),
    ("src/domain/redemption/tests/simulated_provider.rs", "the simulated provider looks up what it was sent"),
    ("src/fake_auth0/provider/tests.rs", "tests authenticate with the simulated client's secret"),
];

/// Texts that stand nowhere in a part of the source except in the files listed, and why.
struct Absent {
    text: &'static str,
    within: &'static str,
    except: &'static [&'static str],
    why: &'static str,
}

const ABSENT: &[Absent] = &[
    Absent {
        text: "http://",
        within: "src/",
        except: &[
            "src/api/proxy/links.rs",
            "src/api/proxy/links/tests.rs",
            "src/cli/demo.rs",
            "src/config/api_address.rs",
            "src/config/proxy.rs",
            "src/config/schema/providers.rs",
            "src/config/schema/tenant.rs",
            "src/config/tenant.rs",
            "src/upstream/discovery.rs",
            "src/config/token_endpoint.rs",
            "src/transport/https.rs",
            "src/fake_auth0/exchange.rs",
            "src/upstream/vault/answer/tests.rs",
            "src/upstream/vault/request.rs",
        ],
        why: "nothing is asked over plain text (proxies and a type of tokens are named so, texts forbid it, curl needs it for a \
              socket)",
    },
    Absent { text: "https_or_http", within: "src/", except: &[], why: "the connector speaks TLS or nothing" },
    Absent {
        text: "danger",
        within: "src/",
        except: &["src/transport/tls.rs"],
        why: "no certificate goes unverified (a verifier around rustls' own names which certificate has expired)",
    },
    Absent {
        text: "::assertion(",
        within: "src/",
        except: &[],
        why: "no verdict on a certificate or a signature is ours: each is handed on from rustls' own verifier",
    },
    Absent { text: "clock_gettime", within: "src/", except: &["src/clock.rs"], why: "one reader of time" },
    Absent { text: "SystemTime", within: "src/", except: &[], why: "one reader of time" },
    Absent { text: "std::time::Instant", within: "src/", except: &[], why: "one reader of time" },
    Absent { text: "Timestamp::now", within: "src/", except: &[], why: "one reader of time" },
    Absent {
        text: "std::env",
        within: "src/",
        except: &["src/main.rs", "src/cli/demo.rs"],
        why: "main hands the environment in (the demo asks for the program's own path)",
    },
    Absent { text: "async ", within: "src/domain", except: &[], why: "the core does not wait" },
    Absent { text: "tokio", within: "src/domain", except: &[], why: "the core does not wait" },
    Absent { text: "tracing", within: "src/domain", except: &[], why: "the core does not log" },
    Absent { text: "hyper", within: "src/domain", except: &[], why: "the core knows no HTTP" },
    Absent { text: "StatusCode", within: "src/domain", except: &[], why: "the core knows no HTTP" },
    Absent { text: "std::fs", within: "src/domain", except: &[], why: "the core does no I/O" },
    Absent { text: "std::net", within: "src/domain", except: &[], why: "the core does no I/O" },
    Absent {
        text: "StatusCode",
        within: "src/api",
        except: &["src/api/error/spec.rs", "src/api/error/table.rs", "src/api/response.rs"],
        why: "one table gives errors their status codes (spec.rs is its type; response.rs only carries what that one chose)",
    },
    Absent { text: "UnixStream", within: "src/upstream", except: &[], why: "upstream knows no socket" },
    Absent { text: "UnixStream", within: "src/transport", except: &[], why: "transport knows no socket" },
    Absent { text: "hyper", within: "src/cache", except: &[], why: "the cache knows no HTTP" },
    Absent { text: "StatusCode", within: "src/management", except: &[], why: "the keeper knows no HTTP" },
    Absent {
        text: "moka",
        within: "src/",
        except: &[
            "src/cache.rs",
            "src/cache/backoff.rs",
            "src/cache/renewal_landing.rs",
            "src/cache/slot.rs",
        ],
        why: "there is one cache of users, and one of those who fail",
    },
    Absent {
        text: "tokio::spawn",
        within: "src/",
        except: &["src/task.rs"],
        why: "tasks have names, and their panics are seen",
    },
    Absent {
        text: "umask(",
        within: "src/",
        except: &[],
        why: "it is the whole process's, and other threads make files meanwhile",
    },
    Absent { text: "process::exit", within: "src/", except: &[], why: "only main ends the process" },
    Absent { text: "println!", within: "src/", except: &[], why: "output goes through what main hands in" },
    Absent {
        text: "eprintln!",
        within: "src/",
        except: &[],
        why: "it panics where standard error is closed",
    },
];

const LONGEST_FILE: usize = 420;

#[test]
fn arrows_point_one_way() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    for (index, (from, to)) in ARROWS.iter().enumerate() {
        for to in *to {
            assert!(
                ARROWS[..index].iter().any(|(above, _)| above == to),
                "{from} may use {to}, which is below it"
            );
        }
    }

    let mut wrong = Vec::new();
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let from = source.module();
        if from == "lib" {
            continue;
        }
        for to in source.uses() {
            let narrow = NARROW.iter().find(|(of, at, _)| *of == from && *at == to);
            let is_open = narrow.is_none_or(|(.., files)| files.contains(&&*source.name));
            if to != from && (!is_open || !allowed.get(&*from).is_some_and(|to_any| to_any.contains(&*to))) {
                wrong.push(format!("{} uses crate::{to}", source.name));
            }
            drawn.entry(from.clone()).or_default().insert(to);
        }
    }
    assert_eq!(wrong, [""; 0], "arrows that ARROWS or NARROW does not allow");

    for (from, to) in allowed {
        let unused: Vec<_> =
            to.into_iter().filter(|to| !drawn.get(from).is_some_and(|d| d.contains(*to))).collect();
        assert_eq!(unused, [""; 0], "{from} does not use these any more: take them out of ARROWS");
    }
}

/// Every module of `lib.rs` has a place in the table, so that a new one cannot go unnoticed.
#[test]
fn every_module_has_its_place() {
    let text = read("src/lib.rs");
    let mut modules: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    modules.insert("main");
    let placed: BTreeSet<_> = ARROWS.iter().map(|(module, _)| *module).collect();
    assert_eq!(modules, placed);
}

/// Commands speak to a daemon through the bodies and the codes it sends, not through its insides.
#[test]
fn commands_know_the_interface_by_its_answers_alone() {
    for source in sources().iter().filter(|source| source.module() == "cli") {
        for (at, _) in source.code.match_indices("crate::api::") {
            let rest = &source.code[at..];
            let is_answer =
                ["types", "error::Code"].iter().any(|part| rest["crate::api::".len()..].starts_with(part));
            assert!(is_answer, "{}: {}", source.name, line_of(rest));
        }
    }
}

#[test]
fn what_is_absent_stays_absent() {
    let sources = sources();
    for Absent { text, within, except, why } in ABSENT {
        let holders: BTreeSet<_> = sources
            .iter()
            .filter(|source| source.name.starts_with(within) && source.code.contains(text))
            .map(|source| source.name.as_str())
            .collect();
        let except: BTreeSet<_> = except.iter().copied().collect();
        let beyond: Vec<_> = holders.difference(&except).collect();
        assert!(beyond.is_empty(), "{text:?} stands in {beyond:?}, but {why}");
        let past: Vec<_> = except.difference(&holders).collect();
        assert!(past.is_empty(), "{text:?} is excused in {past:?}, where it does not stand any more");
    }
}

#[test]
fn only_listed_files_expose_secrets() {
    let holders: BTreeSet<_> = sources()
        .into_iter()
        .filter(|source| {
            ["expose()", "::expose", "expose_secret()"].iter().any(|door| source.code.contains(door))
        })
        .map(|source| source.name)
        .collect();
    let listed: BTreeSet<_> = DOORS.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(holders, listed, "each file that exposes a secret is listed in DOORS with its reason");
    let unexplained: Vec<_> = DOORS.iter().filter(|(_, why)| why.is_empty()).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// `#[cfg(test)] mod tests` and lints are all that may depend on it.
#[test]
fn nothing_but_test_modules_depends_on_being_tested() {
    for source in sources() {
        let mut rest = source.code.as_str();
        while let Some(at) = rest.find("cfg(test)") {
            let after = rest[at + "cfg(test)".len()..].trim_start_matches([')', ']']).trim_start();
            assert!(after.starts_with("mod tests"), "{}: {}", source.name, line_of(after));
            rest = &rest[at + 1..];
        }
        assert!(!source.code.contains("cfg!(test)"), "{}", source.name);
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for path in files("src") {
        let lines = fs::read_to_string(root().join(&path)).unwrap().lines().count();
        let is_code = path.ends_with(".rs");
        assert!(!is_code || lines <= LONGEST_FILE, "{path} has {lines} lines; {LONGEST_FILE} is the most");
    }
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest = read("Cargo.toml");
    let lints = section(&manifest, "lints.rust");
    assert!(lints.contains(&"unsafe_code = \"forbid\"".to_owned()), "{lints:?}");
    assert!(section(&manifest, "lints.clippy").iter().any(|lint| lint.starts_with("unwrap_used")));
    // Said in the manifest, which covers the binary and the tests as well.
    assert!(sources().iter().all(|source| !source.code.contains("allow(unsafe_code")));
}

/// A reader who opens a directory finds what each file is for on the file's first line.
#[test]
fn every_file_says_what_it_is() {
    let mut wrong = Vec::new();
    for name in files("src").into_iter().filter(|name| name.ends_with(".rs")) {
        let text = read(&name);
        let first: Vec<_> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let sentence = first.join(" ");
        if sentence.split(' ').count() < 3 || !sentence.ends_with('.') {
            wrong.push(format!("{name}: {}", line_of(&text)));
        }
    }
    assert!(wrong.is_empty(), "a file begins with a sentence in `//!`:\n{}", wrong.join("\n"));
}

/// A file of `src`.
struct Source {
    name: String,
    /// Its text without whole-line comments.
    code: String,
}

impl Source {
    /// `cache` for `src/cache.rs` and for `src/cache/entry.rs`.
    fn module(&self) -> String {
        let path = self.name.strip_prefix("src/").unwrap();
        path.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// The modules that it names by a path from the crate's root.
    fn uses(&self) -> BTreeSet<String> {
        let prefix = if self.module() == "main" { "cloakroom::" } else { "crate::" };
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices(prefix) {
            let rest = &self.code[at + prefix.len()..];
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(!name.is_empty(), "{}: write one `use` for each module: {}", self.name, line_of(rest));
            found.insert(name);
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let names = files("src").into_iter().filter(|name| name.ends_with(".rs"));
    let sources: Vec<_> = names.map(|name| Source { code: without_comments(&read(&name)), name }).collect();
    assert!(sources.len() > 50, "the sources are not found as they should be");
    sources
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect()
}

/// The lines of one table of the manifest.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let head = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

fn line_of(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
