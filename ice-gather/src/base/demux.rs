//! The demultiplexer: each datagram is ours, the agent's, or dropped.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use nat_summary::TowardPeer;

use super::observed::Filed;
use super::shared::{AgentOf, Shared};
use crate::checks::{Rebinding, Remapped};
use crate::common::{ERROR_PAUSE, bump, canonical};
use crate::socket::{Admitted, Socket};
use crate::stun::Header;

/// Longest datagram read while gathering: only STUN is expected then.
pub(super) const GATHER_MTU: usize = 1500;
/// Datagrams sorted at once of those that wait: an answer of every server that evidence has room
/// for.
const MAX_WAITING: usize = nat_summary::MAX_OBSERVATIONS;

/// The agent's reading end of the socket with this number: every datagram that is not ours, straight
/// from the socket into the agent's buffer. Fails once the socket is closed, and only then, because
/// the agent's loop ends for ever on the first error.
pub(crate) async fn recv_for_agent(
    shared: &Shared,
    number: usize,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    let socket = shared.socket(number).ok_or(io::ErrorKind::NotConnected)?;
    // a flood must not starve the other tasks of this thread
    tokio::task::consume_budget().await;
    if socket.is_closed() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    socket.take();
    // under load a datagram waits already: taking it needs no waker
    match socket.take_waiting(buffer) {
        Some(Ok((length, source))) if is_for_agent(shared, socket, source, &buffer[..length]) => {
            return Ok((length, source));
        }
        Some(Err(_)) => bump(&mut shared.observed().dropped.socket_errors),
        _ => {}
    }
    wait_for_agent(shared, socket, buffer).await
}

async fn wait_for_agent(
    shared: &Shared,
    socket: &Socket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr)> {
    loop {
        if socket.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if let Some(early) = socket.take_early(buffer) {
            return Ok(early);
        }
        match socket.recv_for_agent(buffer).await {
            Some(Ok((length, source)))
                if is_for_agent(shared, socket, source, &buffer[..length]) =>
            {
                return Ok((length, source));
            }
            Some(Err(_)) => {
                bump(&mut shared.observed().dropped.socket_errors);
                socket.pause(ERROR_PAUSE).await;
            }
            // not for the agent, or an early check, or the end
            Some(Ok(_)) | None => {}
        }
    }
}

/// The agent's sending end of the socket with this number.
pub(crate) async fn send_for_agent(
    shared: &Shared,
    number: usize,
    datagram: &[u8],
    target: SocketAddr,
) -> io::Result<usize> {
    let socket = shared.socket(number).ok_or(io::ErrorKind::NotConnected)?;
    // before anything counts as sent
    if socket.is_closed() {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let header = Header::peek(datagram);
    match header {
        // dropped as by the network: the library repeats a check in its next round
        Some(header) if !shared.on_sent(socket, target, header) => return Ok(datagram.len()),
        Some(_) => {}
        None => socket.note_moved(),
    }
    let sent = socket.send_for_agent(datagram, target).await;
    if let (Err(_), Some(header)) = (&sent, header) {
        shared.on_not_sent(header);
    }
    sent
}

#[inline]
fn is_for_agent(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
    if Header::is_claimed(datagram) {
        return is_stun_for_agent(shared, socket, source, datagram);
    }
    socket.note_moved();
    true
}

/// Apart, so that a datagram that is not STUN has the shorter way.
#[cold]
#[inline(never)]
fn is_stun_for_agent(
    shared: &Shared,
    socket: &Socket,
    source: SocketAddr,
    datagram: &[u8],
) -> bool {
    // the library would mask the first bits out and read a check that was not read here
    let Some(header) = Header::peek(datagram) else {
        bump(&mut shared.observed().dropped.malformed);
        return false;
    };
    if header.is_response {
        let is_for_agent = !file_answer(shared, socket, source, datagram);
        read_response(shared, is_for_agent, socket, source, datagram);
        is_for_agent
    } else if header.is_binding_request {
        admits(shared, socket, source, datagram)
    } else {
        let mut checks = shared.checks();
        checks.on_other_received(Instant::now());
        if shared.agent() == Some(AgentOf::Others) {
            return true;
        }
        let is_known = socket.knows_sender(source);
        if is_known && checks.is_goodbye(datagram) {
            checks.note_left();
            shared.left.notify_one();
        }
        is_known
    }
}

/// Reads the mapping that a response to a check reports, and publishes a change.
fn read_response(
    shared: &Shared,
    is_for_agent: bool,
    socket: &Socket,
    source: SocketAddr,
    datagram: &[u8],
) {
    let (mut checks, bound) = (shared.checks(), socket.bound());
    if socket.is_relay() {
        let now = Instant::now();
        let is_answer = checks.on_relayed_response(bound, canonical(source), datagram, now);
        drop(checks);
        if is_answer {
            shared.pace().on_answered(source, true);
        }
        return;
    }
    if !is_for_agent || shared.agent() != Some(AgentOf::Us) {
        return checks.on_other_received(Instant::now());
    }
    let answer = checks.read_response(bound, canonical(source), datagram, Instant::now());
    let number = checks.rebindings();
    drop(checks);
    let Some(remapped) = answer else {
        return;
    };
    shared.pace().on_answered(source, false);
    if let Some(Remapped { was, is }) = remapped {
        let evidence = shared.observed().evidence();
        let verdict = |report| TowardPeer::against(&evidence, report);
        shared.rebinding.send_replace(Some(Rebinding {
            number,
            was: verdict(&was),
            is: verdict(&is),
        }));
    }
}

/// Sorts a datagram that came in while no agent reads: our answers are filed, the peer's checks
/// kept, all others dropped and counted.
pub(super) fn sort_datagram(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) {
    match Header::peek(datagram) {
        None if Header::is_claimed(datagram) => bump(&mut shared.observed().dropped.malformed),
        None => bump(&mut shared.observed().dropped.garbage),
        Some(header) if header.is_response => {
            if !file_answer(shared, socket, source, datagram) {
                bump(&mut shared.observed().dropped.unknown_id);
            }
        }
        Some(header) if header.is_binding_request => {
            let admitted = admits(shared, socket, source, datagram);
            if admitted && !socket.keep_early(datagram, source) {
                bump(&mut shared.observed().dropped.early);
            }
        }
        Some(_) => bump(&mut shared.observed().dropped.unexpected),
    }
}

/// The agent reads from now on. Datagrams that wait in the kernel before its first check leaves are
/// read here, because they came unsolicited.
pub(crate) fn hand_over(shared: &Shared) {
    for socket in &shared.sockets {
        socket.take();
        sort_waiting(shared, socket);
    }
}

/// Sorts the datagrams that wait in the kernel, but not without end: a flood brings more meanwhile.
/// Whether an error was among them. A carrier of another kind never knows.
pub(super) fn sort_waiting(shared: &Shared, socket: &Socket) -> bool {
    let (mut buffer, mut has_failed) = ([0; GATHER_MTU], false);
    for _ in 0..MAX_WAITING {
        match socket.try_recv(&mut buffer) {
            Some(Ok((length, source))) => sort_datagram(shared, socket, source, &buffer[..length]),
            Some(Err(_)) => has_failed = true,
            None => break,
        }
    }
    has_failed
}

/// Files a response, if it is ours or claims to be; false if it belongs to a transaction of
/// another reader.
fn file_answer(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
    let filed = shared
        .observed()
        .file_answer(Instant::now(), socket.bound(), source, datagram);
    if filed == Filed::Answer {
        shared.answered.notify_one();
        shared.emit_candidates();
    }
    filed != Filed::NotOurs
}

/// Whether a Binding request may go on to the agent.
fn admits(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
    let is_authentic = match shared.agent() {
        Some(AgentOf::Others) => return true,
        Some(AgentOf::Us) if socket.is_relay() => {
            let mut checks = shared.checks();
            checks.on_relayed_request(socket.bound(), canonical(source), datagram)
        }
        Some(AgentOf::Us) => {
            let is_quiet = socket.was_quiet();
            let (bound, source) = (socket.bound(), canonical(source));
            let mut checks = shared.checks();
            checks.on_request(bound, source, datagram, is_quiet, Instant::now())
        }
        None => false,
    };
    let admitted = socket.admit_sender(source, is_authentic);
    match admitted {
        Admitted::Yes if is_authentic => {
            shared
                .pace()
                .on_request(source, socket.is_relay(), Instant::now());
        }
        Admitted::Yes => {}
        Admitted::Unauthenticated => bump(&mut shared.observed().dropped.unauthenticated),
        Admitted::TooMany => bump(&mut shared.observed().dropped.too_many_peers),
    }
    admitted == Admitted::Yes
}
