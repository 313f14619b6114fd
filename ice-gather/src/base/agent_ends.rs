//! The agent's ends of the sockets: each datagram is ours, the agent's, or dropped.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use nat_summary::TowardPeer;
use nat_summary::observer::Method;

use super::demux::{file_answer, sort_waiting};
use super::serving::AgentOf;
use super::shared::Shared;
use crate::checks::{Rebinding, Remapped};
use crate::common::{ERROR_PAUSE, bump, canonical};
use crate::socket::Socket;
use crate::stun::{Header, is_claimed};

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
        if let Some(early) = socket.agent_end().take_early(buffer) {
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
        None => socket.agent_end().note_moved(),
    }
    let sent = socket.send_for_agent(datagram, target).await;
    if let (Err(_), Some(header)) = (&sent, header) {
        shared.on_not_sent(header);
    }
    sent
}

#[inline]
fn is_for_agent(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
    if is_claimed(datagram) {
        return is_stun_for_agent(shared, socket, source, datagram);
    }
    let agent_end = socket.agent_end();
    // a NAT takes notice of it, whether it is wanted or not
    agent_end.note_moved();
    let is_wanted = agent_end.admits_other(source, datagram);
    if !is_wanted {
        shared.datagram_unwanted();
    }
    is_wanted
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
    if header.is_response() {
        !file_answer(shared, socket, source, datagram)
            && read_response(shared, socket, source, datagram)
    } else if header.is_binding_request() {
        shared.admits(socket, source, datagram)
    } else {
        let mut checks = shared.checks();
        checks.on_other_received(Instant::now());
        if shared.agent() == Some(AgentOf::Others) {
            return true;
        }
        // the library reads indications of Binding alone, as keepalives
        let is_known = header.method == Method::Binding && socket.agent_end().knows_sender(source);
        if is_known && checks.is_goodbye(datagram) {
            checks.note_left();
            shared.serving.left.notify_one();
        }
        is_known
    }
}

/// Reads the mapping that a response to a check reports, and publishes a change. Whether the response is
/// for the agent: one that answers no check of its own, signed by the peer, would only cost it time.
fn read_response(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
    let (mut checks, bound) = (shared.checks(), socket.bound());
    if socket.is_relay() {
        let now = Instant::now();
        let is_answer = checks.on_relayed_response(bound, canonical(source), datagram, now);
        drop(checks);
        if is_answer {
            shared.pace().on_answered(source, true);
        }
        return is_answer;
    }
    if shared.agent() != Some(AgentOf::Us) {
        checks.on_other_received(Instant::now());
        return true;
    }
    let answer = checks.read_response(bound, canonical(source), datagram, Instant::now());
    let number = checks.rebindings();
    drop(checks);
    let Some(remapped) = answer else {
        return false;
    };
    shared.pace().on_answered(source, false);
    if let Some(Remapped { was, is }) = remapped {
        let evidence = shared.observed().evidence();
        let verdict = |report| TowardPeer::against(&evidence, report);
        shared.serving.rebinding.send_replace(Some(Rebinding {
            number,
            was: verdict(&was),
            is: verdict(&is),
        }));
    }
    true
}

/// The agent reads from now on. Datagrams that wait in the kernel before its first check leaves are
/// read here, because they came unsolicited.
pub(crate) fn hand_over(shared: &Shared) {
    for socket in &shared.sockets {
        socket.take();
        sort_waiting(shared, socket);
    }
}
