//! One frame of a capture: whose it is, and the datagram or ICMP error in it.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice, ip_number};
use nat_summary::observer::IcmpError;

/// Hop counts that a packet leaves its host with; each router takes one off.
const FRESH_HOPS: [u8; 3] = [64, 128, 255];
/// ICMP errors (RFC 792, RFC 4443).
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
const ICMP6_ERRORS: [u8; 4] = [1, 2, 3, 4];

/// What became of a frame that holds no datagram of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// Its link type is not known.
    LinkType,
    /// It is broken, or cut in front of its addresses or ports.
    Broken,
}

/// A packet of IP, or an ARP answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) holds: Holds<'a>,
}

/// The part of a packet that matters here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holds<'a> {
    /// A datagram.
    Udp {
        from_port: u16,
        to_port: u16,
        payload: &'a [u8],
        /// It has not passed a router yet, as far as its hop count shows.
        is_fresh: bool,
    },
    /// An ICMP error about a datagram.
    Icmp {
        local: SocketAddr,
        remote: SocketAddr,
        error: IcmpError,
    },
    /// A part of a datagram.
    Fragment,
    /// Anything else.
    Other,
}

/// Reads a frame; `None` if it is of another protocol than IP and ARP.
pub(super) fn read(link: i32, bytes: &[u8]) -> Result<Option<Packet<'_>>, Unread> {
    let sliced = slice(link, bytes)?;
    let (from, to, hops) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (from, to) = (header.source_addr(), header.destination_addr());
            (from.into(), to.into(), header.ttl())
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (from, to) = (header.source_addr(), header.destination_addr());
            (from.into(), to.into(), header.hop_limit())
        }
        Some(LaxNetSlice::Arp(arp)) => {
            let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
            let ends = address(arp.sender_protocol_addr()).zip(address(arp.target_protocol_addr()));
            return Ok(ends.map(|(from, to)| Packet {
                from,
                to,
                holds: Holds::Other,
            }));
        }
        None if sliced.stop_err.is_some() => return Err(Unread::Broken),
        None => return Ok(None),
    };
    let packet = |holds| Ok(Some(Packet { from, to, holds }));
    let Some(payload) = sliced.net.as_ref().and_then(LaxNetSlice::ip_payload_ref) else {
        return packet(Holds::Other);
    };
    let is_udp = payload.ip_number == ip_number::UDP;
    if payload.fragmented {
        return packet(if is_udp {
            Holds::Fragment
        } else {
            Holds::Other
        });
    }
    match &sliced.transport {
        Some(TransportSlice::Udp(udp)) => packet(Holds::Udp {
            from_port: udp.source_port(),
            to_port: udp.destination_port(),
            payload: udp.payload(),
            is_fresh: FRESH_HOPS.contains(&hops),
        }),
        Some(TransportSlice::Icmpv4(icmp)) if ICMP_ERRORS.contains(&icmp.type_u8()) => {
            let error = meaning(false, icmp.type_u8(), icmp.code_u8());
            packet(about(icmp.payload(), error).unwrap_or(Holds::Other))
        }
        Some(TransportSlice::Icmpv6(icmp)) if ICMP6_ERRORS.contains(&icmp.type_u8()) => {
            let error = meaning(true, icmp.type_u8(), icmp.code_u8());
            packet(about(icmp.payload(), error).unwrap_or(Holds::Other))
        }
        None if is_udp => Err(Unread::Broken),
        _ => packet(Holds::Other),
    }
}

/// The layers of a frame, by its link type (<https://www.tcpdump.org/linktypes.html>).
fn slice(link: i32, bytes: &[u8]) -> Result<LaxSlicedPacket<'_>, Unread> {
    let from_ip = |bytes| LaxSlicedPacket::from_ip(bytes).map_err(|_| Unread::Broken);
    let from_type = |high: u8, low: u8, bytes| {
        LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes([high, low])), bytes)
    };
    match link {
        // Ethernet
        1 => LaxSlicedPacket::from_ethernet(bytes).map_err(|_| Unread::Broken),
        // BSD loopback: four bytes of an address family whose number depends on the system
        0 | 108 => from_ip(bytes.get(4..).ok_or(Unread::Broken)?),
        // raw IP, under the three numbers that it has in files, and each version alone
        12 | 14 | 101 | 228 | 229 => from_ip(bytes),
        // Linux cooked: the protocol at the end of 16 bytes
        113 => match bytes.split_at_checked(16) {
            Some(([.., high, low], rest)) => Ok(from_type(*high, *low, rest)),
            _ => Err(Unread::Broken),
        },
        // Linux cooked, version 2: at the start of 20
        276 => match bytes.split_at_checked(20) {
            Some(([high, low, ..], rest)) => Ok(from_type(*high, *low, rest)),
            _ => Err(Unread::Broken),
        },
        _ => Err(Unread::LinkType),
    }
}

/// The datagram that an ICMP error is about: its IP header, and at least its ports.
fn about<'a>(quoted: &[u8], error: IcmpError) -> Option<Holds<'a>> {
    let sliced = LaxSlicedPacket::from_ip(quoted).ok()?;
    let net = sliced.net.as_ref()?;
    let payload = net.ip_payload_ref()?;
    let [f0, f1, t0, t1, ..] = payload.payload else {
        return None;
    };
    let (from, to): (IpAddr, IpAddr) = match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        LaxNetSlice::Arp(_) => return None,
    };
    (payload.ip_number == ip_number::UDP).then(|| Holds::Icmp {
        local: SocketAddr::new(from, u16::from_be_bytes([*f0, *f1])),
        remote: SocketAddr::new(to, u16::from_be_bytes([*t0, *t1])),
        error,
    })
}

/// An error is hard if no socket listens there or no packet may get there (RFC 1122 sections 3.2.2.1
/// and 4.2.3.9, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). Every other error may pass.
const fn meaning(is_v6: bool, kind: u8, code: u8) -> IcmpError {
    match (is_v6, kind, code) {
        (false, 3, 2 | 3 | 9 | 10 | 13) | (true, 1, 1 | 4 | 5 | 6) | (true, 4, 1) => {
            IcmpError::Hard
        }
        _ => IcmpError::Soft,
    }
}
