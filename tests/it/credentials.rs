//! Authentication with a key: rotation, retries, and clocks that are wrong.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use cloakroom::clock::Clock;
use cloakroom::domain::error::{Failure, LookupError, Refusal};
use cloakroom::domain::freshness::Timestamp;
use cloakroom::fake_auth0::{
    ClientAuth, ClientKeyPair, Endpoint, ExpiresIn, Fault, InvalidJwt, KeyUse, Tenant, TenantOptions,
    WaitHint, users,
};

use crate::support::in_memory::{self, START};
use crate::support::world::World;

/// `[tenant.client]` with the key of `key.pem`.
const KEY: &str =
    "[tenant.client]\nid = \"demo-client\"\nauth = \"private_key_jwt\"\nkey_file = \"{dir}/key.pem\"\n";

/// And with the next one.
const WITH_NEXT: &str = "next_key_file = \"{dir}/next-key.pem\"\n";

/// A tenant with a registered key, and its clocks.
fn tenant() -> (Tenant, [Clock; 2]) {
    let options = TenantOptions { client_auth: ClientAuth::PrivateKeyJwt, ..TenantOptions::default() };
    let (tenant, clocks) = in_memory::tenant(options);
    register(&tenant, 0);
    (tenant, clocks)
}

fn register(tenant: &Tenant, index: usize) -> String {
    let key = ClientKeyPair::shared(index).unwrap();
    tenant.register_key(KeyUse::Authentication, &key.public_pem, "RS256").unwrap()
}

async fn world() -> World {
    let world = World::reloadable_before(tenant(), KEY).await;
    world.ready().await;
    world
}

impl World {
    /// Whether a lookup that takes a new Management token succeeds. Waits until the keeper may ask again.
    async fn granted(&self) -> bool {
        self.tenant.revoke_management_tokens();
        self.cache().purge_all();
        let found = self.look_up(users::GITHUB).await.is_ok();
        tokio::time::sleep(Duration::from_secs(900)).await;
        found
    }

    fn statuses(&self) -> Vec<Option<u16>> {
        let calls = self.tenant.calls_to(Endpoint::Token);
        calls.iter().map(|call| call.status.map(|status| status.as_u16())).collect()
    }

    /// Every `jti` that was sent, each of which has to be another.
    fn different_ids(&self) -> usize {
        let sent: Vec<_> = self.tenant.assertions().iter().map(|sent| sent.jti.clone().unwrap()).collect();
        let different: BTreeSet<_> = sent.iter().collect();
        assert_eq!(different.len(), sent.len(), "a `jti` was used twice");
        sent.len()
    }

    fn put_key(&self, name: &str, index: usize) {
        let key = ClientKeyPair::shared(index).unwrap();
        fs::write(self.directory.path().join(name), key.private_pem.expose()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_granted_what_a_secret_was() {
    let world = world().await;
    assert!(world.granted().await);
    assert_eq!(world.statuses(), [Some(200), Some(200)]);
    assert!(world.tenant.assertions().iter().all(|sent| sent.verdict == Some(Ok(()))));
    world.different_ids();
}

/// The four steps of a rotation: the operator registers the new key, removes the old one, configures the new key as the
/// next one, and configures it alone. In every order in which both sides have a key in common, or the daemon has kept
/// one that worked, there is no gap.
#[tokio::test(start_paused = true)]
async fn a_key_is_rotated_without_a_gap_in_every_order() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Step {
        Register,
        Remove,
        Next,
        Alone,
    }
    use Step::{Alone, Next, Register, Remove};

    for order in [
        [Register, Next, Remove, Alone],
        [Register, Next, Alone, Remove],
        [Next, Register, Remove, Alone],
        [Next, Register, Alone, Remove],
        [Next, Alone, Register, Remove],
        // Without the step in between.
        [Register, Alone, Alone, Remove],
        [Alone, Alone, Register, Remove],
    ] {
        let world = world().await;
        let old = world.tenant.assertions()[0].kid.clone().unwrap();
        for step in order {
            match step {
                Register => drop(register(&world.tenant, 1)),
                Remove => world.tenant.remove_key(KeyUse::Authentication, &old),
                Next => drop(world.reload(&format!("{KEY}{WITH_NEXT}")).await.unwrap()),
                Alone => {
                    world.put_key("key.pem", 1);
                    world.reload(KEY).await.unwrap();
                }
            }
            let before = world.statuses().len();
            assert!(world.granted().await, "{order:?}: after {step:?}");
            let took = world.statuses().len() - before;
            assert!(took <= 2, "{order:?}: {took} attempts after {step:?}");
        }
        world.different_ids();
        let latest = world.tenant.assertions().pop().unwrap();
        assert!(latest.kid != Some(old) && latest.verdict == Some(Ok(())), "{order:?}");
    }
}

/// Both keys are configured, and the next one is not registered. It is tried each time, because it may be by now.
#[tokio::test(start_paused = true)]
async fn a_next_key_that_is_refused_costs_one_attempt_and_nothing_else() {
    let world = World::reloadable_before(tenant(), &format!("{KEY}{WITH_NEXT}")).await;
    world.ready().await;
    assert!(world.granted().await);
    assert_eq!(world.statuses(), [401, 200, 401, 200].map(Some));
    let next = register(&world.tenant, 1);
    assert!(world.granted().await);
    assert_eq!(world.statuses()[4..], [Some(200)]);
    // The present key serves again after the next one was withdrawn.
    world.tenant.remove_key(KeyUse::Authentication, &next);
    assert!(world.granted().await);
    assert_eq!(world.statuses()[5..], [401, 200].map(Some));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_refusal_is_no_reason_to_try_another_key() {
    let world = World::reloadable_before(tenant(), &format!("{KEY}{WITH_NEXT}")).await;
    world.ready().await;
    let next = register(&world.tenant, 1);
    world.tenant.fault_next(Endpoint::Token, 1, Fault::Edge503Html);
    world.tenant.fault_next(Endpoint::Token, 1, Fault::EdgePage { status: 401, wait: WaitHint::None });
    world.tenant.fault_next(Endpoint::Token, 1, Fault::ResetWhileReading);
    let begun = world.tenant.assertions().len();
    world.tenant.revoke_management_tokens();
    world.cache().purge_all();
    assert!(world.look_up(users::GITHUB).await.is_err());
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert!(world.look_up(users::GITHUB).await.is_ok());
    let sent = &world.tenant.assertions()[begun..];
    assert!(sent.len() >= 4 && sent.iter().all(|sent| sent.kid.as_ref() == Some(&next)), "{sent:?}");
    // Auth0 has used the one whose answer was lost: the same one again would have been refused.
    world.different_ids();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_registered_is_named() {
    let world = world().await;
    world.put_key("key.pem", 2);
    world.reload(KEY).await.unwrap();
    let refused = world.tenant.assertions()[0].kid.clone().unwrap();
    world.tenant.remove_key(KeyUse::Authentication, &refused);
    world.tenant.revoke_management_tokens();
    world.cache().purge_all();
    let LookupError::Unavailable(unavailable) = world.look_up(users::GITHUB).await.unwrap_err() else {
        panic!("a lookup without a Management token");
    };
    let kid = world.tenant.assertions()[1].kid.clone().unwrap();
    assert_eq!(unavailable.failure, Failure::Denied(Refusal::Key { status: 401, kid: kid.as_str().into() }));
    let text = unavailable.failure.to_string();
    assert!(text.contains(&kid) && text.contains("is registered with the application"), "{text}");
}

/// The tenant's clock differs before the daemon has ever asked: an assertion that is dated by a clock too slow has
/// expired, one by a clock too fast lives too long. The refusal's date shows the difference.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_costs_one_attempt_at_most() {
    let start = Timestamp::parse(START).unwrap();
    for (ahead, first) in [
        (0, vec![Ok(())]),
        (-120, vec![Ok(())]),
        (-600, vec![Err(InvalidJwt::ExpiresTooLate), Ok(())]),
        (120, vec![Err(InvalidJwt::Expired), Ok(())]),
        (600, vec![Err(InvalidJwt::Expired), Ok(())]),
        (86_400 * 365, vec![Err(InvalidJwt::Expired), Ok(())]),
    ] {
        let (tenant, clocks) = tenant();
        clocks[1].step_wall(Timestamp::from_secs(start.as_secs() + ahead));
        let world = World::reloadable_before((tenant, clocks), KEY).await;
        world.ready().await;
        let verdicts = || -> Vec<_> {
            world.tenant.assertions().into_iter().map(|sent| sent.verdict.unwrap()).collect()
        };
        assert_eq!(verdicts(), first, "the tenant is {ahead} s ahead");
        // The difference is known now, and a step of the local clock does not change what is known.
        assert!(world.granted().await);
        world.clock.step_wall(Timestamp::from_secs(start.as_secs() + 7 * 86_400));
        assert!(world.granted().await);
        assert_eq!(verdicts()[first.len()..], [Ok(()), Ok(())], "the tenant is {ahead} s ahead");
        for sent in world.tenant.assertions().iter().filter(|sent| sent.verdict == Some(Ok(()))) {
            let exp = sent.exp.unwrap() - (start.as_secs() + ahead);
            assert!((0..3600).contains(&exp), "dated by the tenant's clock: {exp}");
        }
        world.different_ids();
    }
}

/// A virtual machine was paused, none of its clocks counted that, and the next request is the renewal of the Management
/// token.
#[tokio::test(start_paused = true)]
async fn a_pause_that_no_clock_counted_costs_one_attempt() {
    let world = world().await;
    world.tenant_clock.suspend(Duration::from_secs(6 * 3600));
    tokio::time::sleep(Duration::from_secs(22 * 3600)).await;
    assert_eq!(world.statuses(), [200, 401, 200].map(Some));
    assert!(world.granted().await);
    assert_eq!(world.statuses()[3..], [Some(200)]);
}

/// A refusal with a right clock is no reason to sign once more, and neither are many.
#[tokio::test(start_paused = true)]
async fn refusals_are_not_answered_with_more_attempts() {
    let world = world().await;
    world.tenant.set_client_auth(ClientAuth::SecretPost);
    assert!(!world.granted().await);
    let refused = world.statuses();
    assert!(refused[1..].iter().all(|status| *status == Some(401)));
    // A minute after the first refusal, and then less and less often.
    assert!(refused.len() <= 1 + 8, "{refused:?}");
}

/// Each refusal seems to show that the assertion was dated by another clock.
#[tokio::test(start_paused = true)]
async fn servers_whose_clocks_differ_cost_one_repetition_for_each_attempt() {
    let world = world().await;
    world.tenant.set_client_auth(ClientAuth::SecretPost);
    for offset in [60, -60].into_iter().cycle().take(40) {
        world.tenant.fault_next(Endpoint::Token, 1, Fault::DateOffset(offset));
    }
    assert!(!world.granted().await);
    let refused = world.statuses();
    assert!(refused.len() <= 1 + 2 * 8, "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_replaced_by_a_key_without_a_gap() {
    let (tenant, clocks) = in_memory::tenant(TenantOptions::default());
    register(&tenant, 0);
    let world = World::reloadable_before((tenant, clocks), "").await;
    world.ready().await;
    let [changed, _] = world.reload(KEY).await.unwrap();
    assert_eq!(
        changed,
        ["tenant.client.secret_file", "tenant.client.auth", "tenant.client.key_file"],
        "and nothing else"
    );
    assert!(world.granted().await, "the secret still works");
    world.tenant.set_client_auth(ClientAuth::PrivateKeyJwt);
    assert!(world.granted().await);
    assert_eq!(world.statuses(), [200, 401, 200, 200].map(Some));
    // The secret is given up as soon as the key was accepted.
    world.tenant.set_client_auth(ClientAuth::SecretPost);
    assert!(!world.granted().await);
    assert!(world.statuses()[4..].iter().all(|status| *status == Some(401)));
}

/// What changes a granted token, and not whether it is granted, is the same with a key.
#[tokio::test(start_paused = true)]
async fn grants_with_a_key_are_read_like_any_other() {
    let world = world().await;
    world.tenant.fault_next(Endpoint::Token, 1, Fault::ExpiresIn(ExpiresIn::Text));
    assert!(world.granted().await);
    world.different_ids();
}
