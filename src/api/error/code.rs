//! What can be asked of the table of errors.

use crate::api::route::RouteSpec;

use super::table::Code;

impl Code {
    /// Every error that the route may answer on a Unix socket, in the order of the reference.
    pub fn of_route(route: &RouteSpec) -> impl Iterator<Item = Self> {
        let answers = |code: &Self| code.spec().answered_by.iter().any(|group| group.has(route));
        Self::ALL.iter().copied().filter(answers)
    }

    /// The code of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.spec().name == name)
    }
}

/// The codes, for the schema of answers.
#[cfg(feature = "schema")]
pub(in crate::api) fn names() -> Vec<&'static str> {
    Code::ALL.iter().map(|code| code.spec().name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_a_name_and_every_text_has_its_form() {
        for (number, code) in Code::ALL.iter().enumerate() {
            let spec = code.spec();
            assert_eq!((*code as usize, Code::parse(spec.name)), (number, Some(*code)), "{code:?}");
            assert!(spec.status.is_client_error() || spec.status.is_server_error(), "{code:?}");
            assert!(!spec.title.ends_with('.') && spec.meaning.ends_with('.'), "{code:?}");
        }
    }
}
