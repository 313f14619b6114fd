//! Datagrams that come in while no agent reads: each is an answer of ours, an early check of the peer,
//! or dropped.

use std::net::SocketAddr;
use std::time::Instant;

use super::observed::Filed;
use super::shared::Shared;
use crate::common::bump;
use crate::socket::Socket;
use crate::stun::{Header, is_claimed};

/// Longest datagram read while gathering: only STUN is expected then.
pub(super) const GATHER_MTU: usize = 1500;
/// Datagrams sorted at once of those that wait: an answer of every server that evidence has room
/// for.
const MAX_WAITING: usize = nat_summary::MAX_OBSERVATIONS;

/// Sorts a datagram that came in while no agent reads: our answers are filed, the peer's checks
/// kept, all others dropped and counted.
pub(super) fn sort_datagram(shared: &Shared, socket: &Socket, source: SocketAddr, datagram: &[u8]) {
    match Header::peek(datagram) {
        None if is_claimed(datagram) => bump(&mut shared.observed().dropped.malformed),
        None => bump(&mut shared.observed().dropped.garbage),
        Some(header) if header.is_response() => {
            if !file_answer(shared, socket, source, datagram) {
                bump(&mut shared.observed().dropped.unknown_id);
            }
        }
        Some(header) if header.is_binding_request() => {
            shared.keep_check(socket, source, datagram);
        }
        Some(_) => bump(&mut shared.observed().dropped.unexpected),
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
pub(super) fn file_answer(
    shared: &Shared,
    socket: &Socket,
    source: SocketAddr,
    datagram: &[u8],
) -> bool {
    let filed = shared
        .observed()
        .file_answer(Instant::now(), socket.bound(), source, datagram);
    if filed == Filed::Answer {
        shared.answered.notify_one();
        #[cfg(feature = "agent")]
        shared.emit_candidates();
    }
    filed != Filed::NotOurs
}
