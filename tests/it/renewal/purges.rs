//! What a purge and a reload do to a renewal, before it, during it and after it.

use super::*;

const HEADER: (&str, &str) = ("cloakroom-request", "true");

/// A connection at Microsoft, which issues another refresh token each time and accepts the old ones as well.
async fn entra(settings: &str) -> Desk {
    let connection = connection("entra", REFRESHED, Dialect::Microsoft);
    Desk::of("entra", Dialect::Microsoft, &format!("{connection}{settings}")).await
}

async fn purge(desk: &Desk, user: &str, parameters: &str) {
    let path = format!("{}{parameters}", World::path(user).trim_end_matches("/token"));
    assert_eq!(desk.world.send("DELETE", &path, &[HEADER]).await.status, 204);
}

/// The number of the refresh token that was redeemed last; the first is the one that Auth0 stores.
fn generation(desk: &Desk) -> usize {
    desk.provider.redemptions().last().unwrap().position.unwrap().generation
}

#[tokio::test(start_paused = true)]
async fn a_purge_forgets_the_token_and_keeps_what_a_refresh_needs_unless_told_otherwise() {
    let desk = entra("").await;
    let first = desk.token(users::EXPIRED_ENTRA).await;
    assert_eq!(generation(&desk), 0);
    for (parameters, expected) in
        [("", 1), ("?credentials=false", 2), ("?credentials=true", 0), ("", 4), ("?credentials=true", 0)]
    {
        purge(&desk, users::EXPIRED_ENTRA, parameters).await;
        let (token, cost) = desk.cost(desk.token(users::EXPIRED_ENTRA)).await;
        assert!(token != first && cost == [1, 1], "{parameters}: {cost:?}");
        assert_eq!(generation(&desk), expected, "{parameters}");
    }
    // And so for all users.
    for (path, expected) in [("/v1/users", true), ("/v1/users?credentials=true", false)] {
        assert_eq!(desk.world.send("DELETE", path, &[HEADER]).await.status, 204);
        desk.token(users::EXPIRED_ENTRA).await;
        assert_eq!(generation(&desk) > 0, expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_during_a_redemption_keeps_nothing_of_it_and_answers_who_was_there_before() {
    let desk = entra("").await;
    desk.provider.fault(ProviderFault::Latency(2 * SECOND));
    let (before, (), after) = tokio::join!(
        desk.get(users::EXPIRED_ENTRA),
        async {
            sleep(SECOND).await;
            purge(&desk, users::EXPIRED_ENTRA, "").await;
        },
        async {
            sleep(SECOND * 3 / 2).await;
            desk.get(users::EXPIRED_ENTRA).await
        },
    );
    assert_eq!((before.status.as_u16(), after.status.as_u16()), (200, 200));
    assert_ne!(text(&before, "access_token"), text(&after, "access_token"));
    let held = desk.get(users::EXPIRED_ENTRA).await;
    assert_eq!(held.header("cloakroom-cache"), Some("hit"));
    assert_eq!(text(&held, "access_token"), text(&after, "access_token"));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_redemption_is_kept_if_its_user_is_purged_with_credentials_meanwhile() {
    let desk = entra("").await;
    desk.provider.fault(ProviderFault::Latency(2 * SECOND));
    let (before, ()) = tokio::join!(desk.get(users::EXPIRED_ENTRA), async {
        sleep(SECOND).await;
        purge(&desk, users::EXPIRED_ENTRA, "?credentials=true").await;
    });
    assert_eq!(before.status, 200);
    assert_eq!(desk.world.cache().size().0, 0, "the cache is empty");
    let (got, cost) = desk.cost(desk.get(users::EXPIRED_ENTRA)).await;
    assert_eq!((got.status.as_u16(), cost), (200, [1, 1]));
    assert_eq!(generation(&desk), 0, "the successor of this one was issued to a user who is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_user_is_forgotten_with_the_refresh_token() {
    let desk = entra("").await;
    desk.token(users::EXPIRED_ENTRA).await;
    let user = desk.world.tenant.remove_user(users::EXPIRED_ENTRA).unwrap();
    let (got, cost) = desk.cost(desk.get_with(users::EXPIRED_ENTRA, "fresh=true")).await;
    assert_eq!((got.problem(), cost), ((404, "user_not_found".into()), [1, 0]));
    assert!(desk.world.tenant.put_user(user));
    sleep(MINUTE).await;
    desk.token(users::EXPIRED_ENTRA).await;
    assert_eq!(generation(&desk), 0, "that of another user with this id");
}

#[tokio::test(start_paused = true)]
async fn a_reload_during_a_redemption_costs_no_client_its_token() {
    let settings = google();
    let desk = Desk::of(GOOGLE, Dialect::Google, &settings).await;
    desk.provider.fault(ProviderFault::Latency(2 * SECOND));
    // The connection stays, is changed, and goes.
    let changed = settings.replace(REFRESHED, "[\"refresh\", \"identities\"]");
    for next in [&settings, &changed, &String::new()] {
        desk.world.reload(&settings).await.unwrap();
        purge(&desk, users::EXPIRED, "").await;
        let (got, reloaded) = tokio::join!(desk.get(users::EXPIRED), async {
            sleep(SECOND).await;
            desk.world.reload(next).await
        });
        assert!(reloaded.is_ok());
        assert_eq!((got.status.as_u16(), text(&got, "source")), (200, "refresh".into()), "{next}");
    }
    // The connection is gone, and so is its token once Auth0 was asked.
    let begun = desk.provider.redemptions().len();
    sleep(10 * MINUTE + SECOND).await;
    assert_eq!(refusal(&desk.get(users::EXPIRED).await), login_required("expired"));
    assert_eq!(desk.provider.redemptions().len(), begun);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_adds_a_connection_renews_what_was_over() {
    let tenant = in_memory::tenant(TenantOptions::default());
    let desk = Desk::before(tenant, GOOGLE, Dialect::Google, "").await;
    assert_eq!(refusal(&desk.get(users::EXPIRED).await), login_required("expired"));
    let [changed, needs_restart] = desk.world.reload(&google()).await.unwrap();
    assert!(needs_restart.is_empty() && !changed.is_empty(), "{changed:?} {needs_restart:?}");
    sleep(31 * SECOND).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.status.as_u16(), cost), (200, [1, 1]));
}
