//! Clients' own calls of the Management API: the token that they carry, and the budget that they share with lookups.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cloakroom::app::transports::Transports;
use cloakroom::app::{self, Deps, Running};
use cloakroom::cache::{ForWhom, LookupOptions};
use cloakroom::clock::Clock;
use cloakroom::config::{self, Config, Env};
use cloakroom::domain::error::{Failure, LookupError, Refusal};
use cloakroom::domain::priority::{Flow, Priority};
use cloakroom::domain::user::{Selector, UserId};
use cloakroom::fake_auth0::{Endpoint, Fault, Tenant, TenantOptions, WaitHint, users};
use cloakroom::management::calls::{Called, ManagementCallFailure};
use cloakroom::process::notify::ServiceManager;
use cloakroom::transport::streaming::{Opening, StreamBody, StreamingTransport};
use cloakroom::transport::{Sending, Transport};
use cloakroom::upstream::budget::Budget;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{AUTHORIZATION, HeaderMap, USER_AGENT};
use hyper::{Request, Response};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::configuration::configuration;
use crate::support::futures::join_all;
use crate::support::in_memory::{InMemory, configure_in, quiet, tenant};
use crate::support::world::query;

const SECOND: Duration = Duration::from_secs(1);
const TABLE: &str = "[management_api]\nclient_id = \"calls\"\nsecret = \"calls-secret\"\n";
const FLOW: Flow = Flow::Uid(1000);

/// What Auth0 would know of the second application, which the simulated tenant does not have: its grants are made as
/// those of the first one, with scopes of its own.
struct TwoApplications {
    inner: Arc<InMemory>,
    scopes: Mutex<String>,
    /// Grants to the second application.
    grants: Mutex<usize>,
    /// The targets and headers of requests that are not grants.
    sent: Mutex<Vec<(String, HeaderMap)>>,
}

impl Transport for TwoApplications {
    fn send(&self, request: Request<Full<Bytes>>) -> Sending<'_> {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let mut body = body.collect().await.unwrap().to_bytes();
            if parts.uri.path() != "/oauth/token" {
                let target = parts.uri.path_and_query().unwrap().to_string();
                self.sent.lock().unwrap().push((target, parts.headers.clone()));
            }
            let form = String::from_utf8_lossy(&body).into_owned();
            if form.contains("client_id=calls&client_secret=calls-secret") {
                *self.grants.lock().unwrap() += 1;
                let scopes = self.scopes.lock().unwrap().replace(' ', "+");
                let own = "client_id=demo-client&client_secret=demo-client-secret";
                let form = form.replace("client_id=calls&client_secret=calls-secret", own);
                body = format!("{form}&scope={scopes}").into();
                parts.headers.remove("content-length");
            }
            self.inner.send(Request::from_parts(parts, Full::new(body))).await
        })
    }
}

/// The tenant's stand-in takes and gives bodies as a whole.
impl StreamingTransport for TwoApplications {
    fn open(&self, request: Request<StreamBody>) -> Opening<'_> {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = Full::new(body.collect().await.unwrap().to_bytes());
            let answer = self.send(Request::from_parts(parts, body)).await?;
            let body = Full::new(answer.body).map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
            Ok(response)
        })
    }
}

struct Calls {
    tenant: Tenant,
    clock: Clock,
    auth0: Arc<TwoApplications>,
    running: Running,
    directory: TempDir,
    text: Arc<Mutex<String>>,
    upstream: config::Upstream,
}

impl Calls {
    async fn with(scopes: &str, settings: &str) -> Self {
        let options = TenantOptions {
            scopes: ["read:users", "read:user_idp_tokens", "update:users"].map(str::to_owned).into(),
            token_lifetime: 1000 * SECOND,
            ..TenantOptions::default()
        };
        let (tenant, clocks) = tenant(options);
        let directory = tempfile::tempdir().unwrap();
        let config: Config = configure_in(&directory, "tenant.example", &tenant, None, settings);
        let auth0 = Arc::new(TwoApplications {
            inner: InMemory::to(&tenant, &config),
            scopes: Mutex::new(scopes.to_owned()),
            grants: Mutex::default(),
            sent: Mutex::default(),
        });
        let transports = Transports {
            management_api: Some(Arc::clone(&auth0) as Arc<dyn StreamingTransport>),
            ..Transports::only(Arc::clone(&auth0) as Arc<dyn Transport>)
        };
        let text: Arc<Mutex<String>> = Arc::default();
        let source = app::reload::ConfigSource {
            load: Box::new({
                let text = Arc::clone(&text);
                move || config::parse("test.toml", &text.lock().unwrap(), &Env::default()).map(quiet)
            }),
            connect: Box::new({
                let transports = transports.clone();
                move |_| Ok(transports.clone())
            }),
        };
        let (clock, manager) = (clocks[0].clone(), ServiceManager::none());
        let deps = Deps { clock: clock.clone(), transports, seed: 7, source: Some(source), manager };
        let running = app::start(&config, deps).await.unwrap();
        Self { tenant, clock, auth0, running, directory, text, upstream: config.upstream }
    }

    async fn reload(&self, settings: &str) {
        *self.text.lock().unwrap() =
            configuration("tenant.example", &self.tenant, None, &self.directory, settings);
        let answer = self.running.reload().await.unwrap();
        assert!(answer.needs_restart.is_empty(), "{:?}", answer.needs_restart.first().map(|one| &one.key));
    }

    async fn call(&self, request: Request<StreamBody>) -> Result<Called, ManagementCallFailure> {
        self.running.services().management_api.call(FLOW, request).await
    }

    async fn get(&self, path: &str) -> Result<Called, ManagementCallFailure> {
        self.call(get(path)).await
    }

    async fn look_up(&self, user: &str) -> Result<(), LookupError> {
        let user = UserId::parse(user).unwrap();
        let query = query(&user, &Selector::default(), LookupOptions::default());
        self.running.services().cache.look_up(query, Flow::Uid(1001)).await.map(drop)
    }

    /// Targets and headers of calls of the Management API.
    fn sent(&self) -> Vec<(String, HeaderMap)> {
        self.auth0.sent.lock().unwrap().clone()
    }

    fn grants(&self) -> usize {
        *self.auth0.grants.lock().unwrap()
    }

    fn scope_is_refused(&self) -> bool {
        let keeper = self.running.services().management_api.snapshot(self.clock.now()).unwrap();
        keeper.failure.is_some_and(|(failure, _)| failure == Failure::Denied(Refusal::UserTokensScope))
    }
}

fn get(path: &str) -> Request<StreamBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(path).header("authorization", "Bearer of-the-client").body(body).unwrap()
}

fn john() -> String {
    format!("/users/{}", users::JOHN.replace('|', "%7C"))
}

#[tokio::test(start_paused = true)]
async fn without_the_table_there_are_no_calls_and_no_grants() {
    let calls = Calls::with("read:users", "").await;
    assert_eq!(calls.get(&john()).await.unwrap_err(), ManagementCallFailure::NotConfigured);
    sleep(60 * SECOND).await;
    assert_eq!(calls.grants(), 0);
    assert!(calls.running.services().management_api.snapshot(calls.clock.now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_out_byte_for_byte_with_the_other_applications_token() {
    let calls = Calls::with("read:users", TABLE).await;
    let mut request = get(&format!("{}?fields=user_id%2Cidentities&x=a%2fb", john()));
    request.headers_mut().insert("auth0-custom-domain", "login.acme.example".parse().unwrap());
    request.headers_mut().insert(USER_AGENT, "sdk/1".parse().unwrap());
    let called = calls.call(request).await.unwrap();
    assert!(!called.token_was_refused);
    let (target, headers) = calls.sent().pop().unwrap();
    assert_eq!(target, format!("/api/v2{}?fields=user_id%2Cidentities&x=a%2fb", john()));
    assert_eq!(headers["auth0-custom-domain"], "login.acme.example");
    assert_eq!(headers[USER_AGENT], "sdk/1");
    let bearers: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
    assert_eq!(bearers.len(), 1);
    assert!(bearers[0].is_sensitive() && bearers[0] != "Bearer of-the-client");

    let answer = calls.get(&john()).await.unwrap().answer;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-ratelimit-remaining"));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("identities") && !body.contains("access_token"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn no_call_goes_out_while_the_token_would_show_users_tokens() {
    let calls = Calls::with("read:users read:user_idp_tokens", TABLE).await;
    let refusal = tokio::time::timeout(60 * SECOND, calls.running.unfit()).await.unwrap();
    assert_eq!(refusal, Refusal::UserTokensScope, "by which `serve` ends");
    let closed = ManagementCallFailure::Closed(Refusal::UserTokensScope);
    assert_eq!(calls.get(&john()).await.unwrap_err(), closed);
    assert!(calls.scope_is_refused());
    assert!(calls.sent().is_empty());

    // The permission is taken away: the keeper finds out by itself, or at once by a reload.
    *calls.auth0.scopes.lock().unwrap() = "read:users".to_owned();
    calls.reload(TABLE).await;
    sleep(2 * SECOND).await;
    assert_eq!(calls.get(&john()).await.unwrap().answer.status(), 200);
    assert!(!calls.scope_is_refused());
}

/// The token before is valid for another fifth of its lifetime; the calls end all the same.
#[tokio::test(start_paused = true)]
async fn a_later_token_with_that_scope_closes_the_calls_until_it_is_gone_and_does_not_end_the_daemon() {
    let calls = Calls::with("read:users", TABLE).await;
    let john = john();
    assert!(calls.get(&john).await.is_ok());
    *calls.auth0.scopes.lock().unwrap() = "read:users read:user_idp_tokens".to_owned();
    sleep(900 * SECOND).await;
    assert!(calls.get(&john).await.is_err());
    assert!(calls.scope_is_refused());
    let unfit = tokio::time::timeout(1000 * SECOND, calls.running.unfit()).await;
    assert!(unfit.is_err(), "only the first token ends the daemon");
    *calls.auth0.scopes.lock().unwrap() = "read:users".to_owned();
    sleep(700 * SECOND).await;
    assert!(calls.get(&john).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_dropped_once_and_the_caller_told_to_call_again() {
    let calls = Calls::with("read:users", TABLE).await;
    assert!(calls.get(&john()).await.is_ok());
    calls.tenant.revoke_management_tokens();
    // Both are under way with one token.
    calls.tenant.fault(Endpoint::User, Fault::Latency(SECOND / 10));
    let john = john();
    let both = join_all([(), ()].iter().map(|()| calls.get(&john))).await;
    for called in both {
        let called = called.unwrap();
        assert_eq!(called.answer.status(), 401);
        assert!(called.token_was_refused);
    }
    assert_eq!(calls.get(&john).await.unwrap().answer.status(), 200);
    assert_eq!(calls.grants(), 2);
}

/// A client may find a call that is always answered with 401.
#[tokio::test(start_paused = true)]
async fn a_client_that_always_provokes_a_401_costs_few_grants_and_stops_no_other_client() {
    let calls = Calls::with("read:users", TABLE).await;
    let mut advised = 0;
    for _ in 0..600 {
        calls.tenant.fault_next(Endpoint::User, 1, Fault::Unauthorized);
        let called = calls.get(&john()).await.unwrap();
        assert_eq!(called.answer.status(), 401);
        advised += usize::from(called.token_was_refused);
        assert_eq!(calls.get(&john()).await.unwrap().answer.status(), 200, "another call");
        sleep(SECOND).await;
    }
    assert!(calls.grants() <= 8, "{} grants in ten minutes", calls.grants());
    assert_eq!(advised, calls.grants() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_429_of_a_call_closes_the_gate_for_lookups_and_calls_which_are_told_when_it_opens() {
    let calls = Calls::with("read:users", TABLE).await;
    assert!(calls.get(&john()).await.is_ok());
    calls.tenant.fault_next(Endpoint::User, 1, Fault::RateLimited(WaitHint::Seconds(20)));
    let called = calls.get(&john()).await.unwrap();
    assert_eq!(called.answer.status(), 429, "Auth0's own answer");
    let asked = Instant::now();
    let ManagementCallFailure::GateClosed(gate) = calls.get(&john()).await.unwrap_err() else { panic!() };
    assert_eq!(asked.elapsed(), Duration::ZERO, "and nothing is waited for");
    assert!((20 * SECOND..=22 * SECOND).contains(&gate.retry_after), "{gate:?}");
    let opens = gate.resets_at.since(calls.clock.now().wall);
    assert!(gate.retry_after <= opens + SECOND && opens <= gate.retry_after + SECOND, "{opens:?} {gate:?}");
    assert_eq!(calls.sent().len(), 2);
    assert!(calls.look_up(users::GOOGLE).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reload_adds_the_table_changes_its_application_and_removes_it() {
    let calls = Calls::with("read:users", "").await;
    calls.reload(TABLE).await;
    assert_eq!(calls.get(&john()).await.unwrap().answer.status(), 200);
    calls.reload("").await;
    assert_eq!(calls.get(&john()).await.unwrap_err(), ManagementCallFailure::NotConfigured);
    let grants = calls.grants();
    sleep(2000 * SECOND).await;
    assert_eq!(calls.grants(), grants, "its keeper has ended");
}

/// Ten calls a second are more than the budget has beside the lookups.
#[tokio::test(start_paused = true)]
async fn calls_that_keep_coming_delay_no_lookup() {
    let settings = format!("{TABLE}[upstream]\nrequests_per_second = 5\nburst = 10");
    let calls = Calls::with("read:users", &settings).await;
    assert!(calls.look_up(users::GOOGLE).await.is_ok());
    calls.tenant.fault(Endpoint::User, Fault::Latency(SECOND / 10));
    let john = john();
    let flood = join_all((0..300_u32).map(|n| {
        let (calls, john) = (&calls, &john);
        async move {
            sleep(n * SECOND / 10).await;
            calls.get(john).await
        }
    }));
    let lookups = async {
        for n in 0..30 {
            sleep(SECOND).await;
            let asked = Instant::now();
            assert_eq!(calls.look_up(&format!("auth0|{n}")).await, Err(LookupError::UserNotFound));
            assert_eq!(asked.elapsed(), SECOND / 10, "lookup {n}");
        }
    };
    let (flood, ()) = tokio::join!(flood, lookups);
    let answered = flood.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((125..=155).contains(&answered), "{answered}: what the lookups leave");
    for why in flood.into_iter().filter_map(Result::err) {
        assert!(matches!(why, ManagementCallFailure::Busy { .. }), "{why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_leave_what_renewals_ahead_of_time_need() {
    for burst in [2, 3, 20] {
        let settings =
            format!("{TABLE}[upstream]\nrequests_per_second = 10\nburst = {burst}\nmax_concurrency = 4");
        let calls = Calls::with("read:users", &settings).await;
        let budget = Budget::new(calls.upstream, calls.clock.clone());
        let flood = join_all((0..500).map(|_| async {
            let permit = budget.acquire(Priority::Proxied, ForWhom::only(FLOW), 10 * SECOND).await;
            sleep(SECOND / 2).await;
            drop(permit);
        }));
        let renewals = async {
            for n in 0..20 {
                sleep(SECOND / 2).await;
                for priority in [Priority::Ahead, Priority::Fresh] {
                    assert!(budget.try_acquire(priority).is_ok(), "{priority:?} {n}, burst {burst}");
                    sleep(SECOND / 2).await;
                }
            }
        };
        tokio::select! {
            () = renewals => {}
            _ = flood => {}
        }
    }
}
