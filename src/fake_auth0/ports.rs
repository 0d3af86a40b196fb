//! The ports of a tenant: each listens, refuses connections, or is closed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

const BACKLOG: u32 = 1024;

/// Binds a port of 127.0.0.1; 0 is any free one.
fn bind(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// The ports of a tenant.
#[derive(Default)]
pub(super) struct Ports(Mutex<Vec<Weak<Port>>>);

impl Ports {
    pub fn add(&self, port: &Arc<Port>) {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ports.retain(|port| port.strong_count() > 0);
        ports.push(Arc::downgrade(port));
    }

    /// Makes every port refuse connections, or accept them again. It does when this returns.
    pub fn refuse(&self, refuse: bool) {
        let ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ports.iter().filter_map(Weak::upgrade).for_each(|port| port.refuse(refuse));
    }
}

/// One port: its state, and a signal for the tasks of its connections.
pub(super) struct Port {
    number: u16,
    state: Mutex<PortState>,
    /// Whether the port accepts connections. Its connections end when it does not.
    open: watch::Sender<bool>,
}

enum PortState {
    Open(TcpListener),
    /// Bound, so that no other process takes the port, but not listening: the kernel refuses connections.
    Refusing(Option<TcpSocket>),
    Closed,
}

impl Port {
    /// Listens on a port of 127.0.0.1; 0 is any free one.
    pub fn listen(number: u16) -> io::Result<Self> {
        let socket = bind(number)?;
        let number = socket.local_addr()?.port();
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { number, state: Mutex::new(PortState::Open(listener)), open: watch::Sender::new(true) })
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns a receiver of whether the port accepts connections.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Waits until every receiver is dropped.
    pub async fn without_receivers(&self) {
        self.open.closed().await;
    }

    fn state(&self) -> MutexGuard<'_, PortState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn close(&self) {
        *self.state() = PortState::Closed;
        self.open.send_replace(false);
    }

    fn refuse(&self, refuse: bool) {
        let mut state = self.state();
        match (&mut *state, refuse) {
            (PortState::Open(_), true) => {
                // The listener must be closed before its port can be bound again.
                *state = PortState::Refusing(None);
                *state = PortState::Refusing(bind(self.number).ok());
            }
            (PortState::Refusing(socket), false) => {
                let socket = socket.take().map_or_else(|| bind(self.number), Ok);
                match socket.and_then(|socket| socket.listen(BACKLOG)) {
                    Ok(listener) => *state = PortState::Open(listener),
                    Err(error) => {
                        tracing::error!(%error, port = self.number, "Another process has taken the port");
                    }
                }
            }
            _ => return,
        }
        self.open.send_replace(matches!(*state, PortState::Open(_)));
    }

    pub fn is_closed(&self) -> bool {
        matches!(*self.state(), PortState::Closed)
    }

    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        match &*self.state() {
            PortState::Open(listener) => Poll::Ready(Ok(ready!(listener.poll_accept(cx))?.0)),
            _ => Poll::Pending,
        }
    }
}
