//! The host's own addresses and routes, looked up without sending anything.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use webrtc_util::ifaces::ifaces;

/// The local address that packets toward `remote` leave from. Connecting a UDP socket looks the route up, and no more.
pub(crate) fn toward(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

/// The local address of the default route: toward an address reserved for documentation, which no other route covers.
pub(crate) fn default_route(is_ipv4: bool) -> Option<IpAddr> {
    let remote: (IpAddr, u16) =
        if is_ipv4 { ([192, 0, 2, 1].into(), 9) } else { ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), 9) };
    toward(remote.into())
}

/// Every address of the interface of this name.
pub(crate) fn interface(name: &str) -> Vec<IpAddr> {
    let interfaces = ifaces().unwrap_or_default();
    interfaces.into_iter().filter(|i| i.name == name).filter_map(|i| i.addr).map(|addr| addr.ip()).collect()
}

/// Every address of a family that a peer elsewhere can have a route to: no loopback, no link-local one.
pub(crate) fn addresses(is_ipv4: bool) -> impl Iterator<Item = IpAddr> {
    use nat_summary::Scope::{LinkLocal, Loopback, Reserved};
    let all = ifaces().unwrap_or_default().into_iter().filter_map(|i| i.addr).map(|addr| addr.ip());
    all.filter(move |ip| {
        ip.is_ipv4() == is_ipv4 && !matches!(nat_summary::Scope::of(*ip), Loopback | LinkLocal | Reserved)
    })
}
