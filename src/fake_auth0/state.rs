//! A tenant's state: users, issued tokens, limits, faults and calls. One lock guards all of it.

use std::collections::{BTreeMap, HashSet};

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use crate::domain::freshness::Moment;

use super::assertions::Assertions;
use super::calls::Calls;
use super::client_keys::ClientKeys;
use super::clients::Application;
use super::error::TenantError;
use super::fault::Faults;
use super::keys::Keys;
use super::limit::{Bucket, Quota};
use super::options::TenantOptions;
use super::users;
use super::vault::Vault;

pub(super) struct State {
    pub options: TenantOptions,
    /// The latest listener's address, if there was one.
    pub listening: Option<String>,
    /// The host that asks clients for certificates, if there is one.
    pub mtls_host: Option<String>,
    /// Whether the discovery document names it.
    pub mtls_aliases: bool,
    pub keys: Keys,
    /// Public keys of the application.
    pub client_keys: ClientKeys,
    pub assertions: Assertions,
    /// Certificates that the token endpoint was presented, in their order.
    pub presented: Vec<CertificateDer<'static>>,
    /// By `user_id` of the primary identity; a linked identity's own id is unknown, as at Auth0.
    pub users: BTreeMap<String, Map<String, Value>>,
    pub limit: Option<Bucket>,
    /// The application's quota of tokens.
    pub quota: Option<Quota>,
    pub faults: Faults,
    pub vault: Vault,
    /// How often all open connections were made dead. A connection of an earlier generation is dead.
    pub connection_generation: u64,
    pub calls: Calls,
    pub logins: u64,
    pub tokens_issued: u64,
    /// The applications besides that of the options, by client id.
    pub applications: BTreeMap<String, Application>,
    /// Client ids, and what was issued to them.
    issued: Vec<(String, Fingerprint)>,
    revoked: HashSet<Fingerprint>,
}

/// A token's hash, which is enough to recognise it.
type Fingerprint = Vec<u8>;

impl State {
    pub fn new(options: TenantOptions, now: Moment) -> Result<Self, TenantError> {
        let mut state = Self {
            listening: None,
            mtls_host: None,
            mtls_aliases: true,
            keys: Keys::new(options.own_keys)?,
            client_keys: ClientKeys::default(),
            assertions: Assertions::default(),
            presented: Vec::new(),
            users: BTreeMap::new(),
            limit: options.rate_limit.map(|limit| Bucket::new(limit, now)),
            quota: None,
            faults: Faults::default(),
            vault: Vault::default(),
            connection_generation: 0,
            calls: Calls::default(),
            logins: 0,
            tokens_issued: 0,
            applications: BTreeMap::new(),
            issued: Vec::new(),
            revoked: HashSet::new(),
            options,
        };
        for user in users::samples(now.wall).into_iter().chain(users::refreshable::samples(now.wall)) {
            state.put_user(user);
        }
        Ok(state)
    }

    pub fn domain(&self) -> String {
        let domain = self.options.domain.as_ref().or(self.listening.as_ref());
        domain.cloned().unwrap_or_else(|| "localhost".into())
    }

    pub fn audience(&self) -> String {
        format!("https://{}/api/v2/", self.domain())
    }

    pub fn put_user(&mut self, user: Value) -> bool {
        let Value::Object(user) = user else { return false };
        let Some(id) = user.get("user_id").and_then(Value::as_str).map(str::to_owned) else { return false };
        self.users.insert(id, user);
        true
    }

    pub fn issued(&mut self, client_id: &str, token: &str) {
        self.tokens_issued += 1;
        self.issued.push((client_id.to_owned(), fingerprint(token)));
    }

    /// Makes the tokens invalid that were issued to this client, or to any.
    pub fn revoke_issued(&mut self, client_id: Option<&str>) {
        let of_it = |client: &str| client_id.is_none_or(|id| id == client);
        let (revoked, kept) = self.issued.drain(..).partition(|(client, _)| of_it(client));
        self.issued = kept;
        let revoked: Vec<_> = revoked;
        self.revoked.extend(revoked.into_iter().map(|(_, fingerprint)| fingerprint));
    }

    pub fn is_revoked(&self, token: &str) -> bool {
        self.revoked.contains(&fingerprint(token))
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}
