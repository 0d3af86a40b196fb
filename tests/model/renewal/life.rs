//! One life of the daemon: its parts, from a start to a crash or an end.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::cache::Cache;
use cloakroom::config::{self, Config, Connection, Refresh, TokenEndpoint};
use cloakroom::domain::provider::Provider;
use cloakroom::domain::source::{Rotation, Source, SourceOrder};
use cloakroom::management::Management;
use cloakroom::secret::{KeyMaterial, Secret, TagKey};
use cloakroom::sources::{SourceParts, Sources};
use cloakroom::state::{Chains, Look, OpenState, Place, Trouble};
use cloakroom::telemetry::{Counters, UserNames};
use cloakroom::upstream::vault::Vault;
use cloakroom::upstream::{Auth0, Parts, Profiles};
use redb::StorageBackend;

use super::failing_disk::Disk;
use super::ledger::{HOSTS, Line};
use super::plan::Setup;
use crate::plan::{S, defaults};

/// The names of the connections, the one for single use first.
pub const CONNECTIONS: [&str; 2] = ["single", "multi"];

/// The secret that both providers accept unless a step says otherwise.
pub const SECRET: &str = "demo-connection-secret";

pub struct Life {
    pub cache: Cache,
    pub chains: Chains,
    _management: Management,
}

impl Life {
    /// A start with what `disk` has; `None` if the state file cannot be opened.
    pub fn begin(setup: &Setup, line: &Line, disk: &DiskOfLife) -> Option<Self> {
        let Config { tenant: mut to, client, management: mut keeper, mut cache, upstream, .. } = defaults();
        to.audience = line.tenant.audience().into();
        (to.connect_timeout, to.request_timeout) = (S, line.timeout);
        keeper.min_ttl = Duration::from_secs(30);
        cache.min_ttl = setup.min_ttl;
        cache.negative.login_required = setup.login_required;
        let (tags, counters, clock) = (TagKey::random().unwrap(), Arc::new(Counters::default()), &line.clock);
        let keys = vec![KeyMaterial::from_bytes(&[1; 32]).unwrap()];
        let settings = config::State { path: "/a disk in memory".into(), keys };
        let state = OpenState::open_at(disk.clone(), &settings, "tenant").ok()?;
        let names = UserNames::new(config::UserIds::Plain, tags.clone());
        let chains = Chains::in_file(state, names.clone(), clock.clone(), Arc::clone(&counters), setup.seed);
        let connections = connections(setup, line);
        let transport = Arc::new(line.clone());
        let parts = Parts {
            transport: transport.clone(),
            clock: clock.clone(),
            tags: tags.clone(),
            counters: Arc::clone(&counters),
            orders: connections.iter().map(|of| (Arc::clone(&of.name), of.sources)).collect(),
            seed: setup.seed,
        };
        let auth0 = Auth0::new(&to, &client, upstream, parts);
        let management = Management::start(Arc::new(auth0.clone()), keeper, clock.clone(), setup.seed);
        let profiles = Arc::new(Profiles::new(auth0.clone(), management.clone()));
        let settings = config::Providers {
            extra_roots: Vec::new(),
            proxy: config::Proxy::default(),
            connect_timeout: S,
            request_timeout: line.timeout,
            requests_per_second: 20.0,
            burst: 40,
        };
        let providers = cloakroom::providers::Providers::new(
            &settings,
            transport,
            clock.clone(),
            Arc::clone(&counters),
            setup.seed,
        );
        let vault = Vault::new(auth0, config::Vault::default());
        let parts = SourceParts { chains: chains.clone(), providers, vault, clock: clock.clone(), tags };
        let sources = Arc::new(Sources::new(&connections, parts));
        let cache = Cache::new(&cache, profiles, sources, clock.clone(), counters, names, setup.seed);
        Some(Self { cache, chains, _management: management })
    }
}

fn connections(setup: &Setup, line: &Line) -> [Connection; 2] {
    let of = |at: usize| {
        let (provider, rotation, grace) = match at {
            0 => ("oauth2", Rotation::Single, setup.grace),
            _ if setup.keeps_old => ("oauth2", Rotation::KeepOld, Duration::ZERO),
            _ => ("oauth2", Rotation::None, Duration::ZERO),
        };
        let provider = Provider::named(provider).unwrap();
        let url = format!("https://{}{}", HOSTS[at], line.providers[at].dialect().path());
        let refresh = Refresh {
            provider,
            client_id: line.providers[at].client().0,
            secret: Arc::new(Secret::new(SECRET)),
            secret_file: "/run/secret".into(),
            previous_secret: None,
            previous_secret_file: None,
            token_endpoint: TokenEndpoint::parse(&url).unwrap(),
            client_auth: provider.client_auth,
            scope: None,
            rotation,
            grace,
        };
        Connection {
            name: CONNECTIONS[at].into(),
            sources: SourceOrder::new(&[Source::Identities, Source::Refresh]).unwrap(),
            assumed_ttl: None,
            refresh: Some(Arc::new(refresh)),
        }
    };
    [of(0), of(1)]
}

/// The disk as one life of the daemon reaches it: a daemon that is gone writes nothing any more.
#[derive(Clone, Debug)]
pub struct DiskOfLife {
    pub disk: Disk,
    pub life: u64,
    pub present: Arc<Mutex<AtomicU64>>,
}

impl DiskOfLife {
    /// The next life's, which cuts this one off. `between` happens while nobody writes.
    pub fn next(&self, between: impl FnOnce(&Disk)) -> Self {
        let present = self.present.lock().unwrap();
        let life = self.life + 1;
        present.store(life, Ordering::SeqCst);
        between(&self.disk);
        drop(present);
        Self { life, ..self.clone() }
    }

    fn reach<T>(&self, call: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        let present = self.present.lock().unwrap();
        match present.load(Ordering::SeqCst) == self.life {
            true => call(&self.disk),
            false => Err(io::Error::from_raw_os_error(5)),
        }
    }
}

impl StorageBackend for DiskOfLife {
    fn len(&self) -> io::Result<u64> {
        self.reach(Disk::len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.reach(|disk| disk.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.reach(|disk| disk.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.reach(Disk::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.reach(|disk| disk.write(offset, data))
    }
}

impl Place for DiskOfLife {
    type Backend = Self;

    fn open(&mut self) -> Result<Self, Trouble> {
        Ok(self.clone())
    }

    fn look(&self) -> Result<Look, Trouble> {
        Ok(Look::Untouched)
    }

    fn leave(&mut self) {}
}
