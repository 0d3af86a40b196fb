//! Which users a call of the Management API is about, and whom it changes, so that what is cached about them is out of
//! date.

use super::user::UserId;

/// The users whose entries a successful call may have made wrong. `path` is what follows `/api/v2`, as it was sent, with
/// or without a query.
///
/// A write on `/users/{id}` or on anything below (identities, sessions, multifactor enrollments …) changes that user.
/// Unlinking an identity also brings its own user back, whose id the path names.
///
/// What a body names is not known here: the secondary user of a link (`POST /users/{id}/identities`), which then exists no
/// longer, a user that is created, and the users of an import job. Their entries stay until `cache.max_ttl`, unless the
/// caller purges them.
pub fn forgotten_by(method: &str, path: &str) -> Vec<UserId> {
    if ["GET", "HEAD", "OPTIONS"].contains(&method) {
        return Vec::new();
    }
    let (user, below) = about(path);
    let Some(user) = user else { return Vec::new() };
    let mut below = below.split('/');
    let mut next = || UserId::from_path_segment(below.next()?).ok();
    let is_of_identities = method == "DELETE" && next().is_some_and(|name| name.as_str() == "identities");
    let unlinked = is_of_identities.then(|| next().zip(next())).flatten();
    let unlinked = unlinked.and_then(|(provider, id)| UserId::parse(&format!("{provider}|{id}")).ok());
    std::iter::once(user).chain(unlinked).collect()
}

/// The user whom a call is about by its path: `/users/{id}`, or below.
pub fn user_of(path: &str) -> Option<UserId> {
    about(path).0
}

/// The user whom `path` is about, and what follows the id.
fn about(path: &str) -> (Option<UserId>, &str) {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let mut segments = path.strip_prefix('/').unwrap_or(path).splitn(3, '/');
    let mut next = || UserId::from_path_segment(segments.next()?).ok();
    // A literal may have its characters escaped as well as an id.
    let user = next().filter(|first| first.as_str() == "users").and_then(|_| next());
    (user, segments.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_on_a_user_or_below_forgets_that_user() {
        for (method, path, users) in [
            ("PATCH", "/users/auth0%7C1", &["auth0|1"][..]),
            ("DELETE", "/users/auth0|1", &["auth0|1"]),
            ("DELETE", "/users/auth0%257C1?x=/users/2", &["auth0%7C1"]),
            ("POST", "/users/auth0%7C1/identities", &["auth0|1"]),
            ("DELETE", "/%75sers/auth0%7C1/sessions", &["auth0|1"]),
            ("PUT", "/users/auth0%7C1/authentication-methods", &["auth0|1"]),
            (
                "DELETE",
                "/users/auth0%7C1/identities/google-oauth2/10%3A3",
                &["auth0|1", "google-oauth2|10:3"],
            ),
            ("POST", "/users/auth0%7C1/identities/google-oauth2/103", &["auth0|1"]),
            ("GET", "/users/auth0%7C1", &[]),
            ("HEAD", "/users/auth0%7C1", &[]),
            ("POST", "/users", &[]),
            ("POST", "/users/", &[]),
            ("PATCH", "/users-by-email/a", &[]),
            ("PATCH", "/clients/users/auth0%7C1", &[]),
            ("PATCH", "/users/%zz", &[]),
        ] {
            let forgotten = forgotten_by(method, path);
            let forgotten: Vec<_> = forgotten.iter().map(UserId::as_str).collect();
            assert_eq!(forgotten, users, "{method} {path}");
        }
    }
}
