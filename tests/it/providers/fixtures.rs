//! Every built-in provider's answers in five forms, and what each means.

use std::collections::BTreeSet;

use cloakroom::domain::provider::PROVIDERS;

use super::rows::{FIXTURES, Form};
use super::{answer, read, said};

#[test]
fn every_answer_of_every_provider_means_what_its_row_says() {
    for fixture in FIXTURES {
        let answer = answer(fixture.status, fixture.headers, fixture.body);
        let meant = said(&read(fixture.provider, &answer));
        assert_eq!(meant, fixture.means, "{} {:?} {}", fixture.provider, fixture.form, fixture.body);
    }
}

#[test]
fn every_provider_has_every_form() {
    let there: BTreeSet<_> = FIXTURES.iter().map(|fixture| (fixture.provider, fixture.form)).collect();
    for provider in PROVIDERS {
        for form in [Form::Success, Form::WithoutRefreshToken, Form::Dead, Form::Passing, Form::Misconfigured]
        {
            assert!(there.contains(&(provider.name, form)), "{} {form:?}", provider.name);
        }
    }
}

/// What a form is for is in what it means.
#[test]
fn each_form_is_what_it_is_called() {
    for fixture in FIXTURES {
        let (means, name) = (fixture.means, fixture.provider);
        let is_right = match fixture.form {
            Form::Success => means.starts_with("issued ") && !means.contains("refresh - "),
            Form::WithoutRefreshToken => means.starts_with("issued ") && means.contains("refresh - "),
            Form::Dead => means == "over refresh_refused",
            Form::Asking => means.starts_with("over ") && means != "over refresh_refused",
            Form::Passing => means.starts_with("failed "),
            Form::Misconfigured => means.starts_with("misconfigured "),
        };
        assert!(is_right, "{name} {means}");
    }
}

/// A refusal of one kind must not depend on a text that a peer might vary, unless the row says so.
#[test]
fn a_dead_token_is_dead_whatever_else_the_answer_has() {
    for fixture in FIXTURES.iter().filter(|fixture| fixture.form == Form::Dead) {
        let Some(start) = fixture.body.strip_prefix('{') else { continue };
        let body = format!("{{\"unknown\":[{{\"error\":\"invalid_client\"}}],{start}");
        let meant = said(&read(fixture.provider, &answer(fixture.status, &[], &body)));
        assert_eq!(meant, "over refresh_refused", "{} {body}", fixture.provider);
    }
}
