//! Redemptions whose disk fails at every call that the file makes, one after the other.

use super::failing_disk::{Disk, Failure, Survivors};
use super::*;

/// More than a run makes.
const MOST_CALLS: usize = 2_000;

fn open_at(scene: &Scene, disk: &Disk) -> Option<Chains> {
    open_with(scene, disk, &[1])
}

fn open_with(scene: &Scene, disk: &Disk, keys: &[u8]) -> Option<Chains> {
    let settings = settings(Path::new("/a disk in memory"), keys);
    let state = OpenState::open_at(disk.clone(), &settings, TENANT).ok()?;
    Some(scene.in_file(state))
}

/// A start and three redemptions, as far as the disk lets them happen. Returns what was handed out.
async fn run(scene: &Scene, disk: &Disk) -> Vec<String> {
    let Some(chains) = open_at(scene, disk) else { return Vec::new() };
    let mut handed_out = Vec::new();
    for _ in 0..3 {
        let end = scene.redeem(&chains, "jane").await;
        assert!(end.starts_with("access") || end == UNSTORED, "{end}");
        handed_out.extend(Some(end).filter(|end| end.starts_with("access")));
    }
    chains.close().await;
    handed_out
}

/// The refresh token that is behind an access token, see `answer`.
fn next(access: &str) -> &str {
    access.strip_prefix("access before ").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_loss_of_power_at_any_call_loses_only_an_answer_that_was_not_stored() {
    for survivors in [Survivors::None, Survivors::All, Survivors::Even, Survivors::Odd, Survivors::Torn] {
        let mut lost = 0;
        for call in 1..MOST_CALLS {
            let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
            disk.fail_at(call, Failure::PowerLoss);
            let handed_out = run(&scene, &disk).await;
            if !disk.has_failed() {
                assert!(call > 50 && handed_out.len() == 3, "{call} calls");
                assert!(lost > 0, "no call was between an answer and its sync");
                break;
            }
            assert!(call + 1 < MOST_CALLS, "the run never ends");
            let case = format!("{survivors:?}, call {call}, handed out {handed_out:?}");
            let before = scene.provider.log();
            let live = scene.provider.has_live_token();
            disk.power_on(survivors);

            let chains =
                open_at(&scene, &disk).unwrap_or_else(|| panic!("{case}: the file cannot be opened"));
            let end = scene.redeem(&chains, "jane").await;
            let last = before.last().map(String::as_str).unwrap_or_default();
            scene.expect_sent_once(&[last]);
            match handed_out.last() {
                // What was handed out was durable before: at most the redemption after it is lost.
                Some(access) if live && last != next(access) => {
                    assert!(end.starts_with("access"), "{case}: {end}");
                }
                _ if before.is_empty() => assert!(end.starts_with("access"), "{case}: {end}"),
                _ => {}
            }
            if end == "over: refresh_lost" {
                lost += 1;
                assert_ne!(scene.provider.truth(last), Truth::Live, "{case}");
            } else {
                assert!(end.starts_with("access"), "{case}: {end}");
                assert!(scene.redeem(&chains, "jane").await.starts_with("access"), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_at_any_call_is_survived_without_a_restart() {
    for call in 1..MOST_CALLS {
        let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
        let chains = open_at(&scene, &disk).unwrap();
        disk.fail_at(call, Failure::Once);
        for _ in 0..3 {
            let end = scene.redeem(&chains, "jane").await;
            assert!(end.starts_with("access"), "call {call}: {end}");
        }
        scene.expect_sent_once(&[]);
        if !disk.has_failed() {
            assert!(call > 20);
            return;
        }
    }
    panic!("the run never ends");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_at_any_call_stops_redemptions_and_loses_none() {
    for call in 1..MOST_CALLS {
        let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
        let chains = open_at(&scene, &disk).unwrap();
        disk.fail_at(call, Failure::Full);
        let mut ends = Vec::new();
        for _ in 0..4 {
            ends.push(scene.redeem(&chains, "jane").await);
        }
        let case = format!("call {call}: {ends:?}");
        let standing = scene.counters.state.standing().unwrap();
        assert_eq!(standing.trouble.is_some(), disk.has_failed(), "{case}");
        let sent = scene.provider.log().len();
        let handed_out = ends.iter().filter(|end| end.starts_with("access")).count();
        assert!(ends[handed_out..].iter().all(|end| end == UNSTORED), "{case}");
        assert!(sent <= handed_out + 1, "{case}: {sent} were sent");
        assert_eq!(standing.unwritten, sent - handed_out, "{case}: what was sent is in memory");

        disk.heal();
        // An intent whose write was reported as failed may be in the file, and then counts as a request.
        tokio::time::sleep(RETRY_HELD).await;
        let standing = scene.counters.state.standing().unwrap();
        assert_eq!((standing.trouble, standing.unwritten), (None, 0), "{case}");
        assert!(scene.redeem(&chains, "jane").await.starts_with("access"), "{case}");
        scene.expect_sent_once(&[]);
        if handed_out == 4 {
            assert!(call > 20);
            return;
        }
    }
    panic!("the run never ends");
}

/// Fails at a write of another user.
async fn fails_at_a_write(scene: &Scene, chains: &Chains, disk: &Disk, failure: Failure) {
    let other = Scene { auth0: Some(scene.provider.log_in()), ..scene.clone() };
    disk.fail_at(1, failure);
    assert!(other.redeem(chains, "kim").await.starts_with("access"));
    let standing = scene.counters.state.standing().unwrap();
    assert!(standing.trouble.is_some() && standing.unwritten == 1, "{standing:?}");
}

/// What Auth0 stores may be refused although the file has a newer refresh token.
#[tokio::test(start_paused = true)]
async fn a_chain_that_cannot_be_read_is_not_replaced_by_a_refusal_of_what_auth0_stores() {
    let (mut scene, disk) = (Scene::new(Rotation::KeepOld), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    for _ in 0..2 {
        scene.redeem(&chains, "jane").await;
    }
    fails_at_a_write(&scene, &chains, &disk, Failure::Broken).await;
    for _ in 0..3 {
        scene.faults.lock().unwrap().push(Fault::Refused);
        assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    }
    let stored = scene.auth0.take();
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED, "the file may have a refresh token");
    scene.auth0 = stored;
    assert_eq!(scene.counters.state.standing().unwrap().unwritten, 1);

    disk.heal();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(scene.redeem(&chains, "jane").await.starts_with("access"));
    assert_eq!(scene.provider.log().last().unwrap(), "refresh-1-2");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_cannot_be_read_leaves_the_refresh_token_that_auth0_stores() {
    let (scene, disk) = (Scene::new(Rotation::KeepOld), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    fails_at_a_write(&scene, &chains, &disk, Failure::Broken).await;
    assert!(scene.redeem(&chains, "jane").await.starts_with("access"));
    assert_eq!(scene.counters.state.standing().unwrap().unwritten, 1);
}

/// A disk without room for more is written to where it has been before, which is all that a repair needs.
#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_is_read() {
    let (scene, disk) = (Scene::new(Rotation::KeepOld), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    for _ in 0..2 {
        scene.redeem(&chains, "jane").await;
    }
    fails_at_a_write(&scene, &chains, &disk, Failure::FullOnce).await;
    assert!(scene.redeem(&chains, "jane").await.starts_with("access"));
    assert_eq!(scene.provider.log().last().unwrap(), "refresh-1-2");
}

/// Moves the clock on once the disk hangs, by more than a redemption waits for it. Paused time does not move by itself
/// while a thread is blocked.
async fn pass_once_it_hangs(disk: &Disk) {
    while !disk.is_hanging() {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(6)).await;
}

/// An intent that becomes durable after all would look like a request whose outcome is unknown, and two of them like a
/// refresh token that is lost.
#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_ends_redemptions_and_costs_no_attempt() {
    let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    for _ in 0..3 {
        disk.fail_at(1, Failure::Hanging);
        let (end, ()) = tokio::join!(scene.redeem(&chains, "jane"), pass_once_it_hangs(&disk));
        assert_eq!(end, UNSTORED);
        let trouble = || scene.counters.state.trouble();
        assert_eq!(trouble().as_deref(), Some("its disk does not answer"));
        assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED, "at once");
        assert!(chains.forget(&key("jane").user).await.is_err(), "at once");
        disk.heal();
        while trouble().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(scene.provider.log().is_empty());
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-1");
}

/// The answer of the provider is there, and the access token is withheld until the refresh token is durable.
#[tokio::test(start_paused = true)]
async fn a_result_behind_a_disk_that_hangs_is_stored_later() {
    let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    let (end, ()) = tokio::join!(scene.redeem(&chains, "jane"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        disk.fail_at(1, Failure::Hanging);
        tokio::time::sleep(Duration::from_millis(30)).await;
        pass_once_it_hangs(&disk).await;
    });
    assert_eq!(end, UNSTORED);
    disk.heal();
    while scene.counters.state.trouble().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2");
    scene.expect_sent_once(&[]);
}

/// Without a write, the answer would be lost at the end.
#[tokio::test(start_paused = true)]
async fn the_end_of_the_daemon_writes_what_was_not_written() {
    let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
    let chains = open_at(&scene, &disk).unwrap();
    let redeemed = async {
        let end = scene.redeem(&chains, "jane").await;
        assert_eq!(end, UNSTORED);
    };
    let fills = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        disk.fail_at(1, Failure::Full);
    };
    tokio::join!(redeemed, fills);
    disk.heal();
    chains.close().await;
    let chains = open_at(&scene, &disk).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2");
    scene.expect_sent_once(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_of_power_while_records_are_sealed_anew_costs_none() {
    for call in 1..MOST_CALLS {
        let (scene, disk) = (Scene::new(Rotation::Single), Disk::formatted());
        let chains = open_at(&scene, &disk).unwrap();
        scene.redeem(&chains, "jane").await;
        chains.close().await;
        disk.fail_at(call, Failure::PowerLoss);
        let is_done = open_with(&scene, &disk, &[2, 1]).is_some() && !disk.has_failed();
        disk.power_on(Survivors::Odd);
        let chains = open_with(&scene, &disk, &[2, 1]).unwrap_or_else(|| panic!("call {call}"));
        assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2", "call {call}");
        chains.close().await;
        assert!(open_at(&scene, &disk).is_none(), "call {call}: everything is sealed with the new key");
        if is_done {
            assert!(call > 10);
            return;
        }
    }
    panic!("the start never ends");
}
