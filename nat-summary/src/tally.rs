//! The traits that the observations of one base have in common.

use crate::evidence::Seen;

/// The traits that the observations of one base have in common, from one pass.
pub(crate) struct Tally {
    /// Distinct servers: addresses and names, or answers without a server where none is named: such
    /// an answer may be one of a named server, found again.
    pub(crate) server_addresses: u16,
    /// Those that are certainly distinct: two names may be one address, and a text repeats itself.
    pub(crate) certain: u16,
    pub(crate) mappings_equal: bool,
    pub(crate) addresses_equal: bool,
    /// No server is known to be inside a network.
    pub(crate) servers_global: bool,
    pub(crate) ports_kept: bool,
    pub(crate) rewritten: Option<bool>,
    /// Some server address was asked on two ports. Two of a name may be of two addresses.
    pub(crate) two_ports: bool,
    /// Two ports of one server address got different mappings.
    pub(crate) ports_differ: bool,
    /// Two ports of one server address got one mapping.
    pub(crate) ports_agree: bool,
}

impl Tally {
    pub(crate) fn of(seen: &[Seen]) -> Option<Self> {
        let mut last = seen.first()?;
        let (first, base) = (last.mapped(), last.base());
        let mut tally = Self {
            server_addresses: 1,
            certain: 1,
            mappings_equal: true,
            addresses_equal: true,
            servers_global: true,
            ports_kept: true,
            rewritten: None,
            two_ports: false,
            ports_differ: false,
            ports_agree: false,
        };
        // by address first, then by name, then without a server, those of a text last
        let is_named = !last.is_anonymous();
        let counts = |s: &Seen| {
            if is_named {
                s.is_by_address()
            } else {
                !s.is_of_text()
            }
        };
        for (at, s) in seen.iter().enumerate() {
            let mapped = s.mapped();
            let kept = mapped.port == base.port;
            tally.mappings_equal &= mapped == first;
            tally.addresses_equal &= mapped.ip == first.ip;
            tally.servers_global &= !s.is_of_inner_server();
            tally.ports_kept &= kept;
            tally.rewritten = tally.rewritten.max(s.rewritten());
            if at > 0 {
                if last.same_address(s) {
                    let are_ports = s.is_by_address() && last.same_way(s);
                    let agree = last.same_mapping(s);
                    tally.two_ports |= are_ports;
                    tally.ports_differ |= are_ports && !agree;
                    tally.ports_agree |= are_ports && agree;
                } else if !(is_named && s.is_anonymous()) {
                    tally.server_addresses = tally.server_addresses.saturating_add(1);
                    tally.certain = tally.certain.saturating_add(counts(s).into());
                }
            }
            last = s;
        }
        Some(tally)
    }
}

/// Whether no NAT explains the answers: two servers that are certainly at two addresses saw one mapping
/// and any server another, or two ports of one address saw one mapping and two ports of an address
/// different ones. RFC 4787 section 4.1 knows no NAT that does so: one server lies, or the mapping
/// changed in the middle, or two ways lead out.
pub(crate) fn contradicts_itself(seen: &[Seen], tally: &Tally) -> bool {
    !tally.mappings_equal
        && (tally.certain > 1 && two_agree(seen) || tally.ports_differ && ports_agree(seen, tally))
}

/// Whether two ports of one server address saw one mapping. Those that follow each other are known
/// already.
#[cold]
fn ports_agree(seen: &[Seen], tally: &Tally) -> bool {
    let is_port = |a: &Seen, b: &Seen| a.is_by_address() && a.same_address(b) && a.same_way(b);
    let agrees = |(at, a): (usize, &Seen)| {
        let mut before = seen.iter().take(at);
        before.any(|b| is_port(a, b) && a.same_mapping(b))
    };
    tally.ports_agree || seen.iter().enumerate().any(agrees)
}

#[cold]
fn two_agree(seen: &[Seen]) -> bool {
    let is_named = seen.first().is_some_and(|first| !first.is_anonymous());
    let counts = |s: &&Seen| {
        if is_named {
            s.is_by_address()
        } else {
            !s.is_of_text()
        }
    };
    seen.iter().filter(counts).enumerate().any(|(at, a)| {
        let mut before = seen.iter().filter(counts).take(at);
        before.any(|b| a.same_mapping(b) && !a.same_address(b))
    })
}
