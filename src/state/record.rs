//! A chain as the text that is sealed: JSON, filled up with spaces so that its length shows little.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::slot::Holder;
use crate::domain::redemption::{Chain, Refusal};
use crate::domain::source::OverReason;
use crate::secret::{Secret, SecretHash};

/// The length of a text is a multiple of this. The length of a token can tell which provider it is from.
const BLOCK: usize = 256;

/// Every reason that a chain can be refused for.
const REASONS: [OverReason; 4] = [
    OverReason::RefreshRefused,
    OverReason::RefreshLost,
    OverReason::ReauthenticationRequired,
    OverReason::ConsentRequired,
];

/// One run of the daemon. Moments of another run are not comparable with those of this one, and all were earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(pub u64);

/// A chain, and who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The tenant.
    pub tenant: String,
    /// The Auth0 connection.
    pub connection: String,
    /// The user's id at Auth0.
    pub user: String,
    /// The user's id at the identity provider.
    pub account: String,
    /// The chain.
    pub chain: Chain,
}

#[derive(Serialize, Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    tenant: Cow<'a, str>,
    #[serde(borrow)]
    connection: Cow<'a, str>,
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    account: Cow<'a, str>,
    generation: u64,
    origin: String,
    run: u64,
    since: Duration,
    #[serde(borrow)]
    token: Cow<'a, str>,
    attempts: u8,
    #[serde(default)]
    sent: Duration,
    #[serde(borrow)]
    refusal: Option<RefusalText<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RefusalText<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    client: Cow<'a, str>,
    at: Duration,
}

impl Record {
    /// Who the chain belongs to.
    pub fn holder(&self) -> Holder<'_> {
        let Self { tenant, connection, user, account, .. } = self;
        Holder { tenant, connection, user, account }
    }

    /// Reads a text of [`text`]. `None` if it is none, or if its generation is another one.
    pub fn read(text: &[u8], generation: u64, run: Run) -> Option<Self> {
        let text: Text<'_> = serde_json::from_slice(text).ok()?;
        if text.generation != generation {
            return None;
        }
        let here = |moment: Duration| if text.run == run.0 { moment } else { Duration::ZERO };
        let refusal = match text.refusal {
            Some(refusal) => {
                let reason = REASONS.into_iter().find(|reason| reason.as_str() == refusal.reason)?;
                Some(Refusal { reason, client: (&*refusal.client).into(), at: here(refusal.at) })
            }
            None => None,
        };
        let chain = Chain {
            origin: SecretHash::from_bytes(STANDARD.decode(text.origin).ok()?.try_into().ok()?),
            since: here(text.since),
            token: Secret::new(text.token),
            generation,
            attempts: text.attempts,
            sent: here(text.sent),
            refusal,
        };
        let [tenant, connection, user, account] =
            [text.tenant, text.connection, text.user, text.account].map(Cow::into_owned);
        Some(Self { tenant, connection, user, account, chain })
    }
}

/// The text of `chain`, which belongs to `holder`. `None` cannot happen: each of its fields has a form in JSON.
pub fn text(holder: &Holder<'_>, chain: &Chain, run: Run) -> Option<Vec<u8>> {
    let text = Text {
        tenant: holder.tenant.into(),
        connection: holder.connection.into(),
        user: holder.user.into(),
        account: holder.account.into(),
        generation: chain.generation,
        origin: STANDARD.encode(chain.origin.bytes()),
        run: run.0,
        since: chain.since,
        token: chain.token.expose().into(),
        attempts: chain.attempts,
        sent: chain.sent,
        refusal: chain.refusal.as_ref().map(|refusal| RefusalText {
            reason: refusal.reason.as_str().into(),
            client: (&*refusal.client).into(),
            at: refusal.at,
        }),
    };
    let mut bytes = serde_json::to_vec(&text).ok()?;
    bytes.resize(bytes.len().next_multiple_of(BLOCK), b' ');
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: Run = Run(7);

    fn records() -> impl Strategy<Value = Record> {
        let refusal = (0..REASONS.len(), any::<String>(), any::<u32>()).prop_map(|(reason, client, at)| {
            Refusal { reason: REASONS[reason], client: client.into(), at: Duration::from_nanos(at.into()) }
        });
        let chain =
            (any::<[u8; 32]>(), any::<u32>(), ".*", any::<u64>(), any::<u8>(), proptest::option::of(refusal));
        let chain = chain.prop_map(|(origin, since, token, generation, attempts, refusal)| Chain {
            origin: SecretHash::from_bytes(origin),
            since: Duration::from_millis(since.into()),
            token: Secret::new(token),
            generation,
            attempts,
            sent: Duration::from_millis((since / 2).into()),
            refusal,
        });
        (any::<[String; 4]>(), chain).prop_map(|([tenant, connection, user, account], chain)| Record {
            tenant,
            connection,
            user,
            account,
            chain,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in records()) {
            let text = text(&record.holder(), &record.chain, RUN).unwrap();
            prop_assert_eq!(text.len() % BLOCK, 0);
            let generation = record.chain.generation;
            prop_assert_eq!(Record::read(&text, generation, RUN), Some(record));
            prop_assert_eq!(Record::read(&text, generation.wrapping_add(1), RUN), None);
        }

        #[test]
        fn moments_of_another_run_are_earlier_than_all_of_this_one(record in records()) {
            let text = text(&record.holder(), &record.chain, RUN).unwrap();
            let read = Record::read(&text, record.chain.generation, Run(8)).unwrap();
            prop_assert_eq!((read.chain.since, read.chain.sent), (Duration::ZERO, Duration::ZERO));
            prop_assert!(read.chain.refusal.is_none_or(|refusal| refusal.at.is_zero()));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            prop_assert_eq!(Record::read(&text, 0, RUN), None);
        }
    }
}
