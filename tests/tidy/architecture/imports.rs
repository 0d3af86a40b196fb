//! The import graph of `src`: which file uses an item that another file defines, read from the source as tokens.
//!
//! A path is followed to the file that defines the item: through `crate`, `self` and `super`, through modules, and
//! through re-exports, so that `use crate::cache::Served` is an import of the file with `struct Served` and not of
//! `cache.rs`. Declaring a module is no import of it, and neither is re-exporting an item that the file does not
//! itself use. Test modules are left out: they may look at both sides.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{is_word, tokens, without_tests};
use crate::repository::{files, read};

/// One file of the library as its tokens tell it.
struct File {
    name: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    defined: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths such as `reply::lookup` outside `use`.
    paths: Vec<Vec<String>>,
    /// Every identifier outside `use`.
    words: BTreeSet<String>,
}

/// One leaf of a `use` tree.
struct Use {
    path: Vec<String>,
    /// The name that it brings into scope; `*` for all of a module.
    alias: String,
    is_public: bool,
}

/// What a path leads to.
enum Target {
    Module(usize),
    /// An item that this file defines.
    Item(usize, String),
}

/// What a file imports: the files that define it, each with the names of the items.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_two_files_import_each_other() {
    let graph = Crate::read().graph();
    let circular: Vec<_> = on_circles(&graph)
        .into_iter()
        .map(|(from, to)| {
            let items = graph[&from][&to].iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("{from} imports {items} from {to}")
        })
        .collect();
    assert!(circular.is_empty(), "imports on circles; move the items below both:\n{}", circular.join("\n"));
}

/// Every import from whose target imports lead back to the file.
fn on_circles(graph: &BTreeMap<String, Imports>) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (from, imports) in graph {
        for to in imports.keys() {
            let (mut seen, mut next) = (BTreeSet::new(), vec![to]);
            while let Some(here) = next.pop() {
                if seen.insert(here) {
                    next.extend(graph[here].keys());
                }
            }
            if seen.contains(from) {
                found.insert((from.clone(), to.clone()));
            }
        }
    }
    found
}

struct Crate {
    files: Vec<File>,
}

impl Crate {
    fn read() -> Self {
        let existing: BTreeSet<_> = files("src").into_iter().collect();
        let mut crate_ = Self { files: Vec::new() };
        crate_.add("src/lib.rs", "src", None, &existing);
        assert!(crate_.files.len() > 50, "the modules are not found as they should be");
        crate_
    }

    /// Reads a file and those of the modules that it declares, which are below `directory`.
    fn add(
        &mut self,
        name: &str,
        directory: &str,
        parent: Option<usize>,
        existing: &BTreeSet<String>,
    ) -> usize {
        let text = read(name);
        let tokens = without_tests(tokens(&text));
        let (file, modules) = parsed(name, parent, &tokens);
        let index = self.files.len();
        self.files.push(file);
        for module in modules {
            let below = format!("{directory}/{module}");
            let path = format!("{below}.rs");
            assert!(existing.contains(&path), "{name} declares {module}, and there is no {path}");
            let child = self.add(&path, &below, Some(index), existing);
            self.files[index].children.insert(module, child);
        }
        index
    }

    fn graph(&self) -> BTreeMap<String, Imports> {
        (0..self.files.len()).map(|index| (self.files[index].name.clone(), self.imports(index))).collect()
    }

    fn imports(&self, index: usize) -> Imports {
        let file = &self.files[index];
        let mut found = Imports::new();
        let used = file.uses.iter().filter(|one| !one.is_public || file.words.contains(&one.alias));
        let has_glob = file.uses.iter().any(|one| one.alias == "*");
        let words = file.words.iter().filter(|_| has_glob).map(|word| vec![word.clone()]);
        let words: Vec<_> = words.collect();
        for path in used.map(|one| &one.path).chain(&file.paths).chain(&words) {
            if let Some(Target::Item(definer, item)) = self.resolve(index, path, 0)
                && definer != index
            {
                found.entry(self.files[definer].name.clone()).or_default().insert(item);
            }
        }
        found
    }

    /// `None` for what is another crate's.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut target = match &**first {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.files[from].parent?),
            name => self.lookup(from, name, depth)?,
        };
        for name in rest {
            let Target::Module(module) = target else { break };
            target = match &**name {
                "super" => Target::Module(self.files[module].parent?),
                // What a macro makes is not seen, and is the file's that the path names.
                name => {
                    self.lookup(module, name, depth).unwrap_or_else(|| Target::Item(module, name.to_owned()))
                }
            };
        }
        Some(target)
    }

    fn lookup(&self, module: usize, name: &str, depth: usize) -> Option<Target> {
        let file = &self.files[module];
        if let Some(child) = file.children.get(name) {
            return Some(Target::Module(*child));
        }
        if file.defined.contains(name) {
            return Some(Target::Item(module, name.to_owned()));
        }
        // A name that is imported from a place that imports it from here would be looked for without end.
        if depth > 8 {
            return None;
        }
        let named =
            file.uses.iter().find(|one| one.alias == name && one.path.first().is_some_and(|p| p != name));
        if let Some(named) = named {
            return self.resolve(module, &named.path, depth + 1);
        }
        file.uses.iter().filter(|one| one.alias == "*").find_map(|all| {
            match self.resolve(module, &all.path, depth + 1)? {
                Target::Module(from) if from != module => self.lookup(from, name, depth + 1),
                _ => None,
            }
        })
    }
}

/// A file, and the modules that it declares.
fn parsed(name: &str, parent: Option<usize>, tokens: &[&str]) -> (File, Vec<String>) {
    let mut file = File {
        name: name.to_owned(),
        parent,
        children: BTreeMap::new(),
        defined: BTreeSet::new(),
        uses: Vec::new(),
        paths: Vec::new(),
        words: BTreeSet::new(),
    };
    let mut modules = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        let next = tokens.get(at + 1).copied().unwrap_or_default();
        match tokens[at] {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            "use" if is_word(next) || next == "{" => {
                let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                at = leaves(tokens, at + 1, &[], is_public, &mut file.uses);
                continue;
            }
            "mod" if tokens.get(at + 2) == Some(&";") => modules.push(next.to_owned()),
            "mod" if tokens.get(at + 2) == Some(&"{") => {
                panic!("{name}: a module within a file is not understood here: {next}")
            }
            "struct" | "enum" | "trait" | "fn" | "const" | "static" | "type"
                if depth == 0 && is_word(next) =>
            {
                file.defined.insert(next.to_owned());
            }
            "macro_rules" => {
                file.defined.extend(tokens.get(at + 2).map(|made| (*made).to_owned()));
            }
            word if is_word(word) && at > 0 && tokens[at - 1] != "::" => {
                let mut path = vec![word.to_owned()];
                while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|w| is_word(w)) {
                    path.push(tokens[at + 2].to_owned());
                    at += 2;
                }
                file.words.extend(path.first().cloned());
                if path.len() > 1 {
                    file.paths.push(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
    (file, modules)
}

/// Reads one `use` tree from `at` on into `uses`; returns where it ends.
fn leaves(tokens: &[&str], mut at: usize, prefix: &[String], is_public: bool, uses: &mut Vec<Use>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens[at] {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = leaves(tokens, at, &path, is_public, uses);
                    if tokens[at] == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => {
                uses.push(Use { path, alias: "*".to_owned(), is_public });
                return at + 1;
            }
            "::" => at += 1,
            "as" => {
                uses.push(Use { path, alias: tokens[at + 1].to_owned(), is_public });
                return at + 2;
            }
            word if is_word(word) => {
                // `self` at the end of a list is the list's own module.
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                at += 1;
            }
            _ => {
                let alias = path.last().cloned().unwrap();
                uses.push(Use { path, alias, is_public });
                return at;
            }
        }
    }
}
