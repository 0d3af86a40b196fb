//! What is wrong with a configuration: which key, where it came from, and what would be right.
//!
//! No text contains a value, only keys, positions and what is allowed: a secret that was pasted into the wrong key is
//! still a secret. Durations are the exception, where two of them contradict each other: by then they have been
//! parsed.

use std::fmt;

/// A problem with the configuration. Printed as `cloakroom.toml, line 7: tenant.client.ids: unknown key; …`, without
/// the parts that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key as a dotted path, elements of a list by their index: `listener.0.path`.
    pub key: Option<String>,
    /// `FILE, line N`, `FILE`, or `the variable NAME`; `None` for a missing key.
    pub origin: Option<String>,
    /// What is wrong, and what would be right.
    pub text: String,
    /// The cause, for code that acts on it.
    pub cause: Cause,
}

/// The cause of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The configuration, or a file that it names, has to be changed.
    Configuration,
    /// A user or a group is unknown to this machine, and may become known without a change of the configuration.
    UnknownAccount,
    /// This process lacks the permission to read a file. After a restart, its sandbox may include the file.
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

/// The problems with a configuration; never empty. Printed one per line: those of the file by line, then those of the
/// environment, then missing keys.
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

    /// A single problem.
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// Adds a first problem that explains the others.
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

/// A problem with one value, without its key and origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong, and what would be right.
    pub(super) text: String,
    /// The cause, as in [`Problem`].
    pub(super) cause: Cause,
}

impl<T: Into<String>> From<T> for Wrong {
    fn from(text: T) -> Self {
        Self { text: text.into(), cause: Cause::Configuration }
    }
}

/// Proof that a problem was added to the report, in place of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// A value, or the proof that its problem was reported.
pub(super) type Checked<T> = Result<T, Reported>;

/// The problems and warnings that were found while the configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Report {
    /// Adds a problem.
    pub(super) fn problem(&mut self, key: &str, origin: Option<&str>, wrong: impl Into<Wrong>) -> Reported {
        self.problems.push(problem(key, origin, wrong.into()));
        Reported(())
    }

    /// The proof for a problem that a source has already added.
    pub(super) fn already_reported(&self) -> Reported {
        debug_assert!(!self.problems.is_empty(), "no problem was added");
        Reported(())
    }

    /// Adds a warning about a setting that is valid and probably not meant.
    pub(super) fn warning(&mut self, key: &str, origin: Option<&str>, text: impl Into<String>) {
        self.warnings.push(problem(key, origin, Wrong::from(text.into())));
    }

    /// The value and the texts of warnings, or every problem. `file` is the name with which origins in the file begin.
    pub(super) fn finish<T>(mut self, file: &str, outcome: Checked<T>) -> Result<(T, Vec<String>), Problems> {
        match outcome {
            Ok(value) if self.problems.is_empty() => {
                sort(&mut self.warnings, file);
                Ok((value, self.warnings.iter().map(Problem::to_string).collect()))
            }
            _ => Err(self.into_problems(file)),
        }
    }

    /// Every problem, if it is known that there is one.
    pub(super) fn into_problems(mut self, file: &str) -> Problems {
        sort(&mut self.problems, file);
        Problems(self.problems)
    }
}

/// Sorts by origin. The order of problems with the same line, or from the environment, does not change.
fn sort(problems: &mut [Problem], file: &str) {
    problems.sort_by_key(|problem| rank(problem, file));
}

/// The origin of a value from line `line` of `file`.
pub(super) fn in_file(file: &str, line: usize) -> String {
    format!("{file}, line {line}")
}

/// The origin of a value from the environment. A variable's name may contain any character except `=`; it is quoted
/// unless it is a plain word, so that it cannot forge a line of output.
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

/// The sort key: lines of the file, then the environment, then missing keys.
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
