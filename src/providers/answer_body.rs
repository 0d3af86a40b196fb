//! The body of a token endpoint's answer, in every form that providers are known to send.

use serde::Deserialize;

use crate::domain::freshness::Timestamp;
use crate::domain::scope;
use crate::domain::source::IssuedToken;
use crate::json::lenient::{Bar, Few, Lifetime, Number, Text};
use crate::json::{Object, unreadable};
use crate::secret::Secret;

/// The most scopes and error numbers that are read of a list.
const MOST_LISTED: usize = 256;

/// Every member that a token endpoint's answer is known to have.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerBody {
    access_token: Text,
    refresh_token: Text,
    expires_in: Number,
    scope: Scopes,
    /// Bitbucket's name for `scope`, until 2026.
    scopes: Scopes,
    /// Slack: whether there is no error.
    ok: Option<Bar>,
    /// Slack: the user's token, in an answer that may have a bot's as well.
    authed_user: Option<Object<AuthedUser>>,
    error: ErrorCode,
    error_description: Text,
    /// Google.
    error_subtype: Text,
    /// Entra.
    suberror: Text,
    /// Entra.
    error_codes: Few<Number, MOST_LISTED>,
    /// HubSpot: the code, where there is no `error`. In an answer with a token it may be anything.
    status: Text,
    /// Zoom.
    reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthedUser {
    access_token: Text,
    refresh_token: Text,
    expires_in: Number,
    scope: Scopes,
}

/// An error's code, or an object with it.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorCode {
    /// Facebook's: a type and a number. Dropbox's for 429 has neither.
    Object(Object<ErrorObject>),
    Code(Text),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    #[serde(rename = "type")]
    kind: Text,
    code: Text,
}

/// Scopes as one text, or as a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Few<Text, MOST_LISTED>),
    One(Text),
}

impl Default for ErrorCode {
    fn default() -> Self {
        Self::Code(Text::Absent)
    }
}

impl Default for Scopes {
    fn default() -> Self {
        Self::One(Text::Absent)
    }
}

impl Scopes {
    fn normalized(&self) -> Option<String> {
        match self {
            Self::One(text) => scope::normalized(text.given()),
            Self::List(list) => scope::normalized(list.first.iter().filter_map(Text::given)),
        }
    }
}

impl AnswerBody {
    /// Reads JSON, or else a form, as GitHub writes it for clients that do not ask for JSON; `None` for anything else,
    /// such as a page of a host on the way.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        unreadable::object(body).or_else(|| Self::of_form(body))
    }

    fn of_form(form: &[u8]) -> Option<Self> {
        // A form has none of these. A page may contain an address with parameters of the same names.
        if form.iter().any(|byte| byte.is_ascii_whitespace() || b"<>\"".contains(byte)) {
            return None;
        }
        let mut body = Self::default();
        for (name, value) in form_urlencoded::parse(form) {
            let given = || Text::Given(value.to_string());
            match &*name {
                "access_token" => body.access_token = given(),
                "refresh_token" => body.refresh_token = given(),
                "expires_in" => body.expires_in = Number::of(&value),
                "scope" => body.scope = Scopes::One(given()),
                "error" => body.error = ErrorCode::Code(given()),
                "error_description" => body.error_description = given(),
                _ => {}
            }
        }
        let is_answer = !body.access_token.as_str().is_empty() || !body.error_code().is_empty();
        is_answer.then_some(body)
    }

    /// Whether it says that no token was issued, whatever the status.
    pub(super) fn is_refusal(&self) -> bool {
        let is_not_ok = self.ok.as_ref().is_some_and(|Bar(ok)| !ok);
        is_not_ok || (!self.has_token() && !self.error_code().is_empty())
    }

    fn has_token(&self) -> bool {
        let of_user = self.authed_user.as_ref().map(|Object(user)| &user.access_token);
        std::iter::once(&self.access_token).chain(of_user).any(|token| !token.as_str().is_empty())
    }

    /// The error code of a refusal; empty if there is none.
    pub(super) fn code(&self) -> String {
        Some(self.error_code()).filter(|code| !code.is_empty()).unwrap_or(self.status.as_str().to_owned())
    }

    /// What stands in `error`; empty if there is none.
    fn error_code(&self) -> String {
        match &self.error {
            ErrorCode::Object(Object(ErrorObject { kind, code })) if kind.as_str().is_empty() => {
                code.as_str().to_owned()
            }
            ErrorCode::Object(Object(ErrorObject { kind, code })) => {
                format!("{}/{}", kind.as_str(), code.as_str())
            }
            ErrorCode::Code(code) => code.as_str().to_owned(),
        }
    }

    /// The code that narrows the error code down; empty if there is none.
    pub(super) fn subcode(&self) -> &str {
        let subcode = self.error_subtype.as_str();
        if subcode.is_empty() { self.suberror.as_str() } else { subcode }
    }

    /// The texts that describe the error.
    pub(super) fn descriptions(&self) -> [&str; 2] {
        [&self.error_description, &self.reason].map(Text::as_str)
    }

    /// The numbers beside the error code.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.error_codes.first.iter().filter_map(Number::whole).collect()
    }

    /// The token and the refresh token, or why there is none. `now` is the provider's time, for an expiry that is stated
    /// as a date.
    pub(super) fn issued(self, now: Timestamp) -> Result<(IssuedToken, Option<Secret>), &'static str> {
        // An identity is a user's, so a bot's token beside the user's is not the one.
        let of_user =
            self.authed_user.map(|Object(user)| user).filter(|user| !user.access_token.as_str().is_empty());
        let issued = of_user.unwrap_or_else(|| AuthedUser {
            access_token: self.access_token,
            refresh_token: self.refresh_token,
            expires_in: self.expires_in,
            scope: if self.scope.normalized().is_some() { self.scope } else { self.scopes },
        });
        let access_token = issued.access_token.into_given().filter(|token| !token.is_empty());
        let access_token = access_token.map(Secret::new).ok_or("no access token")?;
        if !access_token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("an access token that cannot be sent in a header");
        }
        let refresh_token =
            issued.refresh_token.into_given().filter(|token| !token.is_empty()).map(Secret::new);
        let expires_in = match issued.expires_in.lifetime() {
            Some(Lifetime::Span(span)) => Some(span),
            // Not what RFC 6749 §5.1 specifies, and sent nevertheless.
            Some(Lifetime::Date(date)) => Some(date.since(now)).filter(|span| !span.is_zero()),
            None => None,
        };
        Ok((IssuedToken { access_token, expires_in, scopes: issued.scope.normalized() }, refresh_token))
    }
}
