//! Tests of chains whose records are not what this program wrote.

use std::io;

use super::database::Change;
use super::slot::UserPrefix;
use super::*;
use crate::config::UserIds;
use crate::domain::freshness::Timestamp;
use crate::secret::{KeyMaterial, TagKey};

/// A file whose records cannot be opened.
#[derive(Debug)]
struct Foreign;

impl Records for Foreign {
    fn get(&mut self, _: &Slot) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(Some(b"sealed by another program".to_vec()))
    }

    fn has(&mut self, _: UserPrefix) -> Result<bool, Trouble> {
        Ok(true)
    }

    fn apply(&mut self, _: &[Change]) -> Result<(), Trouble> {
        Ok(())
    }

    fn each(&mut self, _: &mut dyn FnMut(Slot, &[u8])) -> Result<(), Trouble> {
        Ok(())
    }

    fn len(&self) -> u64 {
        1
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_opened_is_logged_once_with_its_user() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let keyring = Keyring::new(&KeyMaterial::from_bytes(&[1; 32]).unwrap(), &[], Run(1)).unwrap();
    let state = OpenState { records: Box::new(Foreign), keyring, tenant: "acme".into() };
    let clock = Clock::simulated(Timestamp::from_secs(1_800_000_000));
    let names = UserNames::new(UserIds::Plain, TagKey::random().unwrap());
    let chains = Chains::in_file(state, names, clock.clone(), Arc::default(), 1);
    for (user, attempts) in [("okta|jane", 3), ("okta|john", 2)] {
        let key = ChainKey {
            connection: "okta".into(),
            user: UserId::parse(user).unwrap(),
            identity_user_id: "1".to_owned(),
        };
        for _ in 0..attempts {
            let terms = Terms {
                client: "client".into(),
                rotation: Rotation::Single,
                grace: Duration::ZERO,
                last_answer: None,
            };
            let asked = Asked { refresh_token: Some(Secret::new("refresh")), at: clock.now() };
            let end = chains.redeem(&key, terms, asked, |_| async { unreachable!() }).await;
            assert!(matches!(end, Redeemed::Failed { failure: SourceFailure::State, .. }), "{end:?}");
        }
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let about =
        |user: &str| text.lines().filter(|line| line.contains("purge") && line.contains(user)).count();
    assert_eq!([about("okta|jane"), about("okta|john")], [1, 1], "{text}");
}
