//! `GET /api/v2/users/{id}`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::fake_auth0::{TenantOptions, users};
use serde_json::json;

use super::{assert_says, claims, world, world_of};

#[tokio::test(start_paused = true)]
async fn a_user_is_answered_as_recorded() {
    let world = world();
    let answer = world.user(&world.bearer().await, "google-oauth2%7C111199914890750704174").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(answer.header("x-ratelimit-limit"), Some("50"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("49"));
    assert_eq!(answer.header("x-ratelimit-reset"), Some("1800000001"));
    let user = answer.json();
    assert_eq!(user["user_id"], users::JOHN);
    assert_eq!(user["nickname"], "john.doe");
    assert_eq!(user["last_login"], "2027-01-15T07:59:00.000Z");
    assert_eq!(
        user["identities"],
        json!([{
            "provider": "google-oauth2", "connection": "google-oauth2", "user_id": "111199914890750704174",
            "isSocial": true, "access_token": "ya29.demo-doe", "refresh_token": "1//demo-refresh-doe",
            "expires_in": 3599,
        }])
    );
}

#[tokio::test(start_paused = true)]
async fn every_refused_bearer_has_the_recorded_body() {
    let world = world();
    let path = "github%7C583231";
    let jwt_error = |message: &str| {
        json!({
            "statusCode": 401, "error": "Unauthorized", "message": message, "attributes": { "error": message },
        })
    };
    let missing = world.https.get(&format!("/api/v2/users/{path}"), &[]).await.unwrap();
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let body = json!({ "statusCode": 401, "error": "Unauthorized", "message": "Missing authentication" });
    assert_says(&missing, 401, body);

    let opaque = json!({
        "statusCode": 400, "error": "Bad Request", "message": "Bad HTTP authentication header format",
        "errorCode": "Bearer",
    });
    for authorization in ["Bearer opaque", "Bearer", "Basic YTpi", "Bearer a.b.c.d.e"] {
        assert_says(&world.user(authorization, path).await, 400, opaque.clone());
    }

    assert_says(&world.user("Bearer a.b.c", path).await, 401, jwt_error("Invalid token"));
    let good = world.bearer().await;
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 256]));
    let message = "Invalid signature received for JSON Web Token validation";
    assert_says(&world.user(&forged, path).await, 401, jwt_error(message));

    let elsewhere =
        world.tenant.user_token("auth0|me", "https://api.example/", Duration::from_secs(60)).unwrap();
    let answer = world.user(&format!("Bearer {elsewhere}"), path).await;
    assert!(answer.json()["message"].as_str().unwrap().starts_with("Bad audience: "));

    world.clock.suspend(Duration::from_secs(86_399));
    assert_eq!(world.user(&good, path).await.status, 200);
    world.clock.suspend(Duration::from_secs(1));
    let message = "Expired token received for JSON Web Token validation";
    assert_says(&world.user(&good, path).await, 401, jwt_error(message));

    let fresh = world.bearer().await;
    world.tenant.revoke_management_tokens();
    assert_says(&world.user(&fresh, path).await, 401, jwt_error("Invalid token"));
    assert_eq!(world.user(&world.bearer().await, path).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn another_tenants_signature_is_worth_nothing() {
    let (one, two) = (world(), world_of(TenantOptions { own_keys: true, ..TenantOptions::default() }));
    let bearer = two.bearer().await;
    assert_eq!(one.user(&bearer, "github%7C583231").await.json()["message"], "Invalid token");
}

#[tokio::test(start_paused = true)]
async fn a_custom_domain_issues_for_itself_and_the_canonical_audience() {
    let world =
        world_of(TenantOptions { domain: Some("acme.eu.auth0.example".into()), ..TenantOptions::default() });
    let bearer = world.bearer().await;
    let claims = claims(&bearer);
    assert_eq!(claims["aud"], "https://acme.eu.auth0.example/api/v2/");
    assert_eq!(claims["iss"], format!("https://{}/", world.listening.domain()));
    assert_eq!(world.user(&bearer, "github%7C583231").await.status, 200);
    let other_host = [("authorization", bearer.as_str()), ("host", "acme.eu.auth0.example")];
    let answer = world.https.get("/api/v2/users/github%7C583231", &other_host).await.unwrap();
    assert_eq!(answer.status, 401, "a token is good on the domain that issued it");
}

#[tokio::test(start_paused = true)]
async fn too_little_scope_is_refused_in_words() {
    let world = world();
    world.tenant.grant_scopes(&["read:clients"]);
    let insufficient = |message: &str| {
        json!({
            "statusCode": 403, "error": "Forbidden", "message": message, "errorCode": "insufficient_scope",
        })
    };
    let message = "Insufficient scope, expected any of: read:users,read:user_idp_tokens,read:current_user";
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_says(&answer, 403, insufficient(message));
    world.tenant.grant_scopes(&["read:current_user"]);
    let message = "User to be acted on does not match subject in bearer token.";
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_says(&answer, 403, insufficient(message));
    world.tenant.grant_scopes(&["read:user_idp_tokens"]);
    let answer = world.user(&world.bearer().await, "github%7C583231").await;
    assert_eq!(answer.json()["identities"][0]["access_token"], "gho_demo-octo");
}

#[tokio::test(start_paused = true)]
async fn ids_are_decoded_exactly_once() {
    let world = world();
    let bearer = world.bearer().await;
    for id in ["samlp|urn%3Ax", "auth0|a b+c", "auth0|gr\u{fc}n"] {
        assert!(world.tenant.put_user(json!({ "user_id": id, "identities": [] })));
    }
    for (path, id) in [
        ("oidc%7Ccorp%2Fjane%40corp.example", users::SLASH),
        ("oidc%7Ccorp%2fjane@corp.example", users::SLASH),
        ("samlp%7Curn%253Ax", "samlp|urn%3Ax"),
        ("auth0%7Ca%20b+c", "auth0|a b+c"),
        ("auth0%7Cgr%C3%BCn", "auth0|gr\u{fc}n"),
    ] {
        let answer = world.user(&bearer, path).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["user_id"]), (200, &json!(id)), "{path}");
        let call = world.tenant.calls().pop().unwrap();
        assert_eq!((call.path, call.user_id.as_deref()), (format!("/api/v2/users/{path}"), Some(id)));
    }
    let not_found = json!({
        "statusCode": 404, "error": "Not Found", "message": "The user does not exist.",
        "errorCode": "inexistent_user",
    });
    for path in ["samlp%7Curn%3Ax", "oidc%257Ccorp", "github%7C9919"] {
        let answer = world.user(&bearer, path).await;
        match path {
            // Encoded twice it has no bar any more, which no id lacks.
            "oidc%257Ccorp" => assert_eq!(answer.json()["errorCode"], "invalid_uri"),
            _ => assert_says(&answer, 404, not_found.clone()),
        }
    }
    let answer = world.user(&bearer, "nonsense").await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["message"],
        "Path validation error: 'Object didn't pass validation for format user-id: nonsense' on property id \
         (The user_id of the user to retrieve)."
    );
    assert_eq!(
        world.user(&bearer, "oidc%7Ccorp/jane@corp.example").await.status,
        404,
        "a raw slash is a path"
    );
}

#[tokio::test(start_paused = true)]
async fn fields_are_selected_and_only_known_ones() {
    let world = world();
    let bearer = world.bearer().await;
    let names = async |query: &str| {
        let answer = world.user(&bearer, &format!("google-oauth2%7C104040404040404040404?{query}")).await;
        match answer.status.as_u16() {
            200 => Ok(answer.json().as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(",")),
            400 => Err(answer.json()["errorCode"].as_str().unwrap().to_owned()),
            other => panic!("{other}"),
        }
    };
    let wanted = "blocked,identities,last_login,updated_at,user_id";
    assert_eq!(
        names("fields=user_id,identities,last_login,updated_at,blocked&include_fields=true").await.unwrap(),
        wanted
    );
    assert_eq!(names("fields=user_id%2Cemail").await.unwrap(), "email,user_id");
    let rest = names("fields=user_id,email,identities&include_fields=false").await.unwrap();
    assert!(rest.contains("nickname") && !rest.contains("identities") && !rest.contains("email,"), "{rest}");
    for bad in ["fields=user_id,nope", "fields=user_id,", "include_fields=1", "color=blue"] {
        assert_eq!(names(bad).await.unwrap_err(), "invalid_query_string", "{bad}");
    }
}
