//! A stranger who writes any source address: whole IPv4 packets through a raw socket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use nix::unistd::close;

use crate::Failure;
use crate::kernel::namespace::Namespace;

/// Header of an IPv4 packet without options (RFC 791 section 3.1).
const IP: usize = 20;
/// Header of a UDP datagram.
const UDP: usize = 8;
/// Longest payload of a packet on a cable, a multiple of eight as fragments need it.
const FRAGMENT: usize = 1_480;
/// Longest datagram that UDP over IPv4 carries.
pub const LONGEST: usize = 65_535 - IP - UDP;
/// Payload sent before the receiver's queue is looked at, in bytes.
const CHUNK: usize = 24 * 1024;
/// Datagrams of such a chunk. The kernel counts at least 768 bytes for each, of 208 KiB.
const CHUNK_DATAGRAMS: usize = 48;
/// Bytes in the receiver's queue, as the kernel counts them, with which sending goes on.
const WAITING: u64 = 48 * 1024;
/// A receiver that leaves its queue alone for so long does not read any more.
const STUCK: Duration = Duration::from_secs(10);
/// Pause of a sender whose receiver is busy.
const PAUSE: Duration = Duration::from_micros(50);

/// One forged packet, without its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forged {
    /// A UDP datagram; longer ones leave as fragments.
    Udp(Vec<u8>),
    /// An ICMP error on a datagram that the receiver sent to the forged source (RFC 792).
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The four bytes behind the checksum.
        rest: [u8; 4],
    },
}

/// A raw socket in one namespace, aimed at a socket in another.
#[derive(Debug)]
pub struct Forger {
    socket: RawFd,
    source: SocketAddrV4,
    target: SocketAddrV4,
    number: u16,
}

impl Forger {
    /// Sends from `namespace` to `target`, as if `source` did.
    ///
    /// # Errors
    /// Without the privilege to write raw packets.
    pub fn new(
        namespace: &Namespace,
        source: SocketAddrV4,
        target: SocketAddrV4,
    ) -> Result<Self, Failure> {
        let socket = namespace.inside(|| {
            Ok(socket(
                AddressFamily::Inet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::Raw,
            )?)
        })?;
        Ok(Self {
            socket,
            source,
            target,
            number: 1,
        })
    }

    /// The same packets for another socket.
    pub const fn aim(&mut self, target: SocketAddrV4) {
        self.target = target;
    }

    /// Sends `count` packets as fast as the receiver takes them, and not faster, because a packet
    /// that overflows the receiver's queue in the kernel reaches no program. Call it on a thread in
    /// the receiver's namespace. Returns the number sent before `until`.
    ///
    /// # Errors
    /// If the receiver does not read any more.
    pub fn flood(
        &mut self,
        count: u64,
        until: Instant,
        mut make: impl FnMut() -> Forged,
    ) -> Result<u64, Failure> {
        let mut sent = 0;
        while sent < count && Instant::now() < until {
            let (mut bytes, mut datagrams) = (0, 0);
            while bytes < CHUNK && datagrams < CHUNK_DATAGRAMS && sent < count {
                let forged = make();
                if let Forged::Udp(payload) = &forged {
                    bytes += payload.len();
                }
                datagrams += 1;
                sent += 1;
                self.send(&forged)?;
            }
            let began = Instant::now();
            while waiting(self.target.port())?.is_none_or(|bytes| bytes > WAITING) {
                if began.elapsed() > STUCK {
                    return Err("the receiver does not read its socket any more".into());
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(sent)
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub fn send(&mut self, forged: &Forged) -> Result<(), Failure> {
        self.number = self.number.wrapping_add(1).max(1);
        match forged {
            Forged::Udp(payload) => {
                let datagram = udp(self.source.port(), self.target.port(), payload);
                for (at, part) in datagram.chunks(FRAGMENT).enumerate() {
                    let offset = at * FRAGMENT;
                    let is_last = offset + part.len() == datagram.len();
                    self.packet(17, offset, is_last, part)?;
                }
            }
            Forged::Icmp { kind, code, rest } => {
                let cited = ip(17, 1, 0, true, UDP, *self.target.ip(), *self.source.ip());
                let cited_udp = udp(self.target.port(), self.source.port(), &[]);
                let mut message = vec![*kind, *code, 0, 0];
                message.extend(rest);
                message.extend(cited);
                message.extend(cited_udp);
                let sum = checksum(&message);
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                self.packet(1, 0, true, &message)?;
            }
        }
        Ok(())
    }

    fn packet(
        &self,
        protocol: u8,
        offset: usize,
        is_last: bool,
        part: &[u8],
    ) -> Result<(), Failure> {
        let (source, target) = (*self.source.ip(), *self.target.ip());
        let header = ip(
            protocol,
            self.number,
            offset,
            is_last,
            part.len(),
            source,
            target,
        );
        let packet = [&header[..], part].concat();
        let to = SockaddrIn::from(SocketAddrV4::new(target, 0));
        sendto(self.socket, &packet, &to, MsgFlags::empty())?;
        Ok(())
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        // nothing was written that could still fail
        let _ = close(self.socket);
    }
}

fn ip(
    protocol: u8,
    number: u16,
    offset: usize,
    is_last: bool,
    length: usize,
    source: Ipv4Addr,
    target: Ipv4Addr,
) -> [u8; IP] {
    let mut header = [0; IP];
    header[0] = 0x45;
    // both fields are 16 bits wide, and a datagram of UDP is no longer
    header[2..4].copy_from_slice(&((IP + length) as u16).to_be_bytes());
    header[4..6].copy_from_slice(&number.to_be_bytes());
    let place = (offset / 8) as u16 | if is_last { 0 } else { 0x2000 };
    header[6..8].copy_from_slice(&place.to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&target.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Without a checksum, which UDP over IPv4 leaves to the sender (RFC 768).
fn udp(source: u16, target: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(UDP + payload.len());
    datagram.extend(source.to_be_bytes());
    datagram.extend(target.to_be_bytes());
    datagram.extend(((UDP + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        word => u32::from(word[0]) << 8,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Bytes that wait for the UDP socket on `port` in the namespace of the calling thread; none if
/// there is no such socket.
fn waiting(port: u16) -> Result<Option<u64>, Failure> {
    let table = std::fs::read_to_string("/proc/thread-self/net/udp")?;
    Ok(waiting_in(&table, port))
}

fn waiting_in(table: &str, port: u16) -> Option<u64> {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        let queues = fields.nth(2)?;
        local.ends_with(&ending).then_some(())?;
        u64::from_str_radix(queues.split(':').nth(1)?, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_queue_of_a_socket_is_read_from_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n \
                     77: 0200010A:9C40 00000000:0000 07 00000000:00000300 00:00000000 00000000     0\n";
        assert_eq!(waiting_in(table, 40_000), Some(768));
        assert_eq!(waiting_in(table, 40_001), None);
    }

    #[test]
    fn a_forged_datagram_arrives_from_the_address_that_it_names_however_long_it_is() {
        if let Some(reason) = common::needs::lab() {
            // past the capture of the test harness; nothing is left to do if even that fails
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return;
        }
        let namespace = Namespace::new().unwrap();
        let socket = namespace
            .inside(|| Ok(UdpSocket::bind("127.0.0.1:0")?))
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        let source = SocketAddrV4::new(Ipv4Addr::new(127, 9, 8, 7), 4_321);
        let target = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut forger = Forger::new(&namespace, source, target).unwrap();
        let mut buffer = vec![0; LONGEST + 1];
        for length in [0, 1, 1_472, 1_473, LONGEST] {
            forger.send(&Forged::Udp(vec![7; length])).unwrap();
            assert_eq!(
                socket.recv_from(&mut buffer).unwrap(),
                (length, source.into())
            );
        }
    }
}
