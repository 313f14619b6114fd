//! Every case: what is built, what is therefore true, and how much of it the answers can decide.

use std::net::{IpAddr, SocketAddr};

use nat_summary::{Mapping, NatType, Rule};

use crate::kernel::router::Router;
use crate::kernel::servers::{COTURN, OWN, PORTS, SILENT, THIRD_PORT, ipv4, ipv6};
use crate::kernel::world::{
    CARRIER_SERVERS, CLIENT_IPV6, CLIENT_IPV6_TRANSLATED, EXTERNAL_IPV4, EXTERNAL_IPV6,
    HOME_SERVERS, PUBLIC_IPV4, SECOND_IPV4, Site, Uplinks, private_ipv4,
};

/// Which servers are asked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cohort {
    /// Three of ours, coturn's two.
    Five,
    /// The same by IPv6.
    Five6,
    /// The five by IPv4, then by IPv6.
    Ten46,
    /// The five by IPv6, then by IPv4.
    Ten64,
    /// The first silent, then two of ours, then coturn's two.
    OneDead,
    /// Four silent, the last one ours.
    FourDead,
    /// Three ports of one of ours.
    OneAddress,
    /// Two ports of one of ours and of coturn's two addresses.
    TwoPorts,
    /// Two in the client's network, then three of ours.
    HomeFirst,
    /// Two in the carrier's network, then three of ours.
    CarrierFirst,
}

impl Cohort {
    pub(crate) fn servers(self) -> Vec<SocketAddr> {
        let five = || OWN.into_iter().chain(COTURN);
        let at = |ip: fn(u8) -> IpAddr, number: u8| SocketAddr::new(ip(number), PORTS[0]);
        match self {
            Self::Five => five().map(|n| at(ipv4, n)).collect(),
            Self::Five6 => five().map(|n| at(ipv6, n)).collect(),
            Self::Ten46 => [Self::Five.servers(), Self::Five6.servers()].concat(),
            Self::Ten64 => [Self::Five6.servers(), Self::Five.servers()].concat(),
            Self::OneDead => [SILENT[0], OWN[0], OWN[1]]
                .into_iter()
                .chain(COTURN)
                .map(|n| at(ipv4, n))
                .collect(),
            Self::FourDead => SILENT
                .into_iter()
                .chain([OWN[0]])
                .map(|n| at(ipv4, n))
                .collect(),
            Self::OneAddress => [PORTS[0], PORTS[1], THIRD_PORT]
                .map(|port| SocketAddr::new(ipv4(OWN[0]), port))
                .to_vec(),
            Self::TwoPorts => [OWN[0], COTURN[0], COTURN[1]]
                .into_iter()
                .flat_map(|n| PORTS.map(|port| SocketAddr::new(ipv4(n), port)))
                .collect(),
            Self::HomeFirst => inner_first(HOME_SERVERS),
            Self::CarrierFirst => inner_first(CARRIER_SERVERS),
        }
    }
}

fn inner_first(inner: [IpAddr; 2]) -> Vec<SocketAddr> {
    let all = inner.into_iter().chain(OWN.map(ipv4));
    all.map(|ip| SocketAddr::new(ip, PORTS[0])).collect()
}

/// Where the mapping that the NAT would choose is somebody else's already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Toward the server asked first.
    First,
    /// Toward the server asked last.
    Last,
}

/// What the gatherer's summary has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) verdict: NatType,
    pub(crate) mapping: Mapping,
    pub(crate) rule: Rule,
    pub(crate) port_preserved: Option<bool>,
    /// Where only one is possible: among several, it depends on who answered before it was enough.
    pub(crate) external: Option<IpAddr>,
}

/// One line of the lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) site: Site,
    pub(crate) cohort: Cohort,
    pub(crate) taken: Option<Taken>,
    /// The client's address to bind; the default routes decide if there is none.
    pub(crate) from: Option<IpAddr>,
    /// How many gatherings, at once, each on a socket of its own.
    pub(crate) gathers: u32,
    /// Two servers may come to the same address of a pool, and a third to another: then the answers
    /// contradict each other, and decide nothing.
    pub(crate) may_contradict: bool,
    /// Seconds rather than milliseconds.
    pub(crate) slow: bool,
    /// The truth by construction.
    pub(crate) truth: NatType,
    /// What of it the answers prove. Where this is unknown, saying more is wrong.
    pub(crate) expected: Expected,
}

const OPEN: Expected = Expected {
    verdict: NatType::Open,
    mapping: Mapping::EndpointIndependent,
    rule: Rule::MappedIsLocal,
    port_preserved: Some(true),
    external: Some(PUBLIC_IPV4),
};
/// Two server addresses agree and another differs, which no NAT of RFC 4787 does.
const CONTRADICTORY: Expected = Expected {
    verdict: NatType::Unknown,
    mapping: Mapping::Unknown,
    rule: Rule::Contradictory,
    port_preserved: Some(false),
    external: Some(EXTERNAL_IPV4),
};
const CONE: Expected = Expected {
    verdict: NatType::Cone,
    mapping: Mapping::EndpointIndependent,
    rule: Rule::ServersAgree,
    port_preserved: Some(true),
    external: Some(EXTERNAL_IPV4),
};
/// Every server on one port: that the mapping depends on the port too cannot be seen.
const SYMMETRIC: Expected = Expected {
    verdict: NatType::Symmetric,
    mapping: Mapping::Dependent,
    rule: Rule::ServersDiffer,
    port_preserved: Some(false),
    external: Some(EXTERNAL_IPV4),
};
const SYMMETRIC_BY_PORT: Expected = Expected {
    mapping: Mapping::AddressAndPortDependent,
    rule: Rule::PortsOfOneServerDiffer,
    ..SYMMETRIC
};
const UNDECIDABLE: Expected = Expected {
    verdict: NatType::Unknown,
    mapping: Mapping::Unknown,
    rule: Rule::TooFewServers,
    port_preserved: Some(true),
    external: Some(EXTERNAL_IPV4),
};
const BLOCKED: Expected = Expected {
    verdict: NatType::UdpBlocked,
    mapping: Mapping::Unknown,
    rule: Rule::AskedNoneAnswered,
    port_preserved: None,
    external: None,
};

const fn case(
    name: &'static str,
    routers: &'static [Router],
    truth: NatType,
    expected: Expected,
) -> Case {
    Case {
        name,
        site: Site::behind(routers),
        cohort: Cohort::Five,
        taken: None,
        from: None,
        gathers: 1,
        may_contradict: false,
        slow: false,
        truth,
        expected,
    }
}

impl Case {
    const fn asking(mut self, cohort: Cohort) -> Self {
        self.cohort = cohort;
        self
    }

    const fn taken(mut self, taken: Taken) -> Self {
        self.taken = Some(taken);
        self
    }

    const fn uplinks(mut self, uplinks: Uplinks) -> Self {
        self.site.uplinks = uplinks;
        self
    }

    const fn from(mut self, ip: IpAddr) -> Self {
        self.from = Some(ip);
        self
    }

    /// Servers inside answer at once, those outside late.
    const fn inner_first(mut self, cohort: Cohort) -> Self {
        self.site.has_inner_servers = true;
        self.asking(cohort)
    }

    const fn may_contradict(mut self) -> Self {
        self.may_contradict = true;
        self
    }

    const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    const fn lossy(mut self, gathers: u32) -> Self {
        self.site.lossy = true;
        self.gathers = gathers;
        self.slow()
    }
}

const MASQUERADE: &[Router] = &[Router::Masquerade("")];
const RANDOM: &[Router] = &[Router::Masquerade("random")];
const BY_DESTINATION: &[Router] = &[Router::PoolByDestination];
const TWO_HOMES: &[Router] = &[Router::Masquerade(""), Router::Masquerade("random")];

/// In the order of the table.
pub(crate) const CASES: &[Case] = &[
    case("no NAT", &[Router::Route], NatType::Open, OPEN),
    case(
        "no NAT, stateful firewall",
        &[Router::Firewall],
        NatType::Open,
        OPEN,
    ),
    // one server says that there is no NAT, and no server can say more of a mapping that nobody
    // made
    case(
        "no NAT, all servers on one address",
        &[Router::Route],
        NatType::Open,
        Expected {
            mapping: Mapping::Unknown,
            ..OPEN
        },
    )
    .asking(Cohort::OneAddress),
    case("masquerade", MASQUERADE, NatType::Cone, CONE),
    case(
        "masquerade, servers on two ports",
        MASQUERADE,
        NatType::Cone,
        CONE,
    )
    .asking(Cohort::TwoPorts),
    // the kernel keeps the port wherever it can, and toward the last server it cannot: this
    // mapping does differ
    case(
        "masquerade, port taken toward the last server",
        MASQUERADE,
        NatType::Symmetric,
        CONTRADICTORY,
    )
    .taken(Taken::Last),
    // the other way round it finds the new port in use by this source, and takes it again for the
    // others
    case(
        "masquerade, port taken toward the first server",
        MASQUERADE,
        NatType::Cone,
        Expected {
            port_preserved: Some(false),
            ..CONE
        },
    )
    .taken(Taken::First),
    // a cone in truth; but a NAT that maps by address would look the same
    case(
        "masquerade, all servers on one address",
        MASQUERADE,
        NatType::Cone,
        UNDECIDABLE,
    )
    .asking(Cohort::OneAddress),
    case(
        "masquerade, one of five servers dead",
        MASQUERADE,
        NatType::Cone,
        CONE,
    )
    .asking(Cohort::OneDead),
    // only one is left: the same as one address
    case(
        "masquerade, four of five servers dead",
        MASQUERADE,
        NatType::Cone,
        UNDECIDABLE,
    )
    .asking(Cohort::FourDead)
    .slow(),
    case(
        "masquerade to :20000-30000",
        &[Router::Masquerade("to :20000-30000")],
        NatType::Cone,
        Expected {
            port_preserved: Some(false),
            ..CONE
        },
    ),
    case("masquerade random", RANDOM, NatType::Symmetric, SYMMETRIC),
    case(
        "masquerade random, servers on two ports",
        RANDOM,
        NatType::Symmetric,
        SYMMETRIC_BY_PORT,
    )
    .asking(Cohort::TwoPorts),
    // ports of one address cannot prove independence, but they can disprove it
    case(
        "masquerade random, all servers on one address",
        RANDOM,
        NatType::Symmetric,
        SYMMETRIC_BY_PORT,
    )
    .asking(Cohort::OneAddress),
    case(
        "masquerade random, one of five servers dead",
        RANDOM,
        NatType::Symmetric,
        SYMMETRIC,
    )
    .asking(Cohort::OneDead),
    case(
        "masquerade fully-random",
        &[Router::Masquerade("fully-random")],
        NatType::Symmetric,
        SYMMETRIC,
    ),
    case(
        "full cone (snat, dnat)",
        &[Router::FullCone],
        NatType::FullCone,
        CONE,
    ),
    case(
        "address-restricted (snat, dnat by set)",
        &[Router::AddressRestricted],
        NatType::AddressRestrictedCone,
        CONE,
    ),
    case(
        "two NATs: masquerade twice",
        &[Router::Masquerade(""), Router::Masquerade("")],
        NatType::Cone,
        CONE,
    ),
    case(
        "two NATs: masquerade, then random",
        &[Router::Masquerade(""), Router::Masquerade("random")],
        NatType::Symmetric,
        SYMMETRIC,
    ),
    case(
        "two NATs: random, then masquerade",
        &[Router::Masquerade("random"), Router::Masquerade("")],
        NatType::Symmetric,
        SYMMETRIC,
    ),
    // two servers inside agree before one outside has answered
    case(
        "masquerade, two servers at home answer first",
        MASQUERADE,
        NatType::Cone,
        CONE,
    )
    .inner_first(Cohort::HomeFirst),
    case(
        "masquerade random, two servers at home answer first",
        RANDOM,
        NatType::Symmetric,
        SYMMETRIC,
    )
    .inner_first(Cohort::HomeFirst),
    case(
        "two NATs, the carrier's servers answer first",
        &[Router::Masquerade(""), Router::Masquerade("")],
        NatType::Cone,
        CONE,
    )
    .inner_first(Cohort::CarrierFirst),
    case(
        "two NATs, outer random, the carrier's answer first",
        &[Router::Masquerade(""), Router::Masquerade("random")],
        NatType::Symmetric,
        SYMMETRIC,
    )
    .inner_first(Cohort::CarrierFirst),
    // four addresses, and yet one mapping: the kernel takes the earlier one of the same source
    // again
    case(
        "pool of four addresses",
        &[Router::Pool("")],
        NatType::Cone,
        Expected {
            external: None,
            ..CONE
        },
    ),
    case(
        "pool of four addresses, random",
        &[Router::Pool("random")],
        NatType::Symmetric,
        Expected {
            external: None,
            ..SYMMETRIC
        },
    ),
    // ports are kept; the address tells the destinations apart
    case(
        "pool, an address per destination",
        BY_DESTINATION,
        NatType::Symmetric,
        Expected {
            port_preserved: Some(true),
            external: None,
            ..SYMMETRIC
        },
    )
    .may_contradict(),
    case(
        "pool, an address per destination, two ports",
        BY_DESTINATION,
        NatType::Symmetric,
        Expected {
            mapping: Mapping::AddressDependent,
            rule: Rule::ServersDifferPortsAgree,
            port_preserved: Some(true),
            external: None,
            ..SYMMETRIC
        },
    )
    .asking(Cohort::TwoPorts),
    // symmetric in truth, and all ports of one address agree: why they can never prove
    // independence
    case(
        "pool, an address per destination, one asked",
        BY_DESTINATION,
        NatType::Symmetric,
        UNDECIDABLE,
    )
    .asking(Cohort::OneAddress),
    // each way is a cone, and yet a peer sees another mapping depending on where it is
    case(
        "router with two uplinks, by destination",
        MASQUERADE,
        NatType::Symmetric,
        Expected {
            port_preserved: Some(true),
            external: None,
            ..CONTRADICTORY
        },
    )
    .uplinks(Uplinks::OfTheRouter),
    case(
        "client with two uplinks: default route",
        TWO_HOMES,
        NatType::Cone,
        CONE,
    )
    .uplinks(Uplinks::OfTheClient),
    case(
        "client with two uplinks: the second, random",
        TWO_HOMES,
        NatType::Symmetric,
        Expected {
            external: Some(SECOND_IPV4),
            ..SYMMETRIC
        },
    )
    .uplinks(Uplinks::OfTheClient)
    .from(private_ipv4(1)),
    case(
        "IPv6, no NAT",
        &[Router::Route],
        NatType::Open,
        Expected {
            external: Some(CLIENT_IPV6),
            ..OPEN
        },
    )
    .asking(Cohort::Five6),
    case(
        "IPv6, prefix translation",
        &[Router::Prefix],
        NatType::FullCone,
        Expected {
            external: Some(CLIENT_IPV6_TRANSLATED),
            ..CONE
        },
    )
    .asking(Cohort::Five6),
    case(
        "IPv6, masquerade random",
        RANDOM,
        NatType::Symmetric,
        Expected {
            external: Some(EXTERNAL_IPV6),
            ..SYMMETRIC
        },
    )
    .asking(Cohort::Five6),
    // as many servers of each family: IPv4 speaks for the host, whichever is asked first
    case(
        "both families, IPv4 random, IPv6 no NAT",
        &[Router::Masquerade4("random")],
        NatType::Symmetric,
        SYMMETRIC,
    )
    .asking(Cohort::Ten46),
    case(
        "the same, IPv6 asked first",
        &[Router::Masquerade4("random")],
        NatType::Symmetric,
        SYMMETRIC,
    )
    .asking(Cohort::Ten64),
    case("UDP dropped", &[Router::Drop], NatType::UdpBlocked, BLOCKED).slow(),
    // a firewall in truth; but hosts without a server say the same, and nobody is waited for that
    // is known to be away
    case(
        "UDP rejected by ICMP",
        &[Router::Reject],
        NatType::UdpBlocked,
        Expected {
            verdict: NatType::Unknown,
            rule: Rule::NothingObserved,
            ..BLOCKED
        },
    ),
    case(
        "masquerade, 30 % loss each way",
        MASQUERADE,
        NatType::Cone,
        CONE,
    )
    .lossy(50),
    case(
        "masquerade random, 30 % loss each way",
        RANDOM,
        NatType::Symmetric,
        SYMMETRIC,
    )
    .lossy(50),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use nat_summary::NatType;

    use super::{CASES, Cohort};

    #[test]
    fn every_case_has_a_name_of_its_own() {
        assert_eq!(
            CASES
                .iter()
                .map(|case| case.name)
                .collect::<HashSet<_>>()
                .len(),
            CASES.len()
        );
    }

    #[test]
    fn nothing_is_expected_beyond_the_truth() {
        for case in CASES {
            let unrefined = match case.truth {
                // gathering cannot see how a NAT filters
                NatType::FullCone
                | NatType::AddressRestrictedCone
                | NatType::PortRestrictedCone => NatType::Cone,
                other => other,
            };
            let expected = case.expected.verdict;
            assert!(
                expected == unrefined || expected == NatType::Unknown,
                "{}: {expected:?}",
                case.name
            );
        }
    }

    #[test]
    fn one_server_address_is_never_expected_to_prove_a_cone() {
        for case in CASES
            .iter()
            .filter(|case| matches!(case.cohort, Cohort::OneAddress | Cohort::FourDead))
        {
            assert_ne!(case.expected.verdict, NatType::Cone, "{}", case.name);
        }
    }
}
