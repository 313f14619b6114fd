//! ICMP errors about single servers, on Linux. They are read because an unreachable server is no
//! sign of blocked UDP, as a silent server is. Other systems do not report which server an error is
//! about.

use std::io;

#[cfg(target_os = "linux")]
pub(crate) use linux::Watch;
#[cfg(not(target_os = "linux"))]
pub(crate) use none::Watch;

/// Whether a send failed only because there was no room, so that the next copy may find some. Linux
/// reports a full queue only on sockets that ask for ICMP errors.
pub(crate) fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, WouldBlock};
    const ENOBUFS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
        105
    } else if cfg!(windows) {
        10_055
    } else {
        55
    };
    matches!(error.kind(), WouldBlock | Interrupted | OutOfMemory)
        || error.raw_os_error() == Some(ENOBUFS)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
    use tokio::net::UdpSocket;

    use crate::plan::{IcmpError, Unreachable};

    /// Most errors read at once; more are read next time.
    const MAX_ERRORS: usize = 64;

    /// Has the system queue ICMP errors of a socket, as long as this lives: later, an error about one
    /// destination would make the agent's sends to another fail.
    pub(crate) struct Watch<'a> {
        socket: &'a UdpSocket,
    }

    impl<'a> Watch<'a> {
        pub(crate) fn new(socket: &'a UdpSocket) -> Self {
            let watch = Self { socket };
            watch.set(true);
            watch
        }

        /// The errors since the last call.
        pub(crate) fn take(&self) -> Vec<Unreachable> {
            let mut errors = Vec::new();
            let mut payload = [0_u8; 64];
            let mut control = Vec::with_capacity(256);
            for _ in 0..MAX_ERRORS {
                let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
                let mut parts = [IoSliceMut::new(&mut payload)];
                let fd = self.socket.as_raw_fd();
                let Ok(message) =
                    recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags)
                else {
                    break;
                };
                let Some(destination) = message.address.and_then(|address| destination(&address))
                else {
                    continue;
                };
                let report = message.cmsgs().find_map(|control| match control {
                    ControlMessageOwned::Ipv4RecvErr(e, sender) => {
                        let sender = sender.map(|sender| v4(sender.sin_addr.s_addr));
                        Some((e, sender))
                    }
                    ControlMessageOwned::Ipv6RecvErr(e, sender) => {
                        let sender = sender.map(|sender| IpAddr::from(sender.sin6_addr.s6_addr));
                        Some((e, sender))
                    }
                    _ => None,
                });
                let error = report.map(|(e, _)| meaning(e.ee_origin, e.ee_type, e.ee_code));
                let is_of_server = report.is_some_and(|(e, sender)| {
                    is_icmp(e.ee_origin)
                        && sender.map(|sender| sender.to_canonical())
                            == Some(destination.ip().to_canonical())
                });
                errors.push(Unreachable {
                    server: destination,
                    error: error.unwrap_or(IcmpError::Soft),
                    is_of_server,
                });
            }
            errors
        }

        fn set(&self, on: bool) {
            let fd = self.socket.as_raw_fd();
            let is_ipv4 = self.socket.local_addr().is_ok_and(|local| local.is_ipv4());
            // An error is ignored, because without ICMP errors an unreachable server counts as
            // silent, which is true as well.
            let _ = if is_ipv4 {
                setsockopt(fd, Ipv4RecvErr, &on)
            } else {
                setsockopt(fd, Ipv6RecvErr, &on)
            };
        }
    }

    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            self.set(false);
            // errors that are queued already would still be reported to the agent
            while !self.take().is_empty() {}
        }
    }

    const ICMP: u8 = 2;
    const ICMP6: u8 = 3;

    /// Whether an error came over the network, rather than from this host.
    const fn is_icmp(origin: u8) -> bool {
        matches!(origin, ICMP | ICMP6)
    }

    /// The meaning of a `sock_extended_err` (`ip(7)`). An error is hard if no socket listens there
    /// (RFC 1122 section 4.2.3.9: protocol and port) or no packet may get there (prohibited: RFC 1122
    /// section 3.2.2.1, RFC 1812 section 5.2.7.1 and RFC 4443 section 3.1). Every other error may
    /// pass.
    pub(super) const fn meaning(origin: u8, kind: u8, code: u8) -> IcmpError {
        match (origin, kind, code) {
            // protocol, port; network, host and communication prohibited
            (ICMP, 3, 2 | 3 | 9 | 10 | 13) => IcmpError::Hard,
            // prohibited, port, source policy, route rejected; next header unknown
            (ICMP6, 1, 1 | 4 | 5 | 6) | (ICMP6, 4, 1) => IcmpError::Hard,
            _ => IcmpError::Soft,
        }
    }

    /// An address as the kernel gives it, in network order.
    fn v4(address: u32) -> IpAddr {
        IpAddr::from(address.to_ne_bytes())
    }

    fn destination(address: &SockaddrStorage) -> Option<SocketAddr> {
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(SocketAddr::new(
                IpAddr::from(v4.ip().to_be_bytes()),
                v4.port(),
            ));
        }
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::new(v6.ip().into(), v6.port()))
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use core::marker::PhantomData;

    use tokio::net::UdpSocket;

    use crate::plan::Unreachable;

    /// This system does not keep ICMP errors apart.
    pub(crate) struct Watch<'a>(PhantomData<&'a UdpSocket>);

    impl<'a> Watch<'a> {
        pub(crate) const fn new(_socket: &'a UdpSocket) -> Self {
            Self(PhantomData)
        }

        pub(crate) const fn take(&self) -> Vec<Unreachable> {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_passes_and_want_of_a_route_does_not() {
        for kind in [
            io::ErrorKind::WouldBlock,
            io::ErrorKind::Interrupted,
            io::ErrorKind::OutOfMemory,
        ] {
            assert!(passes(&kind.into()), "{kind:?}");
        }
        use io::ErrorKind::{
            AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable, Other,
            PermissionDenied,
        };
        for kind in [
            HostUnreachable,
            NetworkUnreachable,
            NetworkDown,
            AddrNotAvailable,
            PermissionDenied,
            Other,
        ] {
            assert!(!passes(&kind.into()), "{kind:?}");
        }
        #[cfg(target_os = "linux")]
        for errno in [
            nix::errno::Errno::ENOBUFS,
            nix::errno::Errno::ENOMEM,
            nix::errno::Errno::EAGAIN,
        ] {
            assert!(passes(&errno.into()), "{errno}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_what_holds_for_good_is_a_hard_error() {
        use crate::plan::IcmpError::Hard;
        let hard = |origin, kind| {
            (0..=u8::MAX)
                .filter(|code| super::linux::meaning(origin, kind, *code) == Hard)
                .collect::<Vec<u8>>()
        };
        let nothing: Vec<u8> = vec![];
        // destination unreachable: not 0 and 1, which are network and host, nor 4, which is about a
        // size
        assert_eq!(hard(2, 3), [2, 3, 9, 10, 13]);
        assert_eq!(hard(3, 1), [1, 4, 5, 6]);
        assert_eq!(hard(3, 4), [1]);
        // time exceeded, and errors of another layer
        for (origin, kind) in [(2, 11), (3, 3), (3, 2), (1, 3), (0, 3), (4, 3)] {
            assert_eq!(hard(origin, kind), nothing);
        }
    }
}
