//! Servers are asked: the loop around a [`Plan`](crate::plan::Plan), and the names it looks up.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::task::JoinSet;

use super::demux::{GATHER_MTU, sort_datagram, sort_waiting};
use super::observed::{Asking, Lookup};
use super::report::{Gathering, Progress};
use super::shared::Shared;
use super::trickle::Reported;
use crate::common::{ERROR_PAUSE, bump};
use crate::config::GatherConfig;
use crate::socket::icmp::{Watch, passes};
use crate::socket::{Socket, local, names};
use crate::stun::StunServer;

/// Asks every server from the socket of its family until the plan has seen enough, and reports the
/// progress meanwhile.
pub(super) async fn gather(
    shared: &Shared,
    servers: &[StunServer],
    config: &GatherConfig,
    mut progress: impl FnMut(Progress),
) -> Gathering {
    let started = Instant::now();
    let sockets = &shared.sockets;
    let bound = sockets.iter().map(Socket::bound).collect();
    let asking = |server| asking(sockets, server);
    shared
        .observed()
        .start_plan(servers, config, bound, started, asking);
    let mut lookups = resolve(servers);
    let (first, second) = (sockets.first(), sockets.get(1));
    let mut watches: Vec<Watch<'_>> = sockets.iter().filter_map(Socket::watch).collect();
    let mut first_buffer = vec![0_u8; GATHER_MTU];
    let mut second_buffer = vec![0_u8; if second.is_some() { GATHER_MTU } else { 0 }];

    let mut reported = Reported::default();
    while !shared.observed().is_complete(Instant::now()) {
        // an error about a server would fail the agent's own datagrams
        if sockets.iter().any(Socket::is_taken) {
            watches.clear();
        }
        send_due(shared, &watches).await;
        news(shared, &mut reported)
            .into_iter()
            .for_each(&mut progress);
        // a request that could not be sent has ended as well, and may have been the last
        if shared.observed().is_complete(Instant::now()) {
            break;
        }
        let wake_at = shared.observed().next_timeout();
        let wake_at = wake_at.unwrap_or_else(Instant::now);
        tokio::select! {
            // timers first: a flood of datagrams must not outlast the deadline
            biased;
            () = tokio::time::sleep_until(wake_at.into()) => read_before_silence(shared, &watches),
            Some(resolved) = lookups.join_next() => {
                shared.observed().resolved(resolved.ok(), Instant::now(), asking);
            }
            () = shared.answered.notified() => {}
            (socket, received) = receive(first, &mut first_buffer) => if let Some(received) = received {
                let received = received.map(|(n, source)| (&first_buffer[..n], source));
                sort(shared, socket, received, &watches).await;
            },
            (socket, received) = receive(second, &mut second_buffer) => if let Some(received) = received {
                let received = received.map(|(n, source)| (&second_buffer[..n], source));
                sort(shared, socket, received, &watches).await;
            },
        }
    }
    shared.observed().give_up_names(Instant::now());
    news(shared, &mut reported).into_iter().for_each(progress);
    let is_heard = shared.is_heard();
    let mut observed = shared.observed();
    let candidates = shared.candidates(&observed);
    let mut gathering = observed.gathering(servers, candidates, started.elapsed());
    if is_heard {
        gathering.evidence.add_sign_of_life();
    }
    gathering
}

/// How a server is asked. The route is looked up where its socket is bound to the wildcard address.
fn asking(sockets: &[Socket], server: SocketAddr) -> Asking {
    let is_wildcard = sockets
        .iter()
        .map(Socket::bound)
        .any(|bound| bound.ip().is_unspecified() && bound.is_ipv4() == server.is_ipv4());
    Asking {
        leaves_from: is_wildcard.then(|| local::toward(server)).flatten(),
        id: rand::random(),
    }
}

/// Looks every name up in a task of its own; all end with the returned set.
fn resolve(servers: &[StunServer]) -> JoinSet<Lookup> {
    let mut lookups = JoinSet::new();
    for server in servers {
        if let StunServer::Name(host, port) = server {
            let (server, host, port) = (server.clone(), host.clone(), *port);
            lookups.spawn(async move { (server, names::lookup(&host, port).await) });
        }
    }
    lookups
}

type Received = Option<io::Result<(usize, SocketAddr)>>;

/// Receives on `socket`; never, if there is none.
async fn receive<'a>(socket: Option<&'a Socket>, buffer: &mut [u8]) -> (&'a Socket, Received) {
    match socket {
        Some(socket) => (socket, socket.recv_for_base(buffer).await),
        None => core::future::pending().await,
    }
}

/// The progress since the last call.
fn news(shared: &Shared, reported: &mut Reported) -> Vec<Progress> {
    let observed = shared.observed();
    let candidates = shared.candidates(&observed);
    reported.progress(&observed, candidates)
}

async fn send_due(shared: &Shared, watches: &[Watch<'_>]) {
    loop {
        let due = shared.observed().poll_transmit(Instant::now());
        let Some(transmit) = due else { return };
        let sockets = &shared.sockets;
        let Some(socket) = sockets.iter().find(|s| s.bound() == transmit.socket) else {
            return;
        };
        let send = || socket.send_for_base(&transmit.bytes, transmit.server);
        shared.on_asked(transmit.server);
        let mut sent = send().await;
        // an error may be about a server asked before
        if sent.is_err() && file_unreachable(shared, watches) {
            sent = send().await;
        }
        match sent {
            Ok(_) => {}
            Err(error) if passes(&error) => shared.observed().handle_send_lost(transmit.request),
            Err(_) => shared.observed().handle_send_error(transmit.request),
        }
    }
}

/// Files the ICMP errors about single servers; whether there were any.
fn file_unreachable(shared: &Shared, watches: &[Watch<'_>]) -> bool {
    let errors: Vec<_> = watches.iter().flat_map(Watch::take).collect();
    shared.observed().handle_unreachable(&errors);
    !errors.is_empty()
}

/// Sorts a datagram, or an error, that came in while gathering.
async fn sort(
    shared: &Shared,
    socket: &Socket,
    received: io::Result<(&[u8], SocketAddr)>,
    watches: &[Watch<'_>],
) {
    match received {
        Ok((datagram, source)) => sort_datagram(shared, socket, source, datagram),
        Err(_) if file_unreachable(shared, watches) => {}
        Err(_) => {
            bump(&mut shared.observed().dropped.socket_errors);
            tokio::time::sleep(ERROR_PAUSE).await;
        }
    }
}

/// Before any server counts as silent, the datagrams that came in meanwhile are read: this process
/// may have stood still for longer than the servers.
fn read_before_silence(shared: &Shared, watches: &[Watch<'_>]) {
    let mut has_failed = false;
    for socket in shared.sockets.iter().filter(|socket| !socket.is_taken()) {
        has_failed |= sort_waiting(shared, socket);
    }
    if has_failed {
        file_unreachable(shared, watches);
    }
}
