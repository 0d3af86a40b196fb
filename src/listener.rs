//! Callers' connections over Unix sockets: which are accepted, how many, in whose turn each is served.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::peer::{Origin, Visitor};
use crate::api::{ListenerInfo, ListenerTerms, Services, ShutdownPhase};

mod accept;
mod connection;
mod connection_limits;
pub mod fairness;
pub(crate) mod io;
mod refusal;
pub mod socket;
pub mod watchdog;

pub use accept::{accepting, max_refusals};

use accept::{Accepted, Acceptor, Arrival};
use fairness::FairScheduler;
use socket::SocketFile;
use watchdog::Heartbeat;

/// One listener, as it is served.
pub struct Listening {
    /// Accepts.
    pub listener: AsyncFd<UnixListener>,
    /// Removes the socket's file when the listener is done with; `None` where somebody else keeps the socket.
    pub file: Option<SocketFile>,
    /// Shows that the listener's loop turns.
    pub heartbeat: Heartbeat,
    /// `max_connections`.
    pub max_connections: usize,
    /// What goes for its callers.
    pub terms: watch::Receiver<Arc<ListenerTerms>>,
    /// As `status` shows it.
    pub info: Arc<ListenerInfo>,
}

/// Accepts and serves connections until the daemon's end closes them. Returns when the last one is done.
pub async fn serve(listening: Listening, services: Arc<Services>, scheduler: FairScheduler) {
    let Listening { listener, file, mut heartbeat, max_connections, terms, info } = listening;
    let mut acceptor =
        Acceptor::new(listener, max_connections, terms.clone(), Arc::clone(&services.request_counters));
    let mut phase = services.phase();
    let mut connections = JoinSet::new();
    let name: Arc<str> = info.path.display().to_string().into();
    let start = |Accepted { stream, caller, group, slot }| {
        let (services, open) = (Arc::clone(&services), Open::new(&info));
        let origin = Origin::new(Arc::clone(&name), &stream);
        let visitor = Visitor::new(caller, origin, terms.clone());
        let scheduled = scheduler.register(group);
        async move {
            connection::serve(stream, visitor, scheduled, services).await;
            drop((slot, open));
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
        // As many may have ended as have come.
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
    // Nobody new finds the socket now. Those whom the kernel has connected already believe that they were accepted,
    // so they are; to close the listener would reset them. Where somebody else keeps the socket, its queue is our
    // successor's.
    if let Some(file) = file {
        drop(file);
        while let Some(arrival) = acceptor.next_of_the_last().await {
            receive(&mut connections, arrival);
        }
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

/// Counts a connection for as long as it is open.
struct Open(Arc<ListenerInfo>);

impl Open {
    fn new(info: &Arc<ListenerInfo>) -> Self {
        info.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(info))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
