//! Whether answers that are still missing can change how the NAT is judged to map.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::behaviour::Mapping;
use crate::classify::{Tally, by_base, saturate, summarize};
use crate::evidence::vantage::Vantage;
use crate::evidence::{Evidence, Observation, Seen};
use crate::primary::{Rank, group_of};
use crate::scope::Scope;
use crate::server::ServerId;
use crate::summary::BaseVerdict;

/// A Binding request without an answer so far.
///
/// ```
/// use nat_summary::{Evidence, PendingRequest, ServerId};
///
/// let pending = PendingRequest {
///     base: "192.168.1.5:50000".parse()?,
///     server: ServerId::named("198.51.100.1", 3478),
/// };
/// assert!(!Evidence::new().is_settled([pending]), "nothing was observed");
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingRequest {
    /// The local socket it left from, or will leave from.
    pub base: SocketAddr,
    /// The server it is for.
    pub server: ServerId,
}

impl Evidence {
    /// Whether the mapping is decided for good: no answer to a pending request changes it, and no
    /// answer of a further server to the primary base does, so a gathering that only asks for the
    /// mapping can end. An answer is expected to report an address of the family that its request
    /// leaves in.
    ///
    /// Only a dependent mapping (RFC 4787 section 4.1) can be settled, because the next server may
    /// still see a mapping that was the same for all so far as another one. It is settled where
    /// - no other base can become the primary one,
    /// - no answer can come from further out than those that decided, and
    /// - no second port of a server address is missing that shows more exactly how the mapping
    ///   depends on the destination.
    ///
    /// ```
    /// use nat_summary::{Evidence, Observation, PendingRequest, ServerId};
    ///
    /// let base = "192.168.1.5:50000".parse()?;
    /// let mut evidence = Evidence::new();
    /// for (server, mapped) in [("198.51.100.1", "203.0.113.7:41000"), ("198.51.100.2", "203.0.113.7:41001")] {
    ///     let server = ServerId::named(server, 3478);
    ///     evidence.observe(Observation { base, server, mapped: mapped.parse()?, sequence: 0 });
    /// }
    /// let pending = |server, port| [PendingRequest { base, server: ServerId::named(server, port) }];
    /// assert!(evidence.is_settled(pending("198.51.100.3", 3478)));
    /// assert!(!evidence.is_settled(pending("198.51.100.2", 3479)), "two ports may differ, or agree");
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn is_settled(&self, pending: impl IntoIterator<Item = PendingRequest>) -> bool {
        let summary = summarize(self);
        let Some(primary) = summary
            .primary_base()
            .filter(|base| base.mapping.is_dependent())
        else {
            return false;
        };
        let mut with_pending = self.clone();
        for request in pending {
            with_pending.see(expected_answer(request));
        }
        // an answer that has no room may be any
        !with_pending.truncated().observations
            && by_base(with_pending.observed()).all(|group| match group.first() {
                Some(first) if first.group() == group_of(primary) => {
                    keeps_mapping(group, primary, self)
                }
                Some(_) => rank(group) < Some(Rank::of(primary)),
                None => true,
            })
    }
}

/// The answer to a pending request, as far as it can be foreseen: of the family that the request
/// leaves in. The mapped address stands for any other, so it is counted and never compared.
fn expected_answer(PendingRequest { base, server }: PendingRequest) -> Seen {
    let way = match server {
        ServerId::Address(ip, _) => ip,
        _ => base.ip(),
    };
    let any: IpAddr = match way.to_canonical() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let observation = Observation {
        base,
        server,
        mapped: SocketAddr::new(any, 1),
        sequence: 0,
    };
    Seen::new(&observation, None)
}

/// Whether no answer that is pending on the primary base changes how the base is judged to map.
fn keeps_mapping(group: &[Seen], primary: &BaseVerdict, observed: &Evidence) -> bool {
    let is_new = |seen: &Seen| {
        let mut known = observed.observed().iter();
        !known.any(|k| k.same_group(seen) && k.same_server(seen))
    };
    let kind_is_open = primary.mapping != Mapping::AddressAndPortDependent
        && group.windows(2).any(|pair| match pair {
            [a, b] => a.same_address(b) && (is_new(a) || is_new(b)),
            _ => false,
        });
    // an answer from further out would be judged alone, and one of a named server makes those of
    // unnamed ones count for less
    let vantage = Vantage::of(primary.external.into(), primary.base.ip().into(), observed);
    let is_final =
        vantage == Vantage::Beyond(Scope::Global) && !group.iter().any(Seen::is_anonymous);
    let grows = group.iter().any(is_new);
    !kind_is_open && (is_final || !grows)
}

/// The rank of a base that all its requests were answered on, from whatever vantage.
fn rank(group: &[Seen]) -> Option<Rank> {
    let (base, servers) = (group.first()?.group(), Tally::of(group)?.server_addresses);
    Some(Rank::new(servers, saturate(group.len()), base))
}
