//! What is wrong with a configuration: which key, where it came from, and what would be right.
//!
//! No text here ever holds a value, only keys, places and what is allowed. A secret pasted into the wrong key
//! is still a secret, so the one rule that is easy to keep is that values are not printed at all. Only spans
//! of time are, where two of them stand in a wrong relation: by then they have been understood as such.

use std::fmt;

/// One thing that is wrong. Printed as `cloakroom.toml, line 7: tenant.client.ids: unknown key; …`; what has no
/// place or no key leaves that part out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key as a dotted path, elements of a list by their index: `listener.0.path`.
    pub key: Option<String>,
    /// `FILE, line N`, `FILE`, or `the variable NAME`; nothing where a key is missing.
    pub origin: Option<String>,
    /// What is wrong, and what would be right.
    pub text: String,
    /// What it is about, for code that acts on it.
    pub cause: Cause,
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The configuration, or a file that it names, has to be changed.
    Configuration,
    /// A user or a group is unknown to this machine, and may become known without a change of the configuration.
    UnknownAccount,
    /// A file may not be read by this process. A process without this one's sandbox, such as after a restart, may be
    /// able to.
    PermissionDenied,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.origin, &self.key].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Everything that is wrong with a configuration; never empty. Printed one per line: what concerns the file in
/// the file's order, then the environment, then what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Whether all of them may go away without a change of the configuration.
    pub fn may_pass(&self) -> bool {
        self.0.iter().all(|problem| problem.cause == Cause::UnknownAccount)
    }

    /// Whether one of them is a file that this process may not read.
    pub fn is_permission_denied(&self) -> bool {
        self.0.iter().any(|problem| problem.cause == Cause::PermissionDenied)
    }

    /// Just one.
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// These, after a first one that explains them.
    pub(super) fn headed(self, first: Problem) -> Self {
        Self(std::iter::once(first).chain(self.0).collect())
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What, and what would be right.
    pub(super) text: String,
    /// As in [`Problem`].
    pub(super) cause: Cause,
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(text: T) -> Self {
        Self { text: text.into(), cause: Cause::Configuration }
    }
}

/// Proof that a problem has been noted, for whoever has no value to go on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportOutcome(());

/// What one key gave.
pub(super) type Checked<T> = Result<T, ReportOutcome>;

/// Where problems and warnings are gathered while the whole configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// Notes a problem.
    pub(super) fn problem(
        &mut self,
        key: &str,
        origin: Option<&str>,
        wrong: impl Into<Wrong>,
    ) -> ReportOutcome {
        self.problems.push(problem(key, origin, wrong.into()));
        ReportOutcome(())
    }

    /// For whoever comes upon what a source has noted already.
    pub(super) fn noted_before(&self) -> ReportOutcome {
        debug_assert!(!self.problems.is_empty(), "nothing was noted");
        ReportOutcome(())
    }

    /// Notes something that is allowed, but likely not meant.
    pub(super) fn warning(&mut self, key: &str, origin: Option<&str>, text: impl Into<String>) {
        self.warnings.push(problem(key, origin, Wrong::from(text.into())));
    }

    /// The value and the warnings' texts, or every problem. `file` is the name that places in the file begin with.
    pub(super) fn finish<T>(mut self, file: &str, outcome: Checked<T>) -> Result<(T, Vec<String>), Problems> {
        match outcome {
            Ok(value) if self.problems.is_empty() => {
                sort(&mut self.warnings, file);
                Ok((value, self.warnings.iter().map(Problem::to_string).collect()))
            }
            _ => Err(self.into_problems(file)),
        }
    }

    /// Every problem, where it is known that there is one.
    pub(super) fn into_problems(mut self, file: &str) -> Problems {
        sort(&mut self.problems, file);
        Problems(self.problems)
    }
}

/// Stable: what shares a line, or comes from the environment, stays in the order in which it was found.
fn sort(problems: &mut [Problem], file: &str) {
    problems.sort_by_key(|problem| rank(problem, file));
}

/// What a value from line `line` of `file` gives as its origin.
pub(super) fn in_file(file: &str, line: usize) -> String {
    format!("{file}, line {line}")
}

/// What a value from the environment gives as its origin. A name may hold anything but `=`; one that is no plain word
/// stands in quotes, so that nothing in it can pass for a line of ours.
pub(super) fn in_variable(name: &str) -> String {
    match name.chars().all(|c| c.is_ascii_graphic()) {
        true => format!("the variable {name}"),
        false => format!("the variable {name:?}"),
    }
}

fn problem(key: &str, origin: Option<&str>, Wrong { text, cause }: Wrong) -> Problem {
    let key = (!key.is_empty()).then(|| key.to_owned());
    Problem { key, origin: origin.map(str::to_owned), text, cause }
}

/// The file line by line, then the environment, then what is nowhere.
fn rank(problem: &Problem, file: &str) -> (u8, usize) {
    let Some(origin) = &problem.origin else { return (2, 0) };
    let line = origin.strip_prefix(file).and_then(|rest| rest.strip_prefix(", line "));
    line.and_then(|line| line.parse().ok()).map_or((1, 0), |line| (0, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_first_then_the_environment_then_what_is_missing() {
        let mut report = Report::default();
        report.problem("d", None, "missing");
        report.problem("c", Some(&in_variable("X")), "wrong");
        report.problem("b", Some(&in_file("f, line 1.toml", 10)), "wrong");
        let reported = report.problem("", Some(&in_file("f, line 1.toml", 9)), "not TOML");
        let problems = report.finish::<()>("f, line 1.toml", Err(reported)).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "f, line 1.toml, line 9: not TOML\nf, line 1.toml, line 10: b: wrong\nthe variable X: c: wrong\nd: missing"
        );
        assert_eq!(problems.iter().count(), (&problems).into_iter().count());
    }
}
