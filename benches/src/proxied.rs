//! Proxied calls: what a small GET costs the daemon, beside a hit and the same GET by a bare hyper client.

use std::process::Command;

use cloakroom::fake_auth0::Listening;
use tokio::runtime::{Builder, Runtime};

use crate::curves::middle;
use crate::subject::SERVER;
use crate::subjects::{BODY, Ground};
use crate::{CONNECTIONS, called, keep_to_own_processor};

/// A provider's API in this process, on the load's processor. Dropping it makes the API go away.
pub struct Provider {
    pub listening: Listening,
    _runtime: Runtime,
}

impl Provider {
    pub fn listen(ground: &Ground) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(keep_to_own_processor)
            .enable_all()
            .build()
            .unwrap();
        let listening = runtime.block_on(async { ground.listen_as_provider() });
        Self { listening, _runtime: runtime }
    }

    /// The target of the GET, whose answer is as long as a hit's.
    pub fn target() -> String {
        format!("/download?bytes={BODY}")
    }
}

/// Microseconds of processor time per answer; a figure for each round.
#[derive(Default)]
pub struct Proxied {
    hit: Vec<f64>,
    client: Vec<f64>,
    call: Vec<f64>,
}

/// What each takes, in turns.
pub fn measure(ground: &Ground, rounds: usize) -> Proxied {
    let provider = Provider::listen(ground);
    let hit = ground.cloakroom("cloakroom", "events = \"notable\"");
    let call = ground.proxying(&provider);
    let mut measured = Proxied::default();
    // The first round is a warm-up.
    for round in 0..=rounds {
        let cpu = [called(&hit, CONNECTIONS), bare_client(ground, &provider), called(&call, CONNECTIONS)];
        if round > 0 {
            measured.add(cpu);
        }
    }
    measured
}

fn bare_client(ground: &Ground, provider: &Provider) -> f64 {
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER.to_string()]).arg(std::env::current_exe().unwrap()).arg("bare-client");
    command.arg(provider.listening.domain()).arg(ground.ca()).args([&Provider::target(), &ground.token()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

impl Proxied {
    fn add(&mut self, [hit, client, call]: [f64; 3]) {
        self.hit.push(hit);
        self.client.push(client);
        self.call.push(call);
    }

    /// What a call takes, relative to a hit and the bare client's GET together: the least, the median and the most of
    /// the rounds.
    pub fn ratio(&self) -> [f64; 3] {
        let parts = self.hit.iter().zip(&self.client).zip(&self.call);
        let mut ratios: Vec<_> = parts.map(|((hit, client), call)| call / (hit + client)).collect();
        ratios.sort_by(f64::total_cmp);
        [ratios[0], middle(ratios.clone()), ratios[ratios.len() - 1]]
    }

    /// What is measured, and its median.
    pub fn medians(&self) -> [(&'static str, f64); 3] {
        let all = [("a hit", &self.hit), ("the GET by a bare hyper client", &self.client)];
        let [hit, client] = all.map(|(name, cpu)| (name, middle(cpu.clone())));
        [hit, client, ("the GET through cloakroom", middle(self.call.clone()))]
    }
}
