//! Connections over Unix sockets: accepts them, limits them, and serves them in fair turns between uids.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::peer::{ConnectionPeer, Origin};
use crate::api::{ListenerInfo, ListenerTerms, Services, ShutdownPhase};

mod accept;
mod connection;
mod connection_limits;
mod connection_timer;
pub mod fairness;
mod held_slot;
pub(crate) mod io;
mod refusal;
mod rest;
pub mod socket;
mod socket_file;
mod stepped_body;
pub mod watchdog;

pub use accept::{async_listener, max_refusals};

use accept::{Accepted, Acceptor, Arrival};
use connection_limits::ConnectionLimits;
use fairness::FairScheduler;
use held_slot::HeldSlot;
use io::ConnectionState;
use socket_file::SocketFile;
use watchdog::Heartbeat;

/// Everything that [`serve`] needs for one listener.
pub struct ListenerSetup {
    /// The socket, registered with the runtime.
    pub listener: AsyncFd<UnixListener>,
    /// Removes the socket's file on drop; `None` if the service manager owns the socket.
    pub file: Option<SocketFile>,
    /// Shows the watchdog that the accept loop runs.
    pub heartbeat: Heartbeat,
    /// `max_connections`.
    pub max_connections: usize,
    /// The most proxied calls at a time. Their connections count against this limit instead of `max_connections`.
    pub max_streams: usize,
    /// The rules for the listener's clients.
    pub terms: watch::Receiver<Arc<ListenerTerms>>,
    /// What `status` shows of the listener.
    pub info: Arc<ListenerInfo>,
}

/// Accepts and serves connections until the daemon shuts down. Returns when the last connection has ended.
pub async fn serve(setup: ListenerSetup, services: Arc<Services>, scheduler: FairScheduler) {
    let ListenerSetup { listener, file, mut heartbeat, max_connections, max_streams, terms, info } = setup;
    let mut acceptor =
        Acceptor::new(listener, max_connections, terms.clone(), Arc::clone(&services.request_counters));
    info.max_streams.store(max_streams as u64, Ordering::Relaxed);
    let streams = ConnectionLimits::new(max_streams);
    let mut phase = services.phase();
    let mut connections = JoinSet::new();
    let name: Arc<str> = info.path.display().to_string().into();
    let start = |Accepted { stream, caller, group, slot }| {
        let (services, open) = (Arc::clone(&services), OpenConnection::new(&info));
        let origin = Origin::new(Arc::clone(&name), &stream);
        let state = Arc::<ConnectionState>::default();
        let held = HeldSlot::new(slot, &streams, &state, &info);
        let client = ConnectionPeer::new(caller, origin, held.clone(), terms.clone());
        let scheduled = scheduler.register(group);
        async move {
            connection::serve(stream, client, scheduled, services, state).await;
            held.release();
            drop(open);
        }
    };
    let receive = |connections: &mut JoinSet<()>, arrival| {
        match arrival {
            Arrival::Admitted(accepted) => connections.spawn(start(accepted)),
            Arrival::Refused(stream, slot) => {
                let services = Arc::clone(&services);
                connections.spawn(async move {
                    refusal::refuse(stream, &services).await;
                    drop(slot);
                })
            }
        };
        // Reaps all connections that have ended: there may be as many as were accepted.
        while connections.try_join_next().is_some() {}
    };
    loop {
        tokio::select! {
            arrival = acceptor.next() => receive(&mut connections, arrival),
            _ = phase.wait_for(|phase| *phase >= ShutdownPhase::Closing) => break,
            Some(_) = connections.join_next() => continue,
            () = heartbeat.beat() => continue,
        };
    }
    // Once the file is removed, no further client finds the socket. Connections in the backlog are established for
    // their clients, and closing the listener would reset them, so they are still accepted. If the service manager owns
    // the socket, its backlog is left to the next daemon.
    if let Some(file) = file {
        drop(file);
        while let Some(arrival) = acceptor.next_from_backlog().await {
            receive(&mut connections, arrival);
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

/// Counts a connection in [`ListenerInfo`] until it is dropped.
struct OpenConnection(Arc<ListenerInfo>);

impl OpenConnection {
    fn new(info: &Arc<ListenerInfo>) -> Self {
        info.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(info))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
