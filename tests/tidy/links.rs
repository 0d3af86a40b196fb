//! Holds the documentation to itself and to the repository: links and anchors, files, tests and texts that it names, and
//! its bounds.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::repository::root;

/// Texts in the troubleshooting guide that another program prints.
const FOREIGN_TEXTS: [&str; 2] = ["243/CREDENTIALS", "<jemalloc>: Unsupported system page size"];

// Links.

#[test]
fn links_and_their_anchors_lead_somewhere() {
    let problems: Vec<_> = pages(root()).iter().flat_map(|page| broken_links(root(), page)).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Runbook annotations, units, comments and messages name pages by their path in the repository.
#[test]
fn pages_that_other_files_name_exist_with_their_anchors() {
    let mut problems = Vec::new();
    let mut seen = 0;
    for file in files(root(), &|name| !name.ends_with("links.rs")) {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (page, anchor) in named_pages(&text) {
            seen += 1;
            if let Some(problem) = broken(root(), Path::new(page), anchor) {
                problems.push(format!("{} names {page}: {problem}", file.display()));
            }
        }
    }
    assert!(seen > 40, "{seen}: there are twenty alerts, each with a runbook, and a case for each");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn wrong_links_and_wrong_anchors_are_found() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "docs/a.md",
        "# A page\n\n## What's `in` it?\n\n## Twice\n\n## Twice\n\n```sh\n# no heading\n```\n",
    );
    let problems = |text: &str| {
        write("docs/b.md", text);
        broken_links(place.path(), Path::new("docs/b.md"))
    };
    for right in [
        "# Here\n\n[in](#here), [by](a.md), [at](../docs/a.md#whats-in-it), [second](a.md#twice-1)\n",
        "[elsewhere](https://example.com/#anything)\n\n`[code](nowhere.md)`\n\n```\n[code](nowhere.md)\n```\n",
        "[by name][page]\n\n[page]: a.md#twice\n",
        "![picture](a.md \"with a title\")\n",
    ] {
        assert_eq!(problems(right), Vec::<String>::new());
    }
    for wrong in [
        "[page](c.md)",
        "[page](/docs/a.md)",
        "[anchor](a.md#nowhere)",
        "[case](a.md#Twice)",
        "[third](a.md#twice-2)",
        "[comment](a.md#no-heading)",
        "[own](#nowhere)",
        "[by name][page]\n\n[page]: a.md#nowhere",
        "![picture](none.svg)",
    ] {
        assert_eq!(problems(wrong).len(), 1, "{wrong}");
    }
    write("rules.yml", "runbook: docs/a.md#twice, docs/a.md#nowhere; https://example.com/docs/v2\n");
    let text = fs::read_to_string(place.path().join("rules.yml")).unwrap();
    let named = named_pages(&text);
    assert_eq!(named, [("docs/a.md", "twice"), ("docs/a.md", "nowhere")]);
    let verdicts: Vec<_> =
        named.iter().map(|(page, anchor)| broken(place.path(), Path::new(page), anchor).is_some()).collect();
    assert_eq!(verdicts, [false, true]);
}

/// What is wrong with the links of a page.
fn broken_links(root: &Path, page: &Path) -> Vec<String> {
    let text = prose(&fs::read_to_string(root.join(page)).unwrap());
    let inline = text.split("](").skip(1).map(|rest| rest.split([')', ' ', '\n']).next().unwrap());
    let defined = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let targets = inline.chain(defined.map(|(_, target)| target.trim()));
    let problem = |target: &str| {
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { page.to_owned() } else { beside(page, path) };
        broken(root, &path, anchor).map(|problem| format!("{} links to {target}: {problem}", page.display()))
    };
    targets.filter_map(problem).collect()
}

/// What is wrong with a reference to a file and, unless it is empty, to an anchor in it.
fn broken(root: &Path, file: &Path, anchor: &str) -> Option<&'static str> {
    if file.is_absolute() || !root.join(file).exists() {
        return Some("no such file");
    }
    let is_page = file.extension().is_some_and(|extension| extension == "md");
    if !is_page || anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(root.join(file)).unwrap();
    (!anchors(&text).contains(anchor)).then_some("no such heading")
}

/// A relative link of a page, from the root.
fn beside(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => assert!(path.pop(), "{} leaves the repository: {target}", page.display()),
            other => path.push(other),
        }
    }
    path
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut anchors = BTreeSet::new();
    for line in without_blocks(text).lines() {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(kept)
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let before = seen.entry(slug.clone()).or_default();
        anchors.insert(if *before == 0 { slug } else { format!("{slug}-{before}") });
        *before += 1;
    }
    anchors
}

/// Paths of pages in a text, `docs/….md`, each with its anchor or without.
fn named_pages(text: &str) -> Vec<(&str, &str)> {
    let named = text.match_indices("docs/").filter_map(|(at, _)| {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || "-_".contains(c)) {
            return None;
        }
        let rest = &text[at..];
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c)).unwrap_or(rest.len());
        let page = &rest[..rest[..end].find(".md")? + ".md".len()];
        let after = rest[page.len()..].strip_prefix('#').unwrap_or("");
        let anchor =
            after.find(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c)).unwrap_or(after.len());
        Some((page, &after[..anchor]))
    });
    named.collect()
}

// Files, tests and texts that pages name.

#[test]
fn files_and_tests_that_pages_name_exist() {
    for page in pages(root()) {
        let text = read(&page);
        let named = spans(&text).into_iter().filter(|name| {
            let path = ["src/", "tests/", ".ci/"].iter().any(|root| name.starts_with(root));
            path && !name.contains(['*', ' ', '\n'])
        });
        for name in named {
            let (file, test) = name.split_once("::").unwrap_or((name, ""));
            assert!(root().join(file).exists(), "{} names {file}", page.display());
            let is_there = test.is_empty() || has_test(file, test);
            assert!(is_there, "{} names {name}, and there is no such test", page.display());
        }
    }
}

#[test]
fn every_guarantee_has_tests() {
    let text = read("docs/reference/guarantees.md");
    let sections: Vec<_> =
        text.split("\n## ").skip(1).take_while(|part| !part.starts_with("Hardening")).collect();
    let numbers: Vec<_> = sections.iter().map(|section| section.split('.').next().unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    for section in sections {
        let (promise, tests) = section.split_once("\nTests:\n").unwrap();
        assert!(promise.lines().count() > 2, "{promise}");
        let tests: Vec<_> = tests.lines().filter(|line| !line.is_empty()).collect();
        assert!(!tests.is_empty(), "{section}");
        let is_test = |line: &&str| line.starts_with("- `") && line.contains("::") && line.ends_with('`');
        assert!(tests.iter().all(is_test), "{section}");
    }
}

fn has_test(file: &str, test: &str) -> bool {
    let text = read(file);
    text.match_indices(&format!("fn {test}(")).any(|(at, _)| {
        let before: Vec<_> = text[..at].lines().rev().take(6).collect();
        before.iter().any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
    })
}

/// That the daemon writes lines as the source declares them is held by the tests of the audit log.
#[test]
fn the_audit_log_page_has_every_field_in_order() {
    let text = read("docs/reference/audit-log.md");
    let example = text.split("\n```json\n").nth(1).unwrap().split("\n```").next().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(example).unwrap().is_object());
    // The example is read as text, because a JSON object has no order.
    let shown: Vec<_> = example
        .split(['{', ','])
        .filter_map(|field| field.trim().strip_prefix('"')?.split_once("\":"))
        .map(|(key, _)| key)
        .collect();
    let part = text.split("\n## Fields\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<_> = part
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`:"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(listed, shown, "the list (left) and the example (right)");
    let source = read("src/telemetry/audit/line.rs");
    let fields = source.split("pub struct AuditLine").nth(1).unwrap().split("\n}").next().unwrap();
    let fields: Vec<_> = fields
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("pub(super) ").split_once(": "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(fields, shown, "the source (left) and the example (right)");
}

#[test]
fn texts_that_troubleshooting_quotes_are_in_the_source() {
    let said = literals();
    let text = read("docs/guides/troubleshooting.md");
    // Each symptom is the first paragraph of an item of a list.
    let symptoms =
        text.split("\n- ").skip(1).map(|item| item.split("\n\n").next().unwrap().replace("\n  ", " "));
    let mut quoted = 0;
    for symptom in symptoms {
        for text in spans(&symptom).into_iter().filter(|text| !FOREIGN_TEXTS.contains(text)) {
            quoted += 1;
            // `error: ` stands before every error, and `…` for what the daemon fills in.
            for piece in text.trim_start_matches("error: ").split('…') {
                let piece = piece.trim_matches([' ', ':', ',']);
                assert!(said.contains(piece), "nothing says {piece:?}");
            }
        }
    }
    assert!(quoted > 60, "{quoted}");
}

/// In quotation marks are messages of the log, texts of `status`, and titles of the dashboard.
#[test]
fn texts_that_operations_quotes_are_in_the_source_or_the_dashboard() {
    let said = literals() + &read("deploy/grafana/generate.py");
    let text = read("docs/guides/operations.md");
    let text = prose(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    // The example of a sentence has figures, which the daemon fills in.
    let quoted: Vec<_> = text.split('"').skip(1).step_by(2).filter(|text| !text.contains(';')).collect();
    assert!(quoted.len() >= 8, "{quoted:?}");
    for text in quoted {
        assert!(said.contains(text), "nothing says {text:?}");
    }
}

/// The source, with string literals as they are printed: a backslash at a line's end joins it to the next.
fn literals() -> String {
    let sources = files(&root().join("src"), &|name| name.ends_with(".rs"));
    let mut all = String::new();
    for file in sources {
        let text = read(Path::new("src").join(file));
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.to_owned();
            while line.ends_with('\\') {
                line.pop();
                line.push_str(lines.next().unwrap_or_default().trim_start());
            }
            all.push_str(&line.replace("\\\"", "\""));
            all.push('\n');
        }
    }
    all
}

// Bounds.

#[test]
fn readme_is_short_and_links_the_documentation_on_its_first_screen() {
    let text = read("README.md");
    assert!(text.lines().count() <= 200 && text.len() <= 14 * 1024, "{} bytes", text.len());
    let first_screen: Vec<_> = text.lines().take(25).collect();
    assert!(first_screen.join("\n").contains("](docs/README.md)"));
}

#[test]
fn the_index_links_every_page() {
    let index = read("docs/README.md");
    for page in pages(root()).iter().filter_map(|page| page.strip_prefix("docs").ok()) {
        let is_linked = index.contains(&format!("]({})", page.display()));
        assert!(
            is_linked || page == Path::new("README.md"),
            "docs/README.md does not link {}",
            page.display()
        );
    }
}

// Pages.

/// Every page of the repository, from `root`.
fn pages(root: &Path) -> Vec<PathBuf> {
    files(root, &|name| name.ends_with(".md"))
}

/// Every file below `root` whose name is wanted, except what is built, fetched or recorded.
fn files(root: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = directory.join(&name);
            if !entry.file_type().unwrap().is_dir() {
                found.extend(wanted(&name).then_some(path));
            } else if !["target", ".git", "node_modules", "corpus", "artifacts"].contains(&&*name) {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A page's text without code.
fn prose(text: &str) -> String {
    without_blocks(text).split('`').step_by(2).collect()
}

/// What stands in backticks outside of blocks of code.
fn spans(text: &str) -> Vec<&str> {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// A page's text without blocks of code.
fn without_blocks(text: &str) -> String {
    let mut is_block = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_block ^= is_fence;
        !is_block && !is_fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

fn read(name: impl AsRef<Path>) -> String {
    let name = name.as_ref();
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{}: {error}", name.display()))
}
