//! The state file itself: who may use it, with which keys, and what becomes of it under the daemon.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cloakroom::process::sandbox::{self, Needs};

use super::*;

/// A file with one redemption, and the refresh token `refresh-1-1` in it.
async fn used(path: &Path, keys: &[u8]) -> Scene {
    let mut scene = Scene::new(Rotation::Single);
    let chains = scene.open(path, keys).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-1");
    chains.close().await;
    scene.auth0 = None;
    scene
}

fn standing(scene: &Scene) -> Option<String> {
    scene.counters.state.standing().unwrap().trouble
}

#[tokio::test(start_paused = true)]
async fn the_file_is_private_and_names_neither_users_nor_tokens() {
    let (directory, path) = directory();
    used(&path, &[1]).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let content = fs::read(&path).unwrap();
    for text in ["jane", "okta", "acme", "refresh-1", "client", "origin"] {
        assert!(!content.windows(text.len()).any(|part| part == text.as_bytes()), "{text}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left there");
}

#[tokio::test(start_paused = true)]
async fn two_daemons_do_not_share_a_file() {
    let (_directory, path) = directory();
    let scene = Scene::new(Rotation::Single);
    let chains = scene.open(&path, &[1]).unwrap();
    let refused = scene.open(&path, &[1]).unwrap_err();
    assert!(refused.contains("another daemon uses"), "{refused}");
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-1");
    drop(chains);
    scene.open(&path, &[1]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_is_replaced_by_a_line_in_front_and_a_restart() {
    let (_directory, path) = directory();
    let scene = used(&path, &[1]).await;
    for (at, keys) in [&[2, 1][..], &[2], &[3, 2, 1], &[3]].into_iter().enumerate() {
        let chains = scene.open(&path, keys).unwrap();
        assert_eq!(scene.redeem(&chains, "jane").await, format!("access before refresh-1-{}", at + 2));
        chains.close().await;
    }
    scene.expect_sent_once(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_missing_is_an_error_and_costs_nothing() {
    let (_directory, path) = directory();
    let scene = used(&path, &[1]).await;
    let refused = scene.open(&path, &[2]).unwrap_err();
    assert!(
        refused.contains("1 of 1 records") && refused.contains("add that key as a further line"),
        "{refused}"
    );

    let chains = scene.open(&path, &[1]).unwrap();
    let john = Scene { auth0: Some(scene.provider.log_in()), ..scene.clone() };
    john.redeem(&chains, "john").await;
    chains.close().await;
    let refused = scene.open(&path, &[2, 3]).unwrap_err();
    assert!(refused.contains("2 of 2 records"), "{refused}");
    let chains = scene.open(&path, &[2, 3, 1]).unwrap();
    assert!(scene.redeem(&chains, "jane").await.starts_with("access before refresh-1-"));
    scene.expect_sent_once(&[]);
}

#[tokio::test(start_paused = true)]
async fn files_that_the_daemon_must_not_use_are_refused_by_name() {
    let (directory, path) = directory();
    let scene = Scene::new(Rotation::Single);
    let refused = |path: &Path, text: &str| {
        let error = scene.open(path, &[1]).unwrap_err();
        assert!(error.contains(text), "{error}");
    };
    refused(&directory.path().join("absent/state"), "does not exist; create it");
    fs::create_dir(&path).unwrap();
    refused(&path, "is not a regular file");
    fs::remove_dir(&path).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    used(&elsewhere, &[1]).await;
    symlink(&elsewhere, &path).unwrap();
    refused(&path, "is not a regular file");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&path, "is empty");
    fs::write(&path, [7; 10_000]).unwrap();
    refused(&path, "is damaged");
    fs::write(&path, fs::read(&elsewhere).unwrap()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    refused(&path, "set its mode to 0600");
    // As the group of a volume in Kubernetes may.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    scene.open(&path, &[1]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// Every cut, and every page that is overwritten, either opens as an earlier state or is refused; none ends the process.
#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_refused() {
    let (directory, path) = directory();
    used(&path, &[1]).await;
    let content = fs::read(&path).unwrap();
    let damaged = directory.path().join("damaged");
    let scene = Scene::new(Rotation::Single);
    let mut refused = 0;
    for page in 0..content.len() / 4096 {
        for is_cut in [true, false] {
            let mut bytes = content.clone();
            match is_cut {
                true => bytes.truncate(page * 4096 + 100),
                false => bytes[page * 4096..(page + 1) * 4096].fill(0xa5),
            }
            fs::write(&damaged, bytes).unwrap();
            fs::set_permissions(&damaged, fs::Permissions::from_mode(0o600)).unwrap();
            match scene.open(&damaged, &[1]) {
                Ok(_) => {}
                Err(error) => {
                    assert!(error.contains("is damaged") || error.contains("cannot be used"), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced_or_removed_is_noticed_before_anything_is_redeemed() {
    let (directory, path) = directory();
    let scene = used(&path, &[1]).await;
    let chains = scene.open(&path, &[1]).unwrap();
    let aside = directory.path().join("aside");
    let sent = scene.provider.log().len();

    fs::rename(&path, &aside).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    assert!(standing(&scene).unwrap().contains("removed or replaced"));
    fs::copy(&aside, &path).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED, "another file is there");
    assert_eq!(scene.provider.log().len(), sent);

    fs::rename(&aside, &path).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(standing(&scene), None);
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2");
    scene.expect_sent_once(&[]);
}

#[tokio::test(start_paused = true)]
async fn an_older_copy_that_is_put_back_under_the_daemon_is_noticed_and_left_alone() {
    let (_directory, path) = directory();
    let scene = used(&path, &[1]).await;
    let older = fs::read(&path).unwrap();
    let chains = scene.open(&path, &[1]).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2");
    let sent = scene.provider.log().len();
    fs::write(&path, &older).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    assert!(standing(&scene).unwrap().contains("another program has changed it"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let left = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, UNSTORED);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.provider.log().len(), sent);
    drop(chains);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), left);
}

/// What a backup does: its token was redeemed, so the provider refuses it. The daemon cannot know better.
#[tokio::test(start_paused = true)]
async fn an_older_copy_at_a_start_costs_the_chains_that_went_on() {
    let (_directory, path) = directory();
    let mut scene = used(&path, &[1]).await;
    let older = fs::read(&path).unwrap();
    let chains = scene.open(&path, &[1]).unwrap();
    scene.redeem(&chains, "jane").await;
    chains.close().await;
    fs::write(&path, &older).unwrap();
    let chains = scene.open(&path, &[1]).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, "over: refresh_refused");
    scene.auth0 = Some(scene.provider.log_in());
    assert!(scene.redeem(&chains, "jane").await.starts_with("access"), "a login helps");
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_time_alone_has_changed_is_used_on() {
    let (_directory, path) = directory();
    let scene = used(&path, &[1]).await;
    let chains = scene.open(&path, &[1]).unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(scene.redeem(&chains, "jane").await, "access before refresh-1-2");
    assert_eq!(standing(&scene), None);
}

#[tokio::test(start_paused = true)]
async fn what_an_interrupted_start_has_left_is_removed() {
    let (directory, path) = directory();
    let abandoned = directory.path().join(".state.new-abcdef");
    let other = directory.path().join(".other.new-abcdef");
    fs::write(&abandoned, "").unwrap();
    fs::write(&other, "").unwrap();
    Scene::new(Rotation::Single).open(&path, &[1]).unwrap();
    assert!(!abandoned.exists() && other.exists());
}

/// The file is opened before the sandbox is entered, and no path is opened after that. Passes without Landlock.
#[test]
fn a_sandbox_that_allows_nothing_leaves_the_file_usable() {
    let (_directory, path) = directory();
    let inside = || {
        let mut scene = Scene::new(Rotation::Single);
        let chains = scene.open(&path, &[1]).unwrap();
        let size = fs::metadata(&path).unwrap().len();
        sandbox::enter(&Needs::default());
        // The threads of the runtime are started in the sandbox.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for user in 0..100 {
                scene.auth0 = Some(scene.provider.log_in());
                let end = scene.redeem(&chains, &format!("user{user}")).await;
                assert!(end.starts_with("access"), "{end}");
            }
            chains.close().await;
        });
        assert!(fs::metadata(&path).unwrap().len() > size, "the file has grown");
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap());
}

/// What is not of use any more is overwritten or freed; the sealed bytes of a record that was forgotten may remain.
#[tokio::test(start_paused = true)]
async fn many_redemptions_share_the_space_of_the_file() {
    let (_directory, path) = directory();
    let scene = Scene::new(Rotation::Single);
    let chains = scene.open(&path, &[1]).unwrap();
    for _ in 0..50 {
        scene.redeem(&chains, "jane").await;
    }
    let size = fs::metadata(&path).unwrap().len();
    for _ in 0..200 {
        scene.redeem(&chains, "jane").await;
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    assert_eq!(scene.counters.state.standing().unwrap().records, 1);
}
