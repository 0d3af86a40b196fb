//! Redemptions through `Chains`, in memory and with a file.

use super::*;
use crate::support::futures::join_all;

/// Chains in memory, and chains in a file. Refresh tokens that are invalidated are never in memory alone.
async fn each(test: impl AsyncFn(Scene, Chains)) {
    let scene = Scene::new(Rotation::KeepOld);
    let chains = scene.in_memory();
    test(scene, chains).await;
    for rotation in [Rotation::KeepOld, Rotation::Single] {
        let ((_directory, path), scene) = (directory(), Scene::new(rotation));
        let chains = scene.open(&path, &[1]).unwrap();
        test(scene, chains).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_refresh_token_that_is_invalidated_is_redeemed_without_a_file() {
    let scene = Scene::new(Rotation::Single);
    let chains = scene.in_memory();
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    assert!(scene.provider.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_token_of_a_chain_is_redeemed_once() {
    each(async |scene, chains| {
        for next in 1..5 {
            assert_eq!(scene.redeem(&chains, "jane").await, format!("access before refresh-1-{next}"));
        }
        assert_eq!(scene.provider.log(), ["refresh-1-0", "refresh-1-1", "refresh-1-2", "refresh-1-3"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_are_one_redemption() {
    each(async |scene, chains| {
        let ends = join_all((0..100).map(|_| scene.redeem(&chains, "jane"))).await;
        assert!(ends.iter().all(|end| end == "access before refresh-1-1"), "{ends:?}");
        assert_eq!(scene.provider.log().len(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_aborts_no_redemption() {
    each(async |scene, chains| {
        let gone = tokio::time::timeout(Duration::from_millis(20), scene.redeem(&chains, "jane")).await;
        assert!(gone.is_err());
        assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-1", "the same redemption");
        assert_eq!(scene.provider.log().len(), 1);
    })
    .await;
}

/// The second caller has asked Auth0 after the login, and joins a redemption of the token before it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_knows_of_a_login_is_not_told_that_the_old_token_is_over() {
    each(async |mut scene, chains| {
        let old = scene.clone();
        scene.provider.redeem("refresh-1-0");
        let (chains, first) = (&chains, old.redeem_once(&chains, "jane"));
        let second = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            scene.auth0 = Some(scene.provider.log_in());
            scene.redeem_once(chains, "jane").await
        };
        let (first, second) = tokio::join!(first, second);
        assert!(matches!(first, Redeemed::AskAuth0), "{first:?}");
        assert!(matches!(second, Redeemed::Issued(_)), "{second:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn users_that_are_forgotten_begin_with_the_token_of_auth0() {
    each(async |mut scene, chains| {
        for user in ["jane", "john", "kim"] {
            scene.auth0 = Some(scene.provider.log_in());
            scene.redeem(&chains, user).await;
            scene.redeem(&chains, user).await;
        }
        let is_known = async |user| {
            let mut scene = scene.clone();
            scene.auth0 = None;
            !matches!(scene.redeem_once(&chains, user).await, Redeemed::NoRefreshToken)
        };
        chains.forget(&key("jane").user).await.unwrap();
        assert!(!is_known("jane").await && is_known("john").await);
        chains.forget_all().await.unwrap();
        assert!(!is_known("john").await && !is_known("kim").await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_user_that_is_forgotten_during_a_redemption_stays_forgotten() {
    each(async |mut scene, chains| {
        let (redeemed, forgotten) = tokio::join!(scene.redeem(&chains, "jane"), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            chains.forget(&key("jane").user).await
        });
        forgotten.unwrap();
        assert_eq!(redeemed, "access before refresh-2-1".replace('2', "1"));
        scene.auth0 = None;
        assert!(matches!(scene.redeem_once(&chains, "jane").await, Redeemed::NoRefreshToken));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_continues_the_chain() {
    let (_directory, path) = directory();
    let mut scene = Scene::new(Rotation::Single);
    for next in 1..5 {
        let chains = scene.open(&path, &[1]).unwrap();
        assert_eq!(scene.redeem(&chains, "jane").await, format!("access before refresh-1-{next}"));
        scene.auth0 = None;
        drop(chains);
    }
    scene.expect_sent_once(&[]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_waits_for_redemptions_and_begins_none() {
    let (_directory, path) = directory();
    let scene = Scene::new(Rotation::Single);
    let chains = scene.open(&path, &[1]).unwrap();
    let (redeemed, (), late) = tokio::join!(
        scene.redeem(&chains, "jane"),
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            chains.close().await;
        },
        async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            scene.redeem(&chains, "john").await
        }
    );
    assert_eq!((redeemed.as_str(), late.as_str()), ("access before refresh-1-1", UNSTORED));
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    // The file is free, although the chains still exist.
    let next = scene.open(&path, &[1]).unwrap();
    assert_eq!(scene.redeem(&next, "jane").await, "access before refresh-1-2");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_recovered_within_the_grace_and_reported_beyond_it() {
    let lost = |scene: &Scene| scene.counters.state.lost.get();
    for (wait, end) in [(29, "access before refresh-1-2"), (181, "over: refresh_lost")] {
        let (_directory, path) = directory();
        let scene = Scene::with_grace(Rotation::Single, Duration::from_secs(30));
        scene.faults.lock().unwrap().push(Fault::AnswerLost);
        let chains = scene.open(&path, &[1]).unwrap();
        assert_eq!(scene.redeem(&chains, "jane").await, "failed: idp.example did not answer in time");
        scene.pass(Duration::from_secs(wait)).await;
        assert_eq!(scene.redeem(&chains, "jane").await, end);
        assert_eq!(lost(&scene), u64::from(wait > 30));
        scene.redeem(&chains, "jane").await;
        assert_eq!(lost(&scene), u64::from(wait > 30), "counted once");
        scene.expect_sent_once(&["refresh-1-0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_lost_costs_the_retry_and_nothing_else() {
    let ((_directory, path), scene) = (directory(), Scene::new(Rotation::Single));
    let chains = scene.open(&path, &[1]).unwrap();
    for next in 1..4 {
        scene.faults.lock().unwrap().push(Fault::RequestLost);
        scene.redeem(&chains, "jane").await;
        let waits = format!("failed: {}", SourceFailure::Unsettled);
        assert_eq!(scene.redeem(&chains, "jane").await, waits, "its provider may still be out");
        scene.pass(RETRY_HELD).await;
        assert_eq!(scene.redeem(&chains, "jane").await, format!("access before refresh-1-{next}"));
    }
    assert_eq!(scene.provider.truth("refresh-1-3"), Truth::Live);
}

/// Another user's request shows that the provider is back.
#[tokio::test(start_paused = true)]
async fn a_retry_goes_as_soon_as_the_provider_answers_others_and_not_during_its_outage() {
    let ((_directory, path), mut scene) = (directory(), Scene::new(Rotation::Single));
    let chains = scene.open(&path, &[1]).unwrap();
    scene.faults.lock().unwrap().extend([Fault::RequestLost; 2]);
    scene.redeem(&chains, "jane").await;
    for _ in 0..10 {
        scene.pass(Duration::from_secs(2)).await;
        let end = scene.redeem(&chains, "jane").await;
        assert_eq!(end, format!("failed: {}", SourceFailure::Unsettled));
    }
    assert_eq!(scene.provider.log().len(), 1, "the retry is kept");
    scene.faults.lock().unwrap().clear();
    scene.terms.last_answer = Some(scene.clock.now().elapsed);
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-1");
    assert_eq!(scene.counters.state.lost.get(), 0);
}
