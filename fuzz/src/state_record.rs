//! Records of the state file: sealed, and the text inside.

use std::sync::OnceLock;
use std::time::Duration;

use cloakroom::domain::redemption::Chain;
use cloakroom::secret::{KeyMaterial, Secret};
use cloakroom::state::record::{Record, Run, text};
use cloakroom::state::sealing::Keyring;
use cloakroom::state::slot::{Holder, Slot};

const RUN: Run = Run(7);
const HOLDER: Holder<'_> = Holder { tenant: "acme", connection: "okta", user: "okta|jane", account: "jane" };

/// After `c` the input changes a record that was sealed: pairs of a position and of bits to flip. Any other input is a
/// sealed record, and the text of one as well.
pub fn record(data: &[u8]) {
    match data {
        [b'c', changes @ ..] => change(changes),
        data => {
            assert!(keyring().open(&sample().0, data).is_err(), "nobody without the key seals a record");
            read(data);
        }
    }
}

fn keyring() -> &'static Keyring {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    KEYRING.get_or_init(|| Keyring::new(&KeyMaterial::from_bytes(&[1; 32]).unwrap(), &[], RUN).unwrap())
}

fn sample() -> &'static (Slot, Vec<u8>) {
    static SAMPLE: OnceLock<(Slot, Vec<u8>)> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let token = Secret::new("refresh-token");
        let (origin, since, sent) = (token.hash(), Duration::from_secs(1), Duration::from_secs(2));
        let chain = Chain { origin, since, token, generation: 3, attempts: 1, sent, refusal: None };
        keyring().seal(&HOLDER, &chain).unwrap()
    })
}

fn change(changes: &[u8]) {
    let (slot, sealed) = sample();
    let mut changed = sealed.clone();
    for pair in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % changed.len();
        changed[at] ^= pair[2];
    }
    assert_eq!(keyring().open(slot, &changed).is_ok(), changed == *sealed);
}

/// What is read is written as what is read again.
fn read(data: &[u8]) {
    let generation = serde_json::from_slice::<serde_json::Value>(data).ok();
    let generation = generation.and_then(|text| text.get("generation")?.as_u64()).unwrap_or_default();
    let Some(record) = Record::read(data, generation, RUN) else { return };
    let written = text(&record.holder(), &record.chain, RUN).unwrap();
    assert_eq!(Record::read(&written, generation, RUN), Some(record));
}
