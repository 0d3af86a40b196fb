//! The discovery document of a tenant, at `/.well-known/openid-configuration`.

use serde_json::{Value, json};

use super::state::State;

/// The discovery document at this host.
pub(super) fn document(state: &State, host: &str) -> Value {
    let mut document = json!({
        "issuer": format!("https://{host}/"),
        "authorization_endpoint": format!("https://{host}/authorize"),
        "token_endpoint": format!("https://{host}/oauth/token"),
        "userinfo_endpoint": format!("https://{host}/userinfo"),
        "jwks_uri": format!("https://{host}/.well-known/jwks.json"),
        "response_types_supported": ["code", "token", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256"],
    });
    if let (Some(mtls), true, Some(members)) =
        (&state.mtls_host, state.mtls_aliases, document.as_object_mut())
    {
        members.insert(
            "mtls_endpoint_aliases".into(),
            json!({
                "token_endpoint": format!("https://{mtls}/oauth/token"),
                "userinfo_endpoint": format!("https://{mtls}/userinfo"),
            }),
        );
        if let Some(methods) = members.get_mut("token_endpoint_auth_methods_supported") {
            methods.as_array_mut().into_iter().for_each(|methods| methods.push("tls_client_auth".into()));
        }
    }
    document
}
