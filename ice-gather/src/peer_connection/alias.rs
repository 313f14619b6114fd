//! IPv4 aliases of a peer's IPv6 addresses: pure.
//!
//! The library of a peer connection asks its socket once, and pairs a candidate with those of its own
//! family alone. So it sees one IPv4 candidate of ours, and each IPv6 address of the peer under an
//! alias from a block that no host has (240.0.0.0/4, RFC 1112 section 4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Most IPv6 addresses of one peer: as many as it may signal, and as many as it may be learnt at.
const MAX_ALIASES: u8 = 64;

/// The IPv6 addresses of a peer that have an alias. Ports are not translated.
#[derive(Debug, Default)]
pub(super) struct Aliases(Vec<IpAddr>);

impl Aliases {
    /// The alias of an IPv6 address, if it has one. IPv4 addresses stand for themselves.
    pub(super) fn known(&self, address: SocketAddr) -> Option<SocketAddr> {
        if address.is_ipv4() {
            return Some(address).filter(|address| !is_alias(address.ip()));
        }
        let number = self.0.iter().position(|known| *known == address.ip())?;
        let number = u8::try_from(number).ok()?;
        Some(SocketAddr::from(([240, 0, 0, number], address.port())))
    }

    /// The same, and gives one that is new an alias, as long as there is room.
    pub(super) fn alias(&mut self, address: SocketAddr) -> Option<SocketAddr> {
        let is_new = address.is_ipv6() && !self.0.contains(&address.ip());
        if is_new && self.0.len() < MAX_ALIASES.into() {
            self.0.push(address.ip());
        }
        self.known(address)
    }

    /// The address behind an alias; `None` for an alias that was never given.
    pub(super) fn real(&self, address: SocketAddr) -> Option<SocketAddr> {
        match address.ip() {
            ip if !is_alias(ip) => Some(address),
            IpAddr::V4(alias) => {
                let known = self.0.get(usize::from(alias.octets()[3]));
                known.map(|real| SocketAddr::new(*real, address.port()))
            }
            IpAddr::V6(_) => None,
        }
    }
}

fn is_alias(ip: IpAddr) -> bool {
    let block = Ipv4Addr::new(240, 0, 0, 0);
    matches!(ip, IpAddr::V4(ip) if ip.octets()[..3] == block.octets()[..3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_leads_back_and_there_are_only_so_many() {
        let mut aliases = Aliases::default();
        let address = |number: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number], 9));
        assert_eq!(aliases.known(address(1)), None);
        let given: Vec<_> = (0..100)
            .map(|number| aliases.alias(address(number)))
            .collect();
        assert_eq!(given.iter().flatten().count(), usize::from(MAX_ALIASES));
        for (number, alias) in (0..).zip(given.iter().flatten()) {
            assert!(alias.is_ipv4());
            assert_eq!(aliases.real(*alias), Some(address(number)));
            assert_eq!(aliases.known(address(number)), Some(*alias));
        }
    }

    #[test]
    fn an_ipv4_address_stands_for_itself_unless_it_pretends_to_be_an_alias() {
        let mut aliases = Aliases::default();
        let (honest, pretended) = (
            SocketAddr::from(([192, 0, 2, 1], 9)),
            SocketAddr::from(([240, 0, 0, 0], 9)),
        );
        assert_eq!(aliases.alias(honest), Some(honest));
        assert_eq!(aliases.real(honest), Some(honest));
        assert_eq!(aliases.alias(pretended), None);
        assert_eq!(aliases.real(pretended), None);
    }
}
