//! The parameters with which a client selects fields of a user.

use serde_json::{Map, Value};

use crate::fake_auth0::reply::Refusal;

use super::answers::bad_query;

/// The fields that may be requested; Auth0 refuses any other.
const FIELDS: [&str; 19] = [
    "phone_number",
    "email",
    "email_verified",
    "picture",
    "username",
    "user_id",
    "name",
    "nickname",
    "created_at",
    "identities",
    "app_metadata",
    "user_metadata",
    "last_ip",
    "last_login",
    "logins_count",
    "updated_at",
    "blocked",
    "family_name",
    "given_name",
];

/// The parameters `fields` and `include_fields`.
pub(super) struct Selection {
    fields: Vec<String>,
    include: bool,
}

impl Selection {
    /// Reads a query. `others` are the names of further parameters, which are left to the caller.
    pub fn parse(query: &str, others: &[&str]) -> Result<Self, Refusal> {
        let mut selection = Self { fields: Vec::new(), include: true };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*name, &*value) {
                ("fields", "") => {}
                ("fields", list) => {
                    selection.fields = list.split(',').map(str::to_owned).collect();
                    if let Some(bad) = selection.fields.iter().find(|field| !FIELDS.contains(&field.as_str()))
                    {
                        return Err(bad_query(&format!(
                            "'String does not match the allowed fields: {bad}' on property fields \
                             (Comma-separated list of fields to include or exclude)"
                        )));
                    }
                }
                ("include_fields", "true") => selection.include = true,
                ("include_fields", "false") => selection.include = false,
                ("include_fields", other) => {
                    return Err(bad_query(&format!(
                        "'Expected type boolean but found type string: {other}' on property include_fields"
                    )));
                }
                (other, _) if others.contains(&other) => {}
                (other, _) => {
                    return Err(bad_query(&format!("'Additional properties not allowed: {other}'")));
                }
            }
        }
        Ok(selection)
    }

    /// The selected fields of a user.
    pub fn apply(&self, user: &Map<String, Value>) -> Map<String, Value> {
        let listed = |name: &str| self.fields.iter().any(|field| field == name);
        let kept = |name: &str| self.fields.is_empty() || listed(name) == self.include;
        user.iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}
