//! The life of a token that a provider has issued, from the first lookup to what ends it.

use super::*;

/// A provider whose lookups last this long, so that a test sees who waits.
fn slow(desk: &Desk) {
    desk.provider.fault(ProviderFault::Latency(2 * SECOND));
}

/// The user's token, which is from the cache and without a wait.
async fn held(desk: &Desk, user: &str) -> String {
    let begun = Instant::now();
    let got = desk.get(user).await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-cache")), (200, Some("hit")), "{got:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    text(&got, "access_token")
}

/// The source of the user's token after Auth0 was asked.
async fn fresh(desk: &Desk, user: &str) -> (String, String) {
    let got = desk.get_with(user, "fresh=true").await;
    assert_eq!(got.status, 200, "{got:?}");
    (text(&got, "source"), text(&got, "access_token"))
}

#[tokio::test(start_paused = true)]
async fn an_issued_token_is_served_until_it_expires_and_one_lookup_brings_the_next() {
    let desk = Desk::new("[cache]\nrefresh_ahead = 0").await;
    let (token, cost) = desk.cost(desk.token(users::EXPIRED)).await;
    assert_eq!(cost, [1, 1]);
    assert_eq!(held(&desk, users::EXPIRED).await, token);
    // Auth0 is asked every ten minutes, and sends the expired token each time.
    for minute in 1..60 {
        sleep(MINUTE).await;
        assert_eq!(desk.token(users::EXPIRED).await, token, "{minute}");
    }
    let reads = desk.world.user_calls();
    assert!(reads == 6 && desk.provider.redemptions().len() == 1, "{reads} reads");
    // Half a minute, `cache.min_ttl`, is left at 3,569 s of 3,599 s.
    sleep(28 * SECOND).await;
    assert_eq!(held(&desk, users::EXPIRED).await, token);
    sleep(2 * SECOND).await;
    let (next, cost) = desk.cost(desk.token(users::EXPIRED)).await;
    assert!(next != token && cost == [0, 1], "{cost:?}: what Auth0 stores is known to be over");
    assert_eq!(held(&desk, users::EXPIRED).await, next);
}

#[tokio::test(start_paused = true)]
async fn a_token_in_use_is_renewed_ahead_by_one_redemption_and_no_client_waits() {
    let desk = Desk::new("").await;
    slow(&desk);
    let mut tokens = vec![desk.token(users::EXPIRED).await];
    // Three lookups every fifteen seconds, for three hours.
    for _ in 0..3 * 240 {
        sleep(15 * SECOND).await;
        for _ in 0..3 {
            tokens.push(held(&desk, users::EXPIRED).await);
        }
    }
    tokens.dedup();
    // In the last fifth of 3,599 s, which begins after 48 minutes.
    assert_eq!((tokens.len(), desk.provider.redemptions().len()), (4, 4), "{tokens:?}");
    let times: Vec<_> = desk.provider.redemptions().iter().map(|record| record.at.elapsed).collect();
    for pair in times.windows(2) {
        assert!((2_879..2_899).contains(&(pair[1] - pair[0]).as_secs()), "{times:?}");
    }
    assert_eq!(desk.provider.max_concurrent(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_asks_for_is_not_renewed() {
    let desk = Desk::new("").await;
    desk.token(users::EXPIRED).await;
    sleep(24 * HOUR).await;
    assert_eq!(desk.counts(), [1, 1]);
    let (_, cost) = desk.cost(desk.token(users::EXPIRED)).await;
    assert_eq!(cost, [1, 1]);
}

/// Providers that invalidate refresh tokens may invalidate the access token with them.
#[tokio::test(start_paused = true)]
async fn a_token_is_not_renewed_ahead_where_that_may_end_the_one_in_use() {
    let single = format!("{}rotation = \"single\"\n{STATE}", google());
    let desk = Desk::of(GOOGLE, Dialect::Google, &single).await;
    let token = desk.token(users::EXPIRED).await;
    for _ in 0..59 {
        sleep(MINUTE).await;
        assert_eq!(desk.token(users::EXPIRED).await, token);
    }
    assert_eq!(desk.provider.redemptions().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_read_of_auth0_keeps_the_issued_token_until_a_login_brings_another() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    let (kept, cost) = desk.cost(fresh(&desk, users::EXPIRED)).await;
    assert_eq!((kept, cost), (("refresh".into(), token.clone()), [1, 0]));
    // A login that reaches no provider.
    desk.world.tenant.sign_on(users::EXPIRED);
    assert_eq!(fresh(&desk, users::EXPIRED).await, ("refresh".into(), token));

    let mut family = 0;
    for (how, is_another) in
        [(LoginRefreshToken::Same, 0), (LoginRefreshToken::New, 1), (LoginRefreshToken::Absent, 0)]
    {
        let begun = desk.counts()[1];
        sleep(MINUTE).await;
        let login = desk.log_in(users::EXPIRED, how);
        assert_eq!(fresh(&desk, users::EXPIRED).await, ("identities".into(), login.clone()), "{how:?}");
        assert_eq!(held(&desk, users::EXPIRED).await, login);
        assert_eq!(desk.counts()[1], begun, "{how:?}: nothing was to be renewed");
        // Once the login's token has expired, the refresh token is redeemed that was issued last.
        sleep(2 * HOUR).await;
        let got = desk.get(users::EXPIRED).await;
        assert_eq!((got.status.as_u16(), text(&got, "source")), (200, "refresh".into()), "{how:?}");
        family += is_another;
        let position = desk.provider.redemptions().last().unwrap().position.unwrap();
        let first = desk.provider.redemptions()[0].position.unwrap().family;
        assert_eq!(position.family != first, family > 0, "{how:?}");
        assert_eq!(desk.counts()[1], begun + 1, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_replaces_the_refresh_token_although_its_token_has_expired() {
    let desk = Desk::new("").await;
    desk.token(users::EXPIRED).await;
    desk.log_in(users::EXPIRED, LoginRefreshToken::New);
    sleep(2 * HOUR).await;
    desk.token(users::EXPIRED).await;
    let records = desk.provider.redemptions();
    let [first, second] = [0, 1].map(|number| records[number].position.unwrap());
    assert!(first.family != second.family && records.len() == 2, "{records:?}");
    // And what the login has brought ends the one before for good.
    sleep(2 * HOUR).await;
    desk.token(users::EXPIRED).await;
    assert_eq!(desk.provider.redemptions()[2].position, Some(second));
}

#[tokio::test(start_paused = true)]
async fn a_redemption_does_not_replace_what_a_login_has_brought_meanwhile() {
    let desk = Desk::new("").await;
    slow(&desk);
    let (got, login) = tokio::join!(desk.get(users::EXPIRED), async {
        sleep(SECOND).await;
        let login = desk.log_in(users::EXPIRED, LoginRefreshToken::Same);
        assert_eq!(fresh(&desk, users::EXPIRED).await, ("identities".into(), login.clone()));
        login
    });
    assert_eq!(text(&got, "access_token"), login);
    assert_eq!(held(&desk, users::EXPIRED).await, login);
    assert_eq!(desk.counts(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_issued_token_leads_to_another_one() {
    let desk = Desk::new("").await;
    let first = desk.get(users::EXPIRED).await;
    let report = async |fingerprint: &str| {
        let path = World::path(users::EXPIRED).replace("/token", "/report");
        let body = json!({ "fingerprint": fingerprint }).to_string();
        let got = desk.world.send_with("POST", &path, &[("cloakroom-request", "true")], &body).await;
        text(&got, "outcome")
    };
    let fingerprint = text(&first, "fingerprint");
    assert_eq!(report(&fingerprint).await, "dropped");
    let (second, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(text(&second, "access_token"), text(&first, "access_token"));
    assert_eq!(cost, [1, 1], "Auth0 may have a newer one");
    assert_eq!(report(&fingerprint).await, "already_replaced");
    assert_eq!(held(&desk, users::EXPIRED).await, text(&second, "access_token"));
    // A valid token that Auth0 stores, and that its provider refuses.
    let stored = desk.log_in(users::EXPIRED, LoginRefreshToken::Same);
    let (source, token) = fresh(&desk, users::EXPIRED).await;
    assert_eq!((source, &token), ("identities".into(), &stored));
    assert_eq!(report(&text(&desk.get(users::EXPIRED).await, "fingerprint")).await, "dropped");
    let got = desk.get(users::EXPIRED).await;
    assert_eq!((text(&got, "source"), got.status.as_u16()), ("refresh".into(), 200));
    assert_ne!(text(&got, "access_token"), stored);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_too_short_for_a_client_is_renewed_once_and_not_for_each_lookup() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    sleep(1_000 * SECOND).await;
    let (got, cost) = desk.cost(desk.get_with(users::EXPIRED, "min_ttl=2500")).await;
    assert_eq!((text(&got, "access_token"), cost[1]), (token.clone(), 0), "2,599 s are left");
    let (got, cost) = desk.cost(desk.get_with(users::EXPIRED, "min_ttl=2600")).await;
    assert_eq!((got.status.as_u16(), cost[1]), (200, 1), "{got:?}");
    assert_ne!(text(&got, "access_token"), token);
    assert_eq!(got.json()["expires_in"], 3_599);

    // No token of this provider lasts for two hours.
    sleep(MINUTE).await;
    let in_vain = async || {
        let got = desk.get_with(users::EXPIRED, "min_ttl=2h").await;
        (got.problem(), got.json()["expires_in"].as_u64().unwrap(), got.retry_after().unwrap())
    };
    let unsatisfiable = || (422, "min_ttl_unsatisfiable".to_owned());
    let (outcome, cost) = desk.cost(in_vain()).await;
    assert_eq!((outcome, cost[1]), ((unsatisfiable(), 3_599, 30), 1));
    sleep(10 * SECOND).await;
    let (outcome, cost) = desk.cost(in_vain()).await;
    assert_eq!((outcome, cost), ((unsatisfiable(), 3_589, 20), [0, 0]));
    sleep(21 * SECOND).await;
    let (outcome, cost) = desk.cost(in_vain()).await;
    assert_eq!((outcome, cost[1]), ((unsatisfiable(), 3_599, 30), 1));
}

#[tokio::test(start_paused = true)]
async fn two_accounts_of_one_connection_are_each_renewed_by_their_own_refresh_token() {
    let desk = Desk::new("").await;
    let both = desk.get(users::EXPIRED_TWINS).await;
    assert_eq!(both.problem(), (409, "ambiguous_identity".into()));
    let accounts = ["100000000000000000006", "1035"];
    let listed = both.json()["identities"].as_array().unwrap().clone();
    assert_eq!(listed.iter().map(|one| &one["identity_user_id"]).collect::<Vec<_>>(), accounts);
    assert_eq!(desk.counts()[1], 0, "none is meant");

    let of = accounts.map(|account| format!("identity_user_id={account}"));
    let got = join_all(of.iter().map(|one| desk.get_with(users::EXPIRED_TWINS, one))).await;
    let tokens: Vec<_> = got.iter().map(|got| text(got, "access_token")).collect();
    assert_ne!(tokens[0], tokens[1]);
    for (got, account) in got.iter().zip(accounts) {
        assert_eq!((text(got, "source"), text(got, "identity_user_id")), ("refresh".into(), account.into()));
    }
    let mut families: Vec<_> =
        desk.provider.redemptions().iter().map(|record| record.position.unwrap().family).collect();
    families.sort_unstable();
    families.dedup();
    assert_eq!((families.len(), desk.provider.redemptions().len()), (2, 2));
    // Neither has replaced the other.
    for (one, token) in of.iter().zip(&tokens) {
        let (got, cost) = desk.cost(desk.get_with(users::EXPIRED_TWINS, one)).await;
        assert_eq!((&text(&got, "access_token"), cost), (token, [0, 0]));
    }
    // What ends one leaves the other alone.
    assert_eq!(desk.get(users::EXPIRED_TWINS).await.problem(), (409, "ambiguous_identity".into()));
}

#[tokio::test(start_paused = true)]
async fn a_blocked_users_token_is_neither_renewed_nor_served() {
    let desk = Desk::new("").await;
    let blocked = (403, "user_blocked".into());
    assert_eq!(desk.get(users::BLOCKED_EXPIRED).await.problem(), blocked);
    assert_eq!(desk.counts(), [1, 0]);
    desk.token(users::EXPIRED).await;
    desk.world.tenant.block(users::EXPIRED);
    // After `cache.max_ttl`, and without a further redemption.
    sleep(10 * MINUTE + SECOND).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.problem(), cost), (blocked, [1, 0]));
}
