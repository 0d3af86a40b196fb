//! The form of a refusal in the tables.

/// One refusal.
pub(super) struct Refusal {
    /// The last segment of its path.
    pub kind: &'static str,
    pub status: u16,
    /// `{reset}` in a value is a UNIX time in seconds, one minute from now.
    pub fields: &'static [(&'static str, &'static str)],
    pub body: &'static str,
}

/// The type of nearly every body.
pub(super) const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
