//! Whether a router filters as it was built to: asked by plain sockets, not by what is under test.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ice_gather::stun::{Answer, read_answer, write_request};
use nat_summary::Filtering;

use crate::Failure;
use crate::kernel::servers::{OWN, PORTS, ipv4, ipv6};
use crate::kernel::world::World;

/// Longest wait for the answer of a server in the next namespace, per request.
const ANSWER: Duration = Duration::from_millis(300);
/// What has not come through by then was filtered.
const PASSAGE: Duration = Duration::from_millis(40);
/// A port of the asked server that nothing was ever sent to.
const OTHER_PORT: u16 = 4000;

/// Makes a mapping from `base` by asking one server, then sends to it from another port of that
/// server, and from the peer: addresses the client never sent to. Unknown if there was no answer.
pub(crate) fn filtering(world: &World, base: SocketAddr) -> Result<Filtering, Failure> {
    let server = if base.is_ipv4() {
        ipv4(OWN[0])
    } else {
        ipv6(OWN[0])
    };
    let socket = world
        .client
        .inside(|| Ok(UdpSocket::bind((base.ip(), 0))?))?;
    let Some(mapped) = mapped(&socket, SocketAddr::new(server, PORTS[0]))? else {
        return Ok(Filtering::Unknown);
    };

    let other_port = world
        .core
        .inside(|| Ok(UdpSocket::bind((server, OTHER_PORT))?))?;
    let peer = world
        .peer
        .inside(|| Ok(UdpSocket::bind((World::peer_ip(base.is_ipv4()), 0))?))?;
    other_port.send_to(b"other port", mapped)?;
    peer.send_to(b"other address", mapped)?;

    let ends = Instant::now() + PASSAGE;
    let mut filtering = Filtering::AddressAndPortDependent;
    while let Some(left) = ends
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        socket.set_read_timeout(Some(left))?;
        let mut buffer = [0; 64];
        match received(socket.recv_from(&mut buffer))? {
            Some((length, _)) if buffer.get(..length) == Some(b"other address") => {
                return Ok(Filtering::EndpointIndependent);
            }
            Some((length, _)) if buffer.get(..length) == Some(b"other port") => {
                filtering = Filtering::AddressDependent
            }
            _ => {}
        }
    }
    Ok(filtering)
}

/// How the socket is mapped toward `server`.
fn mapped(socket: &UdpSocket, server: SocketAddr) -> Result<Option<SocketAddr>, Failure> {
    socket.set_read_timeout(Some(ANSWER))?;
    for _ in 0..3 {
        socket.send_to(&write_request(rand::random()), server)?;
        let mut buffer = [0; 1500];
        if let Some((length, source)) = received(socket.recv_from(&mut buffer))?
            && source == server
            && let Ok((_, Answer::Mapped(mapped))) =
                read_answer(buffer.get(..length).unwrap_or_default())
        {
            return Ok(Some(mapped));
        }
    }
    Ok(None)
}

/// Silence is a result.
fn received<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(received) => Ok(Some(received)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
