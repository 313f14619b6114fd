//! Captures, pcap and pcapng: each host in them that asked STUN servers, with the evidence of its
//! datagrams. Pure but for the reader that is handed in.
//!
//! A host is an address that Binding or Allocate requests to servers left from. A request that had passed a
//! router before it was captured does not make one: its source may be the outside of a NAT, and the
//! capture is of a server, or of a router.
//!
//! The wait of a request is as long as the capture shows. A host for which no packet came in is one of a
//! capture of one direction, as far as that shows, and no silence of its servers is a time-out.

mod file;
mod packet;
mod redact;

use std::collections::HashSet;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nat_summary::observer::{
    AskedServer, CheckedPair, Class, Message, Method, ObservedPath, Observer, Trust, is_stun,
};
use nat_summary::stage::{Above, StageReport};
use nat_summary::{Evidence, PeerEvidence, Scope};

pub use self::file::{CaptureError, Damage};
use self::file::{Event, Frame};
use self::packet::{Holds, Packet, Unread};
pub use self::redact::Redactor;

/// Most hosts kept apart. Requests of others are counted.
pub const MAX_HOSTS: usize = 64;
/// Most sockets of one host, and most addresses that were heard of before they asked.
const MAX_KNOWN: usize = 4096;

/// The result of a capture.
#[derive(Debug)]
#[non_exhaustive]
pub struct Capture {
    /// The hosts that asked servers, in the order of their first requests.
    pub hosts: Vec<CapturedHost>,
    /// Packets read.
    pub packets: u64,
    /// Of these, those that were not captured whole.
    pub truncated: u64,
    /// Those that could not be read, by reason.
    pub unread: UnreadPackets,
    /// Requests to servers that had passed a router before they were captured.
    pub forwarded: u64,
    /// Requests of hosts beyond [`MAX_HOSTS`].
    pub left_out: u64,
    /// The capture itself lost packets: no silence is a time-out.
    pub has_drops: bool,
    /// Why it was not read to its end.
    pub damage: Option<Damage>,
}

/// Packets that could not be read, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UnreadPackets {
    /// Their link type is not known.
    pub link_type: u64,
    /// They are broken, or cut in front of their addresses or ports.
    pub broken: u64,
    /// They are parts of datagrams.
    pub fragments: u64,
}

impl UnreadPackets {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.link_type + self.broken + self.fragments
    }
}

/// A pair of addresses of a capture that carried more than checks.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CapturedPath {
    /// The local socket.
    pub base: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// How far it came, and what stopped it. There is no verdict where packets are missing in the capture.
    pub report: StageReport,
    /// When the first check was answered, from the first packet on.
    pub paired_at: Option<Duration>,
    /// When the first and the last ClientHello of the host left.
    pub hellos: Option<(Duration, Duration)>,
    /// When the last DTLS record came in.
    pub last_record_in: Option<Duration>,
    /// When the last check or answer of the peer came in.
    pub last_check_in: Option<Duration>,
    /// When the capture ended.
    pub end: Duration,
}

/// A host of a capture, in one family.
#[derive(Debug)]
#[non_exhaustive]
pub struct CapturedHost {
    /// Its address.
    pub host: IpAddr,
    /// The evidence of its servers.
    pub evidence: Box<Evidence>,
    /// The servers, by base, then address.
    pub servers: Vec<AskedServer>,
    /// The pairs of addresses with checks between them.
    pub pairs: Vec<CheckedPair>,
    /// The pairs that carried more than checks.
    pub paths: Vec<CapturedPath>,
    /// The evidence of the peer's checks. It is matched, never verified.
    pub peer: Box<PeerEvidence>,
    /// How far the checks can be trusted.
    pub trust: Trust,
    /// No packet to the host was captured, though it sent some.
    pub is_one_way: bool,
}

impl Capture {
    /// Reads a capture to its end, or to the first damage. Memory is bounded, whatever the length.
    ///
    /// # Errors
    /// [`CaptureError`], where not even the beginning is a capture.
    pub fn read(reader: impl Read + Send) -> Result<Self, CaptureError> {
        let mut reading = Reading::default();
        let damage = file::read(reader, |event| match event {
            Event::Frame(frame) => reading.frame(&frame),
            Event::Dropped => reading.has_drops = true,
        })?;
        Ok(reading.end(damage))
    }
}

/// A host while its packets come in.
struct Host {
    ip: IpAddr,
    observer: Box<Observer>,
    /// Ports that STUN left from.
    ports: HashSet<u16>,
    has_heard: bool,
}

/// A capture that is being read.
#[derive(Default)]
struct Reading {
    hosts: Vec<Host>,
    /// Addresses that datagrams from beyond a network came in for, before a request left from there.
    heard: HashSet<IpAddr>,
    start: Option<Duration>,
    now: Duration,
    packets: u64,
    truncated: u64,
    unread: UnreadPackets,
    forwarded: u64,
    left_out: u64,
    has_drops: bool,
}

impl Reading {
    fn frame(&mut self, frame: &Frame<'_>) {
        self.packets += 1;
        self.truncated += u64::from(frame.is_truncated);
        if let Some(at) = frame.at {
            let start = *self.start.get_or_insert(at);
            self.now = self.now.max(at.saturating_sub(start));
        }
        match packet::read(frame.link, frame.bytes) {
            Ok(Some(packet)) => self.packet(&packet),
            Ok(None) => {}
            Err(Unread::LinkType) => self.unread.link_type += 1,
            Err(Unread::Broken) => self.unread.broken += 1,
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let Packet { from, to, holds } = *packet;
        let now = self.now;
        if let Holds::Udp {
            from_port,
            to_port,
            payload,
            is_fresh,
        } = holds
        {
            let (from, to) = (
                SocketAddr::new(from, from_port),
                SocketAddr::new(to, to_port),
            );
            self.sent(from, to, payload, is_fresh);
        }
        if matches!(holds, Holds::Fragment) {
            self.unread.fragments += 1;
        }
        let is_outside = Scope::of(from).is_global();
        let Some(host) = self.hosts.iter_mut().find(|host| host.ip == to) else {
            let is_datagram = matches!(holds, Holds::Udp { .. } | Holds::Fragment);
            if is_datagram && is_outside && self.heard.len() < MAX_KNOWN {
                self.heard.insert(to);
            }
            return;
        };
        host.has_heard = true;
        match holds {
            Holds::Udp {
                from_port,
                to_port,
                payload,
                ..
            } => {
                // the answer of a resolver inside the network does not show that UDP leaves it
                if is_stun(payload) || is_outside || host.ports.contains(&to_port) {
                    let (local, remote) = (
                        SocketAddr::new(to, to_port),
                        SocketAddr::new(from, from_port),
                    );
                    host.observer.received(now, local, remote, payload);
                }
            }
            Holds::Fragment => {
                let (local, remote) = (SocketAddr::new(to, 0), SocketAddr::new(from, 0));
                host.observer.received(now, local, remote, &[]);
            }
            Holds::Icmp {
                local,
                remote,
                error,
            } => {
                host.observer
                    .unreachable(now, local, remote, error, Some(from));
            }
            Holds::Other => {}
        }
    }

    /// STUN or DTLS leaves a host. Anything else that leaves changes nothing here.
    fn sent(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8], is_fresh: bool) {
        let at = self.hosts.iter().position(|host| host.ip == from.ip());
        if let (Some(at), [20..=63, ..]) = (at, payload)
            && is_fresh
            && let Some(host) = self.hosts.get_mut(at)
        {
            host.observer.sent(self.now, from, to, payload);
            return;
        }
        let Ok(message) = Message::read(payload) else {
            return;
        };
        let at = match at {
            Some(at) => at,
            None if !asks_server(&message) => return,
            None if !is_fresh => {
                self.forwarded += 1;
                return;
            }
            None if self.hosts.len() >= MAX_HOSTS => {
                self.left_out += 1;
                return;
            }
            None => {
                self.hosts.push(self.host(from.ip()));
                self.hosts.len() - 1
            }
        };
        if let Some(host) = self.hosts.get_mut(at)
            && is_fresh
        {
            if host.ports.len() < MAX_KNOWN {
                host.ports.insert(from.port());
            }
            host.observer.sent(self.now, from, to, payload);
        }
    }

    fn host(&self, ip: IpAddr) -> Host {
        let mut observer = Box::new(Observer::new());
        observer.join_late();
        if self.heard.contains(&ip) {
            let nowhere = SocketAddr::new(ip, 0);
            observer.received(self.now, nowhere, nowhere, &[]);
        }
        Host {
            ip,
            observer,
            ports: HashSet::new(),
            has_heard: self.heard.contains(&ip),
        }
    }

    fn end(self, damage: Option<Damage>) -> Capture {
        let Self { now, has_drops, .. } = self;
        let is_whole = !has_drops && self.truncated == 0 && self.unread.total() == 0;
        let hosts = self.hosts.into_iter();
        let hosts = hosts.map(|host| host.end(now, has_drops, is_whole));
        Capture {
            hosts: hosts.collect(),
            packets: self.packets,
            truncated: self.truncated,
            unread: self.unread,
            forwarded: self.forwarded,
            left_out: self.left_out,
            has_drops,
            damage,
        }
    }
}

impl Host {
    fn end(mut self, now: Duration, has_drops: bool, is_whole: bool) -> CapturedHost {
        let observer = &mut self.observer;
        observer.advance(now);
        if has_drops || !self.has_heard {
            observer.distrust_silence();
        }
        observer.end();
        let has_all = is_whole && self.has_heard;
        let path = |path: ObservedPath<'_>| {
            let report = path.judge(now, &Above::default());
            CapturedPath {
                base: path.base,
                remote: path.remote,
                report: if has_all {
                    report
                } else {
                    report.without_verdict()
                },
                paired_at: path.checks.first_answer(),
                hellos: path.watch.hello_span(),
                last_record_in: path.watch.last_record_in(),
                last_check_in: path.checks.last_heard(),
                end: now,
            }
        };
        let paths = observer.paths().map(path).collect();
        CapturedHost {
            paths,
            host: self.ip,
            evidence: Box::new(observer.evidence()),
            servers: observer.servers().collect(),
            pairs: observer.pairs().collect(),
            peer: Box::new(observer.peer_evidence().clone()),
            trust: observer.trust(),
            is_one_way: !self.has_heard,
        }
    }
}

/// Whether it is a request to a server, by which a host of the capture is known.
const fn asks_server(message: &Message<'_>) -> bool {
    let asks = matches!(message.method, Method::Binding | Method::Allocate);
    matches!(message.class, Class::Request) && asks && !message.is_check()
}
