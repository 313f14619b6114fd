//! ICMP errors about single servers, where the system tells them apart (Linux): a server that is said to be unreachable is
//! not a silent one, and no reason to call UDP blocked.

#[cfg(target_os = "linux")]
pub(crate) use linux::Watch;
#[cfg(not(target_os = "linux"))]
pub(crate) use none::Watch;

#[cfg(target_os = "linux")]
mod linux {
    use std::io::IoSliceMut;
    use std::net::{IpAddr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
    use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt};
    use tokio::net::UdpSocket;

    /// Most errors read at once; more are read next time.
    const MAX_ERRORS: usize = 64;

    /// Has the system queue ICMP errors of a socket, as long as this lives: later, they would make the agent's sends
    /// fail for what another destination did.
    pub(crate) struct Watch<'a> {
        socket: &'a UdpSocket,
    }

    impl<'a> Watch<'a> {
        pub(crate) fn new(socket: &'a UdpSocket) -> Self {
            let watch = Self { socket };
            watch.set(true);
            watch
        }

        /// The destinations that errors came back about since the last call.
        pub(crate) fn take(&self) -> Vec<SocketAddr> {
            let mut destinations = Vec::new();
            let mut payload = [0_u8; 64];
            let mut control = Vec::with_capacity(256);
            for _ in 0..MAX_ERRORS {
                let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
                let mut parts = [IoSliceMut::new(&mut payload)];
                let fd = self.socket.as_raw_fd();
                let Ok(message) = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags) else { break };
                destinations.extend(message.address.and_then(|address| destination(&address)));
            }
            destinations
        }

        fn set(&self, on: bool) {
            let fd = self.socket.as_raw_fd();
            let is_ipv4 = self.socket.local_addr().is_ok_and(|local| local.is_ipv4());
            // without it an unreachable server is a silent one, which is true as well, only less
            let _ = if is_ipv4 { setsockopt(fd, Ipv4RecvErr, &on) } else { setsockopt(fd, Ipv6RecvErr, &on) };
        }
    }

    impl Drop for Watch<'_> {
        fn drop(&mut self) {
            self.set(false);
            // what is queued already would still be reported to the agent
            while !self.take().is_empty() {}
        }
    }

    fn destination(address: &SockaddrStorage) -> Option<SocketAddr> {
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(SocketAddr::new(IpAddr::from(v4.ip().to_be_bytes()), v4.port()));
        }
        address.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port()))
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use core::marker::PhantomData;
    use std::net::SocketAddr;

    use tokio::net::UdpSocket;

    /// Nothing is told apart here.
    pub(crate) struct Watch<'a>(PhantomData<&'a UdpSocket>);

    impl<'a> Watch<'a> {
        pub(crate) const fn new(_socket: &'a UdpSocket) -> Self {
            Self(PhantomData)
        }

        pub(crate) const fn take(&self) -> Vec<SocketAddr> {
            Vec::new()
        }
    }
}
