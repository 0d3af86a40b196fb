//! Makes TCP connections to a name: starts an attempt to one address after another at short intervals and takes the
//! first that succeeds. The kernel probes idle connections.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tower_service::Service;

use super::address::{NoPublicAddress, Reach, is_public};
use super::connect::{BoxError, Clean, ResolveFailed, Resolver, Step, note_step};
use super::zeroize_io::ZeroizeIo;

/// The interval between attempts, as RFC 8305, §5, recommends. An attempt continues while the next one is made, so that
/// a distant address can still succeed.
const BETWEEN_ADDRESSES: Duration = Duration::from_millis(250);

/// TCP keepalive: idle time before the first probe, interval, and number of probes. The kernel closes a dead connection
/// before it has been idle for as long as the pool keeps it.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const BETWEEN_PROBES: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// The TCP connector. Notes the step that each attempt reaches.
#[derive(Clone, Debug)]
pub struct Tcp<R = GaiResolver> {
    resolver: Resolver<R>,
    /// Whether names are resolved without the search domains of this machine.
    is_absolute: bool,
    /// The addresses that are connected to.
    reach: Reach,
}

impl<R> Tcp<R> {
    /// Resolves names with `resolver`, and connects to any address.
    pub fn new(resolver: Resolver<R>, is_absolute: bool) -> Self {
        Self { resolver, is_absolute, reach: Reach::Any }
    }

    /// Connects only to the addresses in `reach`. Each address is judged when it is connected to.
    #[must_use]
    pub fn within(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }
}

impl<R> Service<Uri> for Tcp<R>
where
    R: Service<Name, Response: Iterator<Item = SocketAddr> + Send> + Clone + Send + 'static,
    R::Future: Send,
{
    type Response = Clean<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.resolver.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let by_default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let port = uri.port_u16().unwrap_or(by_default);
        let resolving = match host.parse::<IpAddr>() {
            Ok(address) => Err(address),
            Err(_) => {
                let name = if self.is_absolute { format!("{host}.") } else { host.to_owned() };
                Ok(name.parse::<Name>().map(|name| self.resolver.call(name)))
            }
        };
        let is_public_only = self.reach.is_public_only(&uri);
        Box::pin(async move {
            let mut addresses: Vec<SocketAddr> = match resolving {
                Err(address) => vec![SocketAddr::new(address, port)],
                Ok(Ok(resolving)) => resolving.await?.collect(),
                Ok(Err(_)) => return Err(ResolveFailed.into()),
            };
            if addresses.is_empty() {
                return Err(ResolveFailed.into());
            }
            if is_public_only {
                addresses.retain(|address| is_public(address.ip()));
                if addresses.is_empty() {
                    return Err(NoPublicAddress.into());
                }
            }
            addresses.iter_mut().for_each(|address| address.set_port(port));
            let stream = first_of(alternating(addresses)).await?;
            // A failure here is ignored: the connection works, but is slower or may die unnoticed.
            stream.set_nodelay(true).ok();
            set_keepalive(&stream).ok();
            note_step(Step::Reached);
            Ok(TokioIo::new(ZeroizeIo::new(stream)))
        })
    }
}

/// Alternates between address families, beginning with that of the first address: `getaddrinfo` sorts by preference.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let starts_with_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == starts_with_v4);
    first.reverse();
    second.reverse();
    let mut turns = Vec::with_capacity(first.len() + second.len());
    while let Some(address) = first.pop() {
        turns.push(address);
        turns.extend(second.pop());
    }
    second.reverse();
    turns.extend(second);
    turns
}

/// The first connection that succeeds. If none does, the last error that is not about a missing route, or else the last
/// one: a machine without IPv6 has no route to half of the addresses.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut untried = addresses.into_iter().peekable();
    let (mut attempts, mut failure): (Vec<Pin<Box<_>>>, Option<io::Error>) = (Vec::new(), None);
    loop {
        match untried.next() {
            Some(address) => attempts.push(Box::pin(TcpStream::connect(address))),
            None if attempts.is_empty() => {
                return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            None => {}
        }
        let is_last = untried.peek().is_none();
        let next =
            async { if is_last { pending().await } else { tokio::time::sleep(BETWEEN_ADDRESSES).await } };
        tokio::select! {
            outcome = any_of(&mut attempts) => match outcome {
                Ok(stream) => return Ok(stream),
                Err(why) => {
                    if failure.as_ref().is_none_or(is_no_route) {
                        failure = Some(why);
                    }
                }
            },
            () = next => {}
        }
    }
}

fn is_no_route(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | HostUnreachable | NetworkUnreachable)
}

/// Waits until any of the attempts ends, and removes it.
async fn any_of<F, T>(attempts: &mut Vec<Pin<Box<F>>>) -> T
where
    F: Future<Output = T>,
{
    poll_fn(|cx| {
        for n in 0..attempts.len() {
            let Some(attempt) = attempts.get_mut(n) else { break };
            if let Poll::Ready(outcome) = attempt.as_mut().poll(cx) {
                drop(attempts.swap_remove(n));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

fn set_keepalive(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &(PROBE_AFTER.as_secs() as u32))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &(BETWEEN_PROBES.as_secs() as u32))?;
    setsockopt(stream, sockopt::TcpKeepCount, &PROBES)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use tokio::net::{TcpListener, TcpSocket};

    use super::super::connect::Timed;
    use super::*;

    /// A resolver that knows one name with these addresses.
    #[derive(Clone)]
    struct Addresses(&'static str, Vec<SocketAddr>);

    impl Service<Name> for Addresses {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, name: Name) -> Self::Future {
            let addresses = if name.as_str() == self.0 { self.1.clone() } else { Vec::new() };
            std::future::ready(Ok(addresses.into_iter()))
        }
    }

    /// A listener whose accept queue is full, so that the kernel drops further SYNs. `None` where the address does not
    /// exist.
    async fn deaf(host: &str, port: u16) -> Option<(TcpListener, Vec<TcpStream>)> {
        let at = SocketAddr::new(host.parse().unwrap(), port);
        let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.ok()?;
        socket.bind(at).ok()?;
        let (listener, mut queue) = (socket.listen(1).unwrap(), Vec::new());
        let at = listener.local_addr().unwrap();
        let a_while = Duration::from_millis(300);
        while let Ok(stream) = tokio::time::timeout(a_while, TcpStream::connect(at)).await {
            queue.push(stream.unwrap());
        }
        Some((listener, queue))
    }

    /// Unreachable addresses as networks have them: one of several, all but one, or one family.
    #[tokio::test]
    async fn an_address_that_drops_what_is_sent_to_it_does_not_keep_the_others_from_being_tried() {
        for deaf_hosts in [&["127.0.0.2"][..], &["::1"], &["127.0.0.2", "127.0.0.3", "127.0.0.4"]] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let (mut held, mut addresses) = (Vec::new(), Vec::new());
            for host in deaf_hosts {
                let Some(deaf) = deaf(host, at.port()).await else { continue };
                held.push(deaf);
                addresses.push(SocketAddr::new(host.parse().unwrap(), 1));
            }
            addresses.push(SocketAddr::new(at.ip(), 1));
            let tcp = Tcp::new(Resolver::new(Addresses("tenant.example", addresses)), false);
            let mut connector = Timed::new(tcp, Duration::from_secs(2));
            let uri = format!("https://tenant.example:{}/", at.port()).parse().unwrap();
            let connected = connector.call(uri).await;
            assert!(connected.is_ok(), "{deaf_hosts:?} {:?}", connected.err());
        }
    }

    #[tokio::test]
    async fn an_absolute_name_is_resolved_with_its_dot_and_addresses_are_not_resolved() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let resolver = Resolver::new(Addresses("tenant.example.", vec![at]));
        for (is_absolute, host, is_found) in [
            (true, "tenant.example", true),
            (false, "tenant.example", false),
            (true, "127.0.0.1", true),
            (false, "127.0.0.1", true),
        ] {
            let uri = format!("https://{host}:{}/", at.port()).parse().unwrap();
            let connected = Tcp::new(resolver.clone(), is_absolute).call(uri).await;
            assert_eq!(connected.is_ok(), is_found, "{is_absolute} {host}");
        }
    }

    #[tokio::test]
    async fn what_says_most_is_told_of_addresses_that_all_fail() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        // Nothing is routed to the second, and no host has the third.
        for addresses in [["127.0.0.1", "::ffff:0:0"], ["::ffff:0:0", "127.0.0.1"]] {
            let addresses = addresses.map(|address| SocketAddr::new(address.parse().unwrap(), free)).to_vec();
            let why = first_of(addresses).await.unwrap_err();
            assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    /// A resolver that answers each question with the next of its answers, and the last one from then on.
    #[derive(Clone)]
    struct Changing(Arc<Mutex<VecDeque<Vec<SocketAddr>>>>);

    impl Service<Name> for Changing {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
            std::future::ready(Ok(answer.into_iter()))
        }
    }

    /// Attempts to connect to `uri` by these answers: whether each was refused because no address is public.
    async fn refused(uri: &str, answers: Vec<Vec<SocketAddr>>, except: &[&str]) -> Vec<bool> {
        let attempts = answers.len();
        let resolver = Resolver::new(Changing(Arc::new(Mutex::new(answers.into()))));
        let reach = Reach::Public { except: except.iter().map(|host| Arc::from(*host)).collect() };
        let mut connector = Timed::new(Tcp::new(resolver, false).within(reach), Duration::from_millis(100));
        let mut refused = Vec::new();
        for _ in 0..attempts {
            let connected = connector.call(uri.parse().unwrap()).await;
            refused.push(connected.is_err_and(|error| error.is::<NoPublicAddress>()));
        }
        refused
    }

    /// The public address is of AS112 (RFC 7534), a sink that is made for stray packets.
    #[tokio::test]
    async fn each_address_is_judged_when_it_is_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let at = |host: &str| SocketAddr::new(host.parse().unwrap(), 1);
        let (public, local) = (at("192.175.48.1"), at("127.0.0.1"));
        let uri = format!("https://api.example:{port}/");
        for private in ["127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "fd00::1", "::1"]
        {
            assert_eq!(refused(&uri, vec![vec![at(private)]], &[]).await, [true], "{private}");
        }
        // A second answer that differs from the first is judged, too, and of several addresses each.
        let answers = vec![vec![public], vec![local], vec![local, public], vec![public, local]];
        assert_eq!(refused(&uri, answers, &[]).await, [false, true, false, false]);
        assert_eq!(refused(&format!("https://127.0.0.1:{port}/"), vec![vec![]], &[]).await, [true]);
        let authority = format!("api.example:{port}");
        assert_eq!(refused("https://api.example/", vec![vec![local]], &[&authority]).await, [true]);
        let nothing_came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nothing_came.is_err());
        assert_eq!(refused(&uri, vec![vec![local]], &[&authority]).await, [false]);
        listener.accept().await.unwrap();
    }

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443)).collect()
        };
        let turns = alternating(parse(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]));
        assert_eq!(turns, parse(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]));
        let turns = alternating(parse(&["1.1.1.1", "::1", "::2", "::3"]));
        assert_eq!(turns, parse(&["1.1.1.1", "::1", "::2", "::3"]));
    }

    #[tokio::test]
    async fn idle_connections_are_probed() {
        use nix::sys::socket::getsockopt;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        set_keepalive(&stream).unwrap();
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 15);
    }
}
