//! str0m under an observer: its socket shows every datagram in passing, and a plan of ice-gather asks STUN
//! servers over the same socket.
//!
//! str0m gathers nothing itself: the application owns the socket. So one socket serves three: the plan asks over
//! it, str0m connects over it, and the observer watches both.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ice_gather::GatherConfig;
use ice_gather::plan::Plan;
use ice_gather::stun::{Answer, Passwords};
use nat_summary::observer::Observer;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// An error of any kind.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The socket of one str0m session. Every datagram passes the observer.
#[derive(Debug)]
pub struct Observed {
    socket: UdpSocket,
    local: SocketAddr,
    start: Instant,
    /// What the datagrams have shown so far.
    pub observer: Box<Observer<Passwords>>,
}

impl Observed {
    /// A socket at a local address. It must not be the wildcard address: a candidate needs a real one.
    ///
    /// # Errors
    /// If it cannot be bound.
    pub fn bind(at: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(at)?;
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            start: Instant::now(),
            observer: Box::new(Observer::with_integrity(Passwords::default())),
        })
    }

    /// Its local address.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a datagram in front of the observer.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) {
        // a datagram that the kernel refuses is lost like any other: ICE asks again
        if self.socket.send_to(datagram, to).is_ok() {
            self.observer
                .sent(self.start.elapsed(), self.local, to, datagram);
        }
    }

    /// Waits for a datagram until `wake`, and shows it to the observer.
    fn receive<'b>(
        &mut self,
        wake: Instant,
        buffer: &'b mut [u8],
    ) -> io::Result<Option<(SocketAddr, &'b [u8])>> {
        let wait = wake.saturating_duration_since(Instant::now());
        self.socket
            .set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let received = self.socket.recv_from(buffer);
        self.observer.advance(self.start.elapsed());
        match received {
            Ok((length, source)) => {
                let datagram = &buffer[..length];
                self.observer
                    .received(self.start.elapsed(), self.local, source, datagram);
                Ok(Some((source, datagram)))
            }
            // an ICMP error on Linux is an error of the next call
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks STUN servers over this socket until the answers suffice, and gives str0m its candidates. A
    /// late answer still reaches the observer.
    ///
    /// # Errors
    /// If the socket fails, or an address is no candidate.
    pub fn gather(&mut self, rtc: &mut Rtc, servers: &[SocketAddr]) -> Result<(), Failure> {
        rtc.add_local_candidate(Candidate::host(self.local, "udp")?);
        let mut buffer = [0; 1500];

        // the glue: ten lines
        let mut plan = Plan::new(GatherConfig::default(), vec![self.local], Instant::now());
        servers
            .iter()
            .for_each(|server| plan.ask(*server, None, rand::random(), Instant::now()));
        while !plan.is_complete(Instant::now()) {
            while let Some(request) = plan.poll_transmit(Instant::now()) {
                self.send(request.server, &request.bytes);
            }
            let wake = plan.poll_timeout().unwrap_or_else(Instant::now);
            let Some((source, datagram)) = self.receive(wake, &mut buffer)? else {
                continue;
            };
            let answered = plan.handle_datagram(Instant::now(), self.local, source, datagram);
            let Ok(Answer::Mapped(mapped)) = answered.map(|answered| answered.answer) else {
                continue;
            };
            rtc.add_local_candidate(Candidate::server_reflexive(mapped, self.local, "udp")?);
        }
        Ok(())
    }

    /// Runs str0m until its next event, or until `deadline`.
    ///
    /// # Errors
    /// If the socket or the session fails.
    pub fn next_event(
        &mut self,
        rtc: &mut Rtc,
        deadline: Instant,
    ) -> Result<Option<Event>, Failure> {
        let mut buffer = [0; 2000];
        loop {
            let wake = match rtc.poll_output()? {
                Output::Event(event) => return Ok(Some(event)),
                Output::Transmit(transmit) => {
                    self.send(transmit.destination, &transmit.contents);
                    continue;
                }
                Output::Timeout(wake) => wake,
            };
            if Instant::now() >= deadline || !rtc.is_alive() {
                return Ok(None);
            }
            let received = self.receive(wake.min(deadline), &mut buffer)?;
            let now = Instant::now();
            let destination = self.local;
            let input = received.and_then(|(source, datagram)| {
                // what str0m cannot read, such as a late answer of a server, is dropped
                let contents = datagram.try_into().ok()?;
                let receive = Receive {
                    proto: Protocol::Udp,
                    source,
                    destination,
                    contents,
                };
                let input = Input::Receive(now, receive);
                rtc.accepts(&input).then_some(input)
            });
            rtc.handle_input(input.unwrap_or(Input::Timeout(now)))?;
        }
    }

    /// The passwords of both descriptions: from now on the peer's checks are verified.
    pub fn set_passwords(&mut self, local_sdp: &str, remote_sdp: &str) {
        let passwords = self.observer.integrity_mut();
        if let Some(password) = password(local_sdp) {
            passwords.set_local(password);
        }
        if let Some(password) = password(remote_sdp) {
            passwords.set_remote(password);
        }
    }
}

/// The password of a description (RFC 8839 section 5.4).
fn password(sdp: &str) -> Option<&str> {
    sdp.lines()
        .find_map(|line| line.strip_prefix("a=ice-pwd:"))
        .map(str::trim)
}
