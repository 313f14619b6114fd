//! Whose a datagram is: ours, the agent's, or nobody's.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nat_summary::TowardPeer;

use super::gather::{GATHER_MTU, Heard};
use super::line::{Line, Socket};
use super::{AgentOf, ERROR_PAUSE, Inner, lock};
use crate::peer::{Rebinding, Remapped, bump, canonical};
use crate::transaction::{Header, Reject};

/// Datagrams sorted at once of those that wait: an answer of every server that evidence has room
/// for.
const MAX_WAITING: usize = nat_summary::MAX_OBSERVATIONS;

impl Inner {
    /// The agent's reading end: whatever is not ours, straight from the socket into the agent's
    /// buffer. Fails once the line is closed, and only then: the agent's loop ends for ever on
    /// the first error. `READS`: what the peer's checks show is read in passing; without it,
    /// only to measure what that costs.
    pub(crate) async fn recv_for_agent<const READS: bool>(
        &self,
        line: &Line,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        // a flood must not starve whatever else runs on this thread
        tokio::task::consume_budget().await;
        if line.is_closed() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        line.take();
        // under load a datagram waits already: taking it needs no waker
        match line.take_waiting(buffer) {
            Some(Ok((length, source)))
                if self.is_for_agent::<READS>(line, source, &buffer[..length]) =>
            {
                return Ok((length, source));
            }
            Some(Err(_)) => bump(&mut self.heard().dropped.socket_errors),
            _ => {}
        }
        self.wait_for_agent::<READS>(line, buffer).await
    }

    async fn wait_for_agent<const READS: bool>(
        &self,
        line: &Line,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        loop {
            if line.is_closed() {
                return Err(io::ErrorKind::NotConnected.into());
            }
            if let Some(early) = line.take_early(buffer) {
                return Ok(early);
            }
            let received = tokio::select! {
                biased;
                received = line.socket.recv_from(buffer) => received,
                () = line.wake.notified() => continue,
            };
            let Ok((length, source)) = received else {
                bump(&mut self.heard().dropped.socket_errors);
                tokio::select! {
                    () = line.wake.notified() => {}
                    () = tokio::time::sleep(ERROR_PAUSE) => {}
                }
                continue;
            };
            if self.is_for_agent::<READS>(line, source, &buffer[..length]) {
                return Ok((length, source));
            }
        }
    }

    #[inline]
    fn is_for_agent<const READS: bool>(
        &self,
        line: &Line,
        source: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        if Header::is_claimed(datagram) {
            return self.is_stun_for_agent::<READS>(line, source, datagram);
        }
        if READS {
            line.note_moved();
        }
        true
    }

    /// Apart, so that what is not STUN has the shorter way.
    #[cold]
    #[inline(never)]
    fn is_stun_for_agent<const READS: bool>(
        &self,
        line: &Line,
        source: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        // the library would mask the first bits out and read a check that nobody here has seen
        let Some(header) = Header::peek(datagram) else {
            bump(&mut self.heard().dropped.malformed);
            return false;
        };
        if header.is_response {
            let is_for_agent = !self.file_answer(line, source, datagram);
            if READS {
                self.read_response(is_for_agent, line, source, datagram);
            }
            is_for_agent
        } else if header.is_binding_request {
            self.admits::<READS>(line, source, datagram)
        } else {
            if READS {
                lock(&self.peer).touch(Instant::now());
            }
            matches!(self.agent.get(), Some(AgentOf::Others))
                || lock(&line.peers).addresses.contains(&source)
        }
    }

    /// Reads what a response to a check says of our mapping, and tells of a change.
    fn read_response(&self, is_for_agent: bool, line: &Line, source: SocketAddr, datagram: &[u8]) {
        let mut peer = lock(&self.peer);
        if line.is_relay() {
            return peer.on_relayed_response(line.bound, canonical(source), datagram);
        }
        if !is_for_agent || !matches!(self.agent.get(), Some(AgentOf::Us)) {
            return peer.touch(Instant::now());
        }
        let remapped = peer.on_response(line.bound, canonical(source), datagram, Instant::now());
        let number = peer.rebindings();
        drop(peer);
        if let Some(Remapped { was, is }) = remapped {
            let evidence = self.heard().evidence();
            let verdict = |report| TowardPeer::against(&evidence, report);
            self.rebinding.send_replace(Some(Rebinding {
                number,
                was: verdict(&was),
                is: verdict(&is),
            }));
        }
    }

    pub(super) fn sort_datagram(&self, line: &Line, source: SocketAddr, datagram: &[u8]) {
        match Header::peek(datagram) {
            None if Header::is_claimed(datagram) => bump(&mut self.heard().dropped.malformed),
            None => bump(&mut self.heard().dropped.garbage),
            Some(header) if header.is_response => {
                if !self.file_answer(line, source, datagram) {
                    bump(&mut self.heard().dropped.unknown_id);
                }
            }
            Some(header) if header.is_binding_request => {
                let admitted = self.admits::<true>(line, source, datagram);
                if admitted && !line.keep_early(datagram, source) {
                    bump(&mut self.heard().dropped.early);
                }
            }
            Some(_) => bump(&mut self.heard().dropped.unexpected),
        }
    }

    /// The agent reads from now on. What waits in the kernel before its first check leaves is read
    /// here: it came uninvited.
    pub(crate) fn hand_over(&self) {
        for line in &self.lines {
            line.take();
            self.sort_waiting(line);
        }
    }

    /// Sorts what the kernel is known to hold, but not without end: a flood brings more meanwhile.
    /// Whether an error was among it. A carrier of another kind never knows.
    pub(super) fn sort_waiting(&self, line: &Line) -> bool {
        let Socket::Udp(socket) = &line.socket else {
            return false;
        };
        let (mut buffer, mut has_failed) = ([0; GATHER_MTU], false);
        for _ in 0..MAX_WAITING {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, source)) => self.sort_datagram(line, source, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => has_failed = true,
            }
        }
        has_failed
    }

    /// Files a response, if it is ours or claims to be; false if it belongs to a transaction of
    /// somebody else.
    fn file_answer(&self, line: &Line, source: SocketAddr, datagram: &[u8]) -> bool {
        let mut heard = self.heard();
        let Heard {
            plan: Some(plan),
            dropped,
            ..
        } = &mut *heard
        else {
            return false;
        };
        match plan.handle_datagram(Instant::now(), line.bound, canonical(source), datagram) {
            Ok(_) => {
                drop(heard);
                self.answered.notify_one();
                self.tell_candidates();
            }
            Err(Reject::UnknownId) => return false,
            Err(Reject::WrongSource) => bump(&mut dropped.wrong_source),
            Err(Reject::NotABindingResponse) => bump(&mut dropped.unexpected),
            Err(Reject::NotStun | Reject::TooLong | Reject::Malformed) => {
                bump(&mut dropped.malformed)
            }
        }
        true
    }

    /// Whether a Binding request may go on to the agent. Each new source has to authenticate once,
    /// and a peer has only so many addresses: the agent remembers every one for ever.
    fn admits<const READS: bool>(&self, line: &Line, source: SocketAddr, datagram: &[u8]) -> bool {
        let is_authentic = match self.agent.get() {
            Some(AgentOf::Others) => return true,
            Some(AgentOf::Us) if !READS => false,
            Some(AgentOf::Us) if line.is_relay() => {
                lock(&self.peer).on_relayed_request(line.bound, canonical(source), datagram)
            }
            Some(AgentOf::Us) => {
                let is_quiet = !line.has_moved.swap(false, Ordering::Relaxed);
                lock(&self.peer).on_request(
                    line.bound,
                    canonical(source),
                    datagram,
                    is_quiet,
                    Instant::now(),
                )
            }
            None => false,
        };
        let mut peers = lock(&line.peers);
        if peers.addresses.contains(&source) {
            return true;
        }
        let admitted = is_authentic && peers.addresses.len() < peers.max;
        if admitted {
            peers.addresses.push(source);
        } else {
            drop(peers);
            let dropped = &mut self.heard().dropped;
            bump(if is_authentic {
                &mut dropped.too_many_peers
            } else {
                &mut dropped.unauthenticated
            });
        }
        admitted
    }
}
