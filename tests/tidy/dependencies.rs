//! Every dependency has its reason in the manifest, and the fuzz targets are built from the versions that are shipped.

use std::collections::BTreeSet;

use crate::repository::{files, read};

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let mut seen = 0;
    for table in ["dependencies", "dev-dependencies"] {
        let mut comment = false;
        for line in section(&manifest, table) {
            if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                assert!(comment, "Cargo.toml: the line above {name} says what it is for");
                seen += 1;
            }
            comment = line.strip_prefix("# ").is_some_and(|reason| reason.contains(' '));
        }
    }
    assert!(seen > 20, "the manifest is not read as it should be: {seen}");
}

/// What is fuzzed is what is shipped.
#[test]
fn the_fuzz_targets_are_built_from_the_same_versions() {
    let ours = locked("Cargo.lock");
    let theirs = locked("fuzz/Cargo.lock");
    let own = ["cloakroom-fuzz", "libfuzzer-sys", "arbitrary"];
    let differing: Vec<_> =
        theirs.difference(&ours).filter(|(name, _)| !own.contains(&name.as_str())).collect();
    assert!(differing.is_empty(), "fuzz/README.md says how to fix fuzz/Cargo.lock: {differing:?}");
}

/// Names and versions of what a lock file locks.
fn locked(name: &str) -> BTreeSet<(String, String)> {
    let text = read(name);
    let field = |package: &str, name: &str| {
        let rest = package.split(&format!("\n{name} = \"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let packages = text.split("\n[[package]]").skip(1);
    packages.map(|package| (field(package, "name"), field(package, "version"))).collect()
}

#[test]
fn every_fuzz_target_has_seeds_a_share_of_the_time_and_its_section() {
    let manifest = read("fuzz/Cargo.toml");
    let named = manifest.split("[[bin]]").skip(1);
    let targets: BTreeSet<_> = named.map(|rest| rest.split('"').nth(1).unwrap().to_owned()).collect();
    assert!(targets.len() > 5, "the manifest is not read as it should be: {targets:?}");
    let seeded: BTreeSet<_> =
        files("fuzz/seeds").iter().map(|seed| seed.split('/').nth(2).unwrap().to_owned()).collect();
    assert_eq!(seeded, targets, "seeds");
    let script = read("fuzz/run.sh");
    let shares = script.lines().find_map(|line| line.strip_prefix("targets=(")?.strip_suffix(')')).unwrap();
    let shares: BTreeSet<_> =
        shares.split(' ').map(|share| share.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(shares, targets, "fuzz/run.sh");
    let page = read("fuzz/README.md");
    let sections =
        page.lines().filter_map(|line| Some(line.strip_prefix("### `")?.strip_suffix('`')?.to_owned()));
    assert_eq!(sections.collect::<BTreeSet<_>>(), targets, "fuzz/README.md");
}

/// The lines of one table of the manifest.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let head = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}
