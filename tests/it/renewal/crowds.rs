//! Many lookups at once: of one user, and of many users whose connection's client is refused.

use cloakroom::cache::{LookupOptions, Served};
use cloakroom::domain::error::LookupError;
use cloakroom::domain::source::{Source, SourceFault, SourceProblem};
use cloakroom::domain::user::{Selector, UserId};

use super::*;
use crate::support::log::Log;
use crate::support::world::{FLOW, query};

const STARTS: &str = "The provider refuses to renew tokens until this is fixed";
const ENDS: &str = "The provider renews tokens again";

/// A lookup without a socket, of which there are not as many.
async fn look_up(desk: &Desk, user: &str) -> Result<Served, LookupError> {
    let user = UserId::parse(user).unwrap();
    desk.world.cache().look_up(query(&user, &Selector::default(), LookupOptions::default()), FLOW).await
}

/// Adds users whose token has expired, with a refresh token that the provider knows.
fn enrol(desk: &Desk, many: usize) -> Vec<String> {
    let ids: Vec<_> = (0..many).map(|number| format!("google-oauth2|crowd-{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        assert!(desk.world.tenant.put_user(json!({
            "user_id": id,
            "last_login": "2026-11-21T10:00:00.000Z",
            "identities": [{
                "connection": GOOGLE, "provider": GOOGLE, "user_id": format!("crowd-{number}"),
                "access_token": format!("ya29.demo-crowd-{number}"), "expires_in": 3_599,
                "refresh_token": format!("1//demo-refresh-crowd-{number}"),
            }],
        })));
    }
    assert_eq!(desk.provider.adopt(&desk.world.tenant, GOOGLE), many);
    ids
}

#[tokio::test(start_paused = true)]
async fn a_thousand_lookups_of_an_expired_token_are_one_redemption_even_if_clients_leave() {
    let desk = Desk::new("").await;
    desk.world.tenant.fault(Endpoint::User, Fault::Latency(SECOND));
    desk.provider.fault(ProviderFault::Latency(SECOND));
    let lookups = (0..1_000).map(|number| {
        // A hundred leave while Auth0 is asked, the one that started everything among them, and a hundred while the
        // provider is.
        let patience = match number {
            0..100 => SECOND / 2,
            100..200 => SECOND * 3 / 2,
            _ => MINUTE,
        };
        timeout(patience, look_up(&desk, users::EXPIRED))
    });
    let outcomes = join_all(lookups).await;
    assert!(outcomes[..200].iter().all(Result::is_err));
    let token = "ya29.demo-google";
    let mut issued: Vec<_> = outcomes[200..]
        .iter()
        .map(|outcome| {
            let (_, token) = outcome.as_ref().unwrap().as_ref().unwrap().token();
            assert_eq!(token.source, Source::Refresh);
            token.access_token.expose()
        })
        .collect();
    assert_eq!(issued.len(), 800);
    issued.dedup();
    assert!(matches!(issued[..], [only] if only.starts_with(token)), "{issued:?}");
    assert_eq!(desk.counts(), [1, 1]);
    assert_eq!(desk.provider.redemptions()[0].answer, Answered::Token);
}

/// With threads: a client that misses while an answer lands finds it, and asks nobody again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_several_threads_too_an_expired_token_is_redeemed_once() {
    let rate = format!("{BUDGET}[providers]\nrequests_per_second = 1000\nburst = 1000\n");
    let desk = Arc::new(Desk::new(&rate).await);
    let ids = enrol(&desk, 100);
    for id in ids {
        let mut lookups = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (desk, id) = (Arc::clone(&desk), id.clone());
            lookups.spawn(async move { look_up(&desk, &id).await.map(|served| served.token().1.source) });
        }
        for outcome in lookups.join_all().await {
            assert_eq!(outcome, Ok(Source::Refresh));
        }
    }
    assert_eq!(desk.counts(), [100, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_redemption_whose_client_hangs_up_is_completed_for_the_next_client() {
    let desk = Desk::new("").await;
    desk.provider.fault(ProviderFault::Latency(2 * SECOND));
    assert!(timeout(SECOND, desk.get(users::EXPIRED)).await.is_err());
    assert_eq!(desk.counts(), [1, 1]);
    sleep(2 * SECOND).await;
    let (got, cost) = desk.cost(desk.get(users::EXPIRED)).await;
    assert_eq!((got.status.as_u16(), got.header("cloakroom-cache"), cost), (200, Some("hit"), [0, 0]));
    assert_eq!(text(&got, "source"), "refresh");
}

/// An outage must not reach each user: a request that fails may have invalidated a refresh token.
#[tokio::test(start_paused = true)]
async fn an_outage_costs_the_provider_few_requests_however_many_users_ask() {
    let desk = Desk::new(BUDGET).await;
    let ids = enrol(&desk, 300);
    desk.provider.fault(ProviderFault::Before(Breakdown::Status(503, WaitHint::None)));
    for _ in 0..60 {
        for outcome in join_all(ids.iter().map(|id| look_up(&desk, id))).await {
            let Err(LookupError::Source(error)) = outcome else { panic!("{outcome:?}") };
            assert!(matches!(error.problem, SourceProblem::Unavailable { .. }), "{error:?}");
        }
        sleep(10 * SECOND).await;
    }
    // Those of the first moment, and one in thirty seconds or so after that.
    let [reads, redemptions] = desk.counts();
    assert!(redemptions <= 100 && reads <= 600, "{redemptions} redemptions, {reads} reads");
    desk.provider.clear();
    sleep(31 * SECOND).await;
    assert!(look_up(&desk, &ids[0]).await.is_ok());
    assert!(look_up(&desk, &ids[299]).await.is_ok());
}

/// Looks the users up, fifty at a time: as many as the rate of a host lets through within the timeout. Returns how
/// often each outcome came.
async fn all(desk: &Desk, ids: &[String]) -> (usize, usize) {
    let (mut issued, mut refused) = (0, 0);
    for some in ids.chunks(50) {
        for outcome in join_all(some.iter().map(|id| look_up(desk, id))).await {
            match outcome {
                Ok(served) => {
                    assert_eq!(served.token().1.source, Source::Refresh);
                    issued += 1;
                }
                Err(LookupError::Source(error)) => {
                    assert_eq!(error.problem, SourceProblem::Misconfigured(SourceFault::ProviderClient));
                    refused += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    (issued, refused)
}

/// The tenant's budget, which is not what these tests are about.
const BUDGET: &str = "[upstream]\nrequests_per_second = 2000\nburst = 2000\nmax_concurrency = 1000\n";

#[tokio::test(start_paused = true)]
async fn ten_thousand_users_of_a_wrong_secret_need_no_login_and_the_right_one_heals_at_once() {
    let log = Log::new();
    let settings = format!("{}{BUDGET}", google());
    let desk = Desk::of(GOOGLE, Dialect::Google, &settings).await;
    let ids = enrol(&desk, 10_000);
    desk.provider.set_client_secrets([Secret::new("another")]);
    desk.provider.fault(ProviderFault::Latency(SECOND / 20));

    let begun = Instant::now();
    assert_eq!(all(&desk, &ids).await, (0, 10_000));
    // Those that were sent before the first answer, and one in five seconds or more after that.
    let [reads, redemptions] = desk.counts();
    let probes = usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    assert!(reads == 10_000 && (1..=50 + probes).contains(&redemptions), "{redemptions}, {probes} probes");
    let got = desk.get(&ids[0]).await;
    assert_eq!(got.problem(), (502, "source_misconfigured".into()));
    assert!(got.detail().contains("client_id and secret_file") && got.json()["permanent"] == true, "{got:?}");
    let troubles = log.text().lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).count();
    assert_eq!((log.lines(STARTS), troubles), (1, 1), "{}", log.text());

    // And so for an hour, in which clients ask again and again.
    let (_, cost) = desk
        .cost(async {
            for _ in 0..60 {
                sleep(MINUTE).await;
                assert_eq!(all(&desk, &ids[..10]).await, (0, 10));
            }
        })
        .await;
    assert!(cost[1] <= 62, "{cost:?}");
    assert_eq!((log.lines(STARTS), log.lines(ENDS)), (1, 0), "{}", log.text());

    assert_eq!(all(&desk, &ids[..200]).await, (0, 200));
    write_private(&desk.world.directory.path().join("connection-secret"), "another");
    desk.world.reload(&settings).await.unwrap();
    let ((issued, refused), cost) = desk.cost(all(&desk, &ids[..200])).await;
    assert_eq!((issued, refused, cost), (200, 0, [0, 200]), "what Auth0 stores is known");
    assert!(log.text().contains("Configuration reloaded"));
    for secret in ["another", "demo-connection-secret", "demo-refresh", "ya29."] {
        assert!(!log.text().contains(secret), "{}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_the_provider_refuses_is_rescued_by_the_previous_one() {
    let log = Log::new();
    let tenant = in_memory::tenant(TenantOptions::default());
    let settings = format!("{}previous_secret_file = \"{{dir}}/secret\"\n", google());
    let desk = Desk::before(tenant, GOOGLE, Dialect::Google, &settings).await;
    // What `{dir}/secret` contains.
    desk.provider.set_client_secrets([Secret::new("demo-client-secret")]);
    let ids = enrol(&desk, 20);
    for id in &ids {
        assert_eq!(look_up(&desk, id).await.unwrap().token().1.source, Source::Refresh);
    }
    let secrets: Vec<_> = desk.provider.redemptions().iter().map(|record| record.secret).collect();
    assert_eq!(secrets[..2], [None, Some(0)], "the current one is tried first, once");
    assert!(secrets.len() == 21 && secrets[1..].iter().all(|secret| *secret == Some(0)), "{secrets:?}");
    assert_eq!((log.lines("still accepts the previous one"), log.lines(STARTS)), (1, 0), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_expires_takes_no_valid_token_from_anyone() {
    let desk = Desk::new("").await;
    let token = desk.token(users::EXPIRED).await;
    desk.provider.set_client_secrets([]);
    // To its end, half a minute of which is `cache.min_ttl`.
    for _ in 0..59 {
        sleep(MINUTE).await;
        assert_eq!(desk.token(users::EXPIRED).await, token);
        assert_eq!(desk.get(users::NO_REFRESH_TOKEN).await.problem().0, 410, "its own user's doing");
    }
    sleep(MINUTE).await;
    assert_eq!(desk.get(users::EXPIRED).await.problem(), (502, "source_misconfigured".into()));
    assert!(desk.provider.redemptions().len() <= 20, "{}", desk.provider.redemptions().len());
    // The stored token of another user is not the source's business.
    desk.world.tenant.login(users::GOOGLE, GOOGLE).unwrap();
    let got = desk.get(users::GOOGLE).await;
    assert_eq!((got.status.as_u16(), text(&got, "source")), (200, "identities".into()));
}
