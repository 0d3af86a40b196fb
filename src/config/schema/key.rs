//! The types of the schema: keys, tables of keys, and the types of their values.

use std::time::Duration;

use bytesize::ByteSize;

/// A key of the configuration: the one place that says what it takes, what it defaults to and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The dotted path, without indices of list elements: `listener.allow.uid`.
    pub path: &'static str,
    /// The type of values, with their bounds.
    pub takes: Type,
    /// The value if the key is not set.
    pub default: DefaultValue,
    /// Whether a running daemon takes over another value.
    pub reload: Reload,
    /// A value to show where there is no default, written as in a variable.
    pub example: Option<&'static str>,
    /// The meaning, in Markdown. The first paragraph stands alone: editors and the sample file show no more.
    pub doc: &'static str,
}

impl Key {
    /// Whether the key is in the table or list at `path`, or in a table of it.
    pub(in crate::config) fn is_below(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The last part of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }
}

/// A table of keys, as `[cache]` or `[[listener]]` opens it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The dotted path, without indices.
    pub path: &'static str,
    /// Set for a list of tables.
    pub list: Option<List>,
    /// What the table is about, in Markdown. The first paragraph stands alone.
    pub doc: &'static str,
    /// The keys, in the order in which references show them.
    pub keys: &'static [Key],
}

impl Table {
    /// The line that opens the table in a file.
    pub fn heading(&self) -> String {
        if self.list.is_some() { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }
}

/// The bounds and names of a list of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    /// The limit on elements. It keeps `CLOAKROOM_LISTENER__4000000000__PATH` from creating a list of that length.
    pub most: usize,
    /// What the elements are called, in the plural.
    pub elements: &'static str,
    /// The path of a key of the first element, which shows how elements are numbered.
    pub example: &'static str,
}

/// The type of a key's values. Patterns are regular expressions for editors; the code that reads a key checks more,
/// and explains what is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// Text that matches a pattern.
    Text(&'static str),
    /// Text that matches a pattern and is never shown or compared outside of `Secret`.
    Secret(&'static str),
    /// The absolute path of a file or a socket.
    Path,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// One of a few words, or the absolute path of a file.
    ChoiceOrPath(&'static [&'static str]),
    /// Permission bits in octal digits.
    Mode,
    /// An IP address and a port.
    Address,
    /// A user, by name or by number.
    User,
    /// A group, by name or by number.
    Group,
    /// A span of time.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A number of bytes.
    Size {
        /// The smallest.
        min: ByteSize,
        /// The largest.
        max: ByteSize,
    },
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number that may have a fraction.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// Whether 0, too, is accepted, and turns off what the key is about.
        zero_is_off: bool,
    },
    /// `true` or `false`.
    Boolean,
    /// A list of texts, each of which matches a pattern.
    Texts {
        /// The pattern.
        pattern: &'static str,
        /// Whether an empty list is accepted, and means the same as none.
        may_be_empty: bool,
    },
    /// A list of some of a few words.
    Words(&'static [&'static str]),
}

impl Type {
    /// The type as it stands behind "must be" in a problem's text.
    pub(in crate::config) const fn expected(self) -> &'static str {
        match self {
            Self::Text(_)
            | Self::Secret(_)
            | Self::Path
            | Self::Choice(_)
            | Self::ChoiceOrPath(_)
            | Self::Mode
            | Self::Address => "text in quotes",
            Self::Duration { .. } => r#"a duration in quotes, such as "90s", "10m" or "1h30m""#,
            Self::Size { .. } => r#"a size in quotes, such as "64MiB""#,
            Self::Integer { .. } => "a whole number",
            Self::Number { .. } => "a number such as 0.8",
            Self::Boolean => "true or false",
            Self::User | Self::Group => "a name in quotes or a number",
            Self::Texts { .. } | Self::Words(_) => r#"a list of texts in quotes, such as ["a", "b"]"#,
        }
    }

    /// Whether values of this type are numbers or words of this program. Text that an operator chose may be a secret
    /// that was pasted into the wrong key.
    pub(in crate::config) const fn may_be_shown(self) -> bool {
        !matches!(self, Self::Text(_) | Self::Secret(_) | Self::Path | Self::Texts { .. } | Self::Words(_))
    }
}

/// The value of a key that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, written as in a variable.
    Value(&'static str),
    /// No value. The text says in a few words what happens instead.
    Absent(&'static str),
    /// The key has to be set. The text says what it names.
    Required(&'static str),
}

/// The effect of a reload on a changed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new value is in force from the next request on.
    Live,
    /// The old value stays in force until a restart, and a warning says so.
    Restart,
    /// The configuration is refused as a whole.
    Refused,
}
