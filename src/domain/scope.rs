//! Scopes: which a token is known to have, which a client needs, and what a login would have to ask for.

/// Scopes from text in which spaces or commas separate them, each once, separated by spaces; `None` if there are none.
/// OAuth separates by spaces (RFC 6749 §3.3); Slack, GitHub and Auth0's vault by commas where the provider does.
pub fn normalized<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in texts.into_iter().flat_map(parts) {
        if scopes.len() < MOST && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// The scopes in `wanted` that `held` lacks. Both are normalized.
pub fn missing<'a>(held: &str, wanted: &'a str) -> Vec<&'a str> {
    parts(wanted).filter(|scope| !parts(held).any(|known| known == *scope)).collect()
}

/// The most scopes that are kept. Providers know a few hundred, and a token has a handful.
const MOST: usize = 256;

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', ',', '\t', '\n', '\r']).filter(|scope| !scope.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_commas_separate_and_doubles_count_once() {
        let normal = |text| normalized([text]);
        assert_eq!(normal("read:user,repo  gist repo").as_deref(), Some("read:user repo gist"));
        assert_eq!(normal(" , "), None);
        assert_eq!(normalized(["a b", "c,a"]).as_deref(), Some("a b c"));
        let many = (0..2 * MOST).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(normal(&many).map(|scopes| parts(&scopes).count()), Some(MOST));
    }

    #[test]
    fn what_is_missing_is_in_the_order_in_which_it_was_asked_for() {
        assert_eq!(missing("a b", "c b d"), ["c", "d"]);
        assert!(missing("a b", "b").is_empty());
        assert_eq!(missing("mail.read", "mail"), ["mail"], "a scope is more than its beginning");
    }
}
