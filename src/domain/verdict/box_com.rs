//! Refusals of Box: <https://developer.box.com/guides/api-calls/permissions-and-errors/common-errors/>.

use super::meaning::Verdict;
use super::sample::{Sample, text_at};
use super::standard;

pub(super) fn judge(sample: &Sample<'_>) -> Option<Verdict> {
    let code = sample.json().map(|body| text_at(&body, "/code").to_owned());
    standard::stated(sample).or_else(|| match (sample.status, code.as_deref()) {
        (403, Some("insufficient_scope")) => Some(Verdict::unnamed_scope(true)),
        _ => standard::judge(sample),
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Dialect;
    use crate::domain::verdict::tests::check;

    #[test]
    fn box_names_no_scope() {
        check(
            Dialect::Box,
            &[
                (
                    401,
                    &[(
                        "www-authenticate",
                        "Bearer realm=\"Service\", error=\"invalid_token\", \
                        error_description=\"The access token provided is invalid.\"",
                    )],
                    "",
                    "token_dead, named",
                ),
                (
                    403,
                    &[(
                        "www-authenticate",
                        "Bearer realm=\"Service\", error=\"insufficient_scope\", \
                        error_description=\"The request requires higher privileges.\"",
                    )],
                    "",
                    "missing_scope",
                ),
                (403, &[], r#"{"type":"error","status":403,"code":"insufficient_scope"}"#, "missing_scope"),
                (
                    403,
                    &[],
                    r#"{"type":"error","status":403,"code":"access_denied_insufficient_permissions"}"#,
                    "-",
                ),
            ],
        );
    }
}
