//! What answers, the audit log, metrics and `status` say about tokens that a provider has issued.

use cloakroom::fake_auth0::ExpiresIn;
use cloakroom::fake_auth0::provider::{Change, Refused};

use super::*;
use crate::support::audit_lines::lines;

const CALENDAR: &str = "https://www.googleapis.com/auth/calendar.readonly";

#[tokio::test(start_paused = true)]
async fn an_answer_says_where_its_token_comes_from_and_what_is_granted() {
    let desk = Desk::new("").await;
    let mut body = desk.get(users::EXPIRED).await.json();
    let (token, fingerprint) = (body["access_token"].take(), body["fingerprint"].take());
    assert!(desk.provider.is_alive(token.as_str().unwrap()) && fingerprint.as_str().unwrap().len() == 16);
    assert_eq!(
        body,
        json!({
            "user_id": users::EXPIRED, "connection": GOOGLE, "provider": GOOGLE,
            "identity_user_id": "109876543210987654321", "access_token": null, "token_type": "Bearer",
            "expires_at": "2026-11-22T10:59:59Z", "expires_in": 3_599, "expiry_basis": "issued",
            "source": "refresh", "scopes": [CALENDAR, "openid", "email"],
            "fetched_at": "2026-11-22T10:00:00Z", "fingerprint": null,
        })
    );
    let identities = World::path(users::EXPIRED).replace("/token", "/identities");
    let identities = desk.world.get(&identities).await.json();
    assert_eq!(identities["identities"][0]["token"], "available");
    let listed = identities.to_string();
    assert!(!listed.contains("ya29.") && !listed.contains("demo-refresh"), "{listed}");
}

#[tokio::test(start_paused = true)]
async fn a_user_gets_a_renewed_token_with_a_token_of_its_own() {
    let api = "https://api.acme.example";
    let desk = Desk::new(&format!("[me]\naudiences = [{api:?}]\n")).await;
    let session = desk.world.tenant.user_token(users::EXPIRED, api, HOUR).unwrap();
    let (authorization, header) = (format!("Bearer {session}"), ("cloakroom-request", "true"));
    let me = async |parameters: &str| {
        let path = format!("/v1/me/token{parameters}");
        desk.world.send("GET", &path, &[header, ("authorization", &authorization)]).await
    };
    let got = me("").await;
    assert_eq!((got.status.as_u16(), text(&got, "source")), (200, "refresh".into()));
    assert_eq!(text(&desk.get(users::EXPIRED).await, "access_token"), text(&got, "access_token"));
    assert_eq!(me("?scope=drive").await.problem(), (409, "insufficient_scope".into()));
    assert_eq!(desk.counts(), [1, 1]);
}

/// The time that an answer takes may be the token's.
#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_when_the_provider_was_asked() {
    let desk = Desk::new("").await;
    desk.provider.fault(ProviderFault::LateAnswer(2 * SECOND));
    assert_eq!(desk.get(users::EXPIRED).await.json()["expires_in"], 3_597);
}

#[tokio::test(start_paused = true)]
async fn the_basis_of_an_expiry_is_what_states_it() {
    let google =
        |assumed: &str| google().replace("[connection.refresh]", &format!("{assumed}[connection.refresh]"));
    let assumed = google("assumed_ttl = \"10m\"\n");
    let entra = || connection("entra", REFRESHED, Dialect::Microsoft);
    let (expired, expired_entra) = (users::EXPIRED, users::EXPIRED_ENTRA);
    let (text_form, missing) = (Some(ExpiresIn::Text), Some(ExpiresIn::Missing));
    for (settings, user, change, expires_in, basis) in [
        (google(""), expired, None, json!(3_599), "issued"),
        (google(""), expired, text_form, json!(3_599), "issued"),
        (google(""), expired, missing, Value::Null, "none"),
        (google(""), expired, Some(ExpiresIn::Zero), Value::Null, "none"),
        (google(""), expired, Some(ExpiresIn::Negative), Value::Null, "none"),
        (assumed.clone(), expired, missing, json!(600), "assumed"),
        (assumed, expired, None, json!(3_599), "issued"),
        (entra(), expired_entra, missing, json!(3_599), "jwt"),
        (entra(), expired_entra, None, json!(3_599), "issued"),
    ] {
        let (name, dialect) =
            if user == expired { (GOOGLE, Dialect::Google) } else { ("entra", Dialect::Microsoft) };
        let desk = Desk::of(name, dialect, &settings).await;
        if let Some(kind) = change {
            desk.provider.fault(ProviderFault::Changed(Change::ExpiresIn(kind)));
        }
        let body = desk.get(user).await.json();
        let found = (body["expires_in"].clone(), body["expiry_basis"].as_str().unwrap());
        assert_eq!(found, (expires_in, basis), "{change:?} {settings}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_issued_with_less_than_min_ttl_left_is_neither_served_nor_asked_for_in_a_loop() {
    let desk = Desk::new("").await;
    desk.provider.set_rules(|rules| rules.lifetime = Some(20 * SECOND));
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.problem(), cost), ((503, "provider_unavailable".into()), [1, 1]));
    assert!(got.detail().contains("cache.min_ttl"), "{got:?}");
    let (_, cost) = desk
        .cost(async {
            for _ in 0..20 {
                sleep(SECOND).await;
                assert_eq!(desk.get(users::EXPIRED).await.status, 503);
            }
        })
        .await;
    assert!(cost[1] <= 1, "{cost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_known_to_be_missing_is_409_with_the_login_that_brings_it() {
    let desk = Desk::new("").await;
    let lacking = "https://www.googleapis.com/auth/drive";
    for (scope, status) in [("openid", 200), ("openid%20email", 200), ("openid%20drive", 409)] {
        let got = desk.get_with(users::EXPIRED, &format!("scope={scope}")).await;
        assert_eq!(got.status, status, "{scope}: {got:?}");
    }
    let got = desk.get_with(users::EXPIRED, &format!("scope=openid%20{lacking}")).await;
    assert_eq!(got.problem(), (409, "insufficient_scope".into()));
    let body = got.json();
    assert_eq!(
        (&body["missing"], &body["scopes"]),
        (&json!([lacking]), &json!([CALENDAR, "openid", "email"]))
    );
    let request = json!({
        "connection": GOOGLE, "connection_scope": format!("{CALENDAR},openid,email,{lacking}"),
    });
    assert_eq!(body["request"], request);
    assert!(!body.to_string().contains("ya29."));
    assert_eq!(desk.provider.redemptions().len(), 1, "a refresh adds no scope");
    // The token is still served to a client that needs less.
    assert_eq!(desk.get(users::EXPIRED).await.header("cloakroom-cache"), Some("hit"));
}

#[tokio::test(start_paused = true)]
async fn scopes_that_are_not_known_are_null_and_refuse_nothing() {
    let desk = Desk::new("").await;
    desk.provider.fault_next(1, ProviderFault::Changed(Change::NoScope));
    for user in [users::EXPIRED, users::GOOGLE] {
        let got = desk.get_with(user, "scope=drive").await;
        assert_eq!((got.status.as_u16(), &got.json()["scopes"]), (200, &Value::Null), "{user}");
    }
    desk.provider.fault_next(1, ProviderFault::Changed(Change::CommaScopes));
    let got = desk.get_with(users::SEVERAL, "connection=google-oauth2&scope=email").await;
    assert_eq!(got.json()["scopes"], json!([CALENDAR, "openid", "email"]));
}

/// The outcomes of every kind, and what is counted and audited of them.
#[tokio::test(start_paused = true)]
async fn each_outcome_is_counted_audited_and_shown() {
    let settings = format!("{}[audit]\nevents = \"all\"\noutput = \"{{dir}}/audit.log\"\n", google());
    let desk = Desk::of(GOOGLE, Dialect::Google, &settings).await;
    let user = users::EXPIRED;
    let renew = async |fault: Option<ProviderFault>| {
        if let Some(fault) = fault {
            desk.provider.fault_next(1, fault);
        }
        let path = World::path(user).replace("/token", "?credentials=true");
        desk.world.send("DELETE", &path, &[("cloakroom-request", "true")]).await;
        let got = desk.get(user).await;
        sleep(2 * MINUTE).await;
        got.status.as_u16()
    };
    assert_eq!(renew(None).await, 200);
    assert_eq!(desk.get(user).await.status, 200, "a hit");
    assert_eq!(desk.get_with(user, "scope=drive").await.status, 409);
    assert_eq!(renew(Some(ProviderFault::Refused(Refused::InvalidGrant))).await, 410);
    assert_eq!(renew(Some(ProviderFault::Before(Breakdown::Status(429, WaitHint::None)))).await, 503);
    assert_eq!(
        renew(Some(ProviderFault::Before(Breakdown::Redirect("https://elsewhere/".into())))).await,
        503
    );
    assert_eq!(renew(Some(ProviderFault::Refused(Refused::InvalidClient))).await, 502);

    let metrics = String::from_utf8(desk.world.get("/metrics").await.body.to_vec()).unwrap();
    let counted: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("cloakroom_source_requests_total")).collect();
    let expected = ["failed", "issued", "misconfigured", "over", "throttled"].map(|outcome| {
        let labels = format!("source=\"refresh\",connection=\"google-oauth2\",outcome=\"{outcome}\"");
        format!("cloakroom_source_requests_total{{{labels}}} 1.0")
    });
    assert_eq!(counted, expected);
    assert!(metrics.contains("cloakroom_source_request_duration_seconds_count 5\n"));
    let status = desk.world.get("/v1/status").await.json();
    assert_eq!(status["sources"].as_array().unwrap().len(), 1);
    let source = &status["sources"][0];
    assert_eq!((&source["connection"], &source["source"]), (&json!(GOOGLE), &json!("refresh")));
    assert_eq!(source["host"], "oauth2.googleapis.com");
    assert!(source["misconfigured"].as_str().unwrap().contains("client_id and secret_file"), "{source}");
    assert_eq!(renew(None).await, 200);
    assert_eq!(desk.world.get("/v1/status").await.json()["sources"][0]["misconfigured"], Value::Null);

    let (path, directory) = (desk.world.directory.path().join("audit.log"), desk.world.directory);
    desk.world.running.stop().await;
    let lines = lines(&path);
    let tokens = lines.iter().filter(|line| line["operation"] == "token");
    let gists: Vec<_> = tokens
        .map(|line| ["outcome", "code", "cache", "source"].map(|key| line[key].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        gists,
        [
            ["answered", "-", "miss", "refresh"],
            ["answered", "-", "hit", "refresh"],
            ["negative", "insufficient_scope", "-", "-"],
            ["negative", "login_required", "-", "-"],
            ["error", "provider_unavailable", "-", "-"],
            ["error", "provider_unavailable", "-", "-"],
            ["error", "source_misconfigured", "-", "-"],
            ["answered", "-", "miss", "refresh"],
        ]
    );
    drop(directory);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_counted_where_nothing_is_configured() {
    let tenant = in_memory::tenant(TenantOptions::default());
    let desk = Desk::before(tenant, GOOGLE, Dialect::Google, "").await;
    desk.get(users::EXPIRED).await;
    let metrics = String::from_utf8(desk.world.get("/metrics").await.body.to_vec()).unwrap();
    let samples = metrics.lines().filter(|line| line.starts_with("cloakroom_source_requests_total"));
    assert_eq!(samples.collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(desk.world.get("/v1/status").await.json()["sources"], json!([]));
}
