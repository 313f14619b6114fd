//! Two NATs, and whose packets came first: what is therefore true of both ends, and how much of it
//! checks can show. Pure.

use nat_summary::{DecidedBy, FailureCause, FilteringSeen, Mapping, NatType, TowardPeer};

use crate::kernel::router::Router;

/// Whose checks leave first, so that they are there before the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    Ours,
    Theirs,
}

/// One line of the lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) ours: Router,
    pub(crate) theirs: Router,
    pub(crate) first: First,
    /// How many servers our end asks.
    pub(crate) servers: usize,
    /// Our end finds out how it filters first (RFC 5780), from a socket of its own.
    pub(crate) discovers: bool,
    /// The peer advertises itself and never sends a check.
    pub(crate) ghost: bool,
    /// Under the path our NAT forgets everything, and gives every port at random from then on.
    pub(crate) rebinds: bool,
}

/// What one end has to show; each of them may be unknown, unless it is `shown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) meets: bool,
    pub(crate) by_servers: NatType,
    pub(crate) toward_peer: TowardPeer,
    /// The most that can be proven.
    pub(crate) filtering: FilteringSeen,
    /// The cause that a failure has by construction; `Unknown` where this end cannot know it.
    pub(crate) cause: FailureCause,
    /// The mapping by whose word.
    pub(crate) mapping: (Mapping, DecidedBy),
}

pub(super) const OPEN: Router = Router::Route;
pub(super) const FULL: Router = Router::FullCone;
const BY_ADDRESS: Router = Router::AddressRestricted;
pub(super) const MASQUERADE: Router = Router::Masquerade("");
pub(super) const SYMMETRIC: Router = Router::Masquerade("random");

const KINDS: [Router; 5] = [OPEN, FULL, BY_ADDRESS, MASQUERADE, SYMMETRIC];
static ALL: [Router; 8] = [
    OPEN,
    FULL,
    BY_ADDRESS,
    MASQUERADE,
    SYMMETRIC,
    Router::Firewall,
    Router::Deaf,
    Router::Drop,
];

pub(super) const fn meeting(ours: Router, theirs: Router, first: First) -> Meeting {
    Meeting {
        ours,
        theirs,
        first,
        servers: 5,
        discovers: false,
        ghost: false,
        rebinds: false,
    }
}

/// Every NAT across from every other, whoever is first; and those that show a cause.
pub(crate) fn meetings() -> Vec<Meeting> {
    let mut all = Vec::new();
    for ours in KINDS {
        for theirs in KINDS {
            all.extend([First::Ours, First::Theirs].map(|first| meeting(ours, theirs, first)));
        }
    }
    let one_server = |first| Meeting {
        servers: 1,
        ..meeting(MASQUERADE, OPEN, first)
    };
    all.extend([one_server(First::Ours), one_server(First::Theirs)]);
    all.push(Meeting {
        servers: 0,
        ..meeting(MASQUERADE, OPEN, First::Ours)
    });
    // not of a masquerade: what it has not let in holds the place of what is sent there next, so
    // that nothing is proven
    all.push(Meeting {
        discovers: true,
        ..meeting(MASQUERADE, SYMMETRIC, First::Ours)
    });
    all.push(Meeting {
        discovers: true,
        ..meeting(Router::Firewall, SYMMETRIC, First::Ours)
    });
    all.push(Meeting {
        discovers: true,
        ghost: true,
        ..meeting(FULL, MASQUERADE, First::Ours)
    });
    all.push(meeting(FULL, Router::Deaf, First::Ours));
    all.push(Meeting {
        rebinds: true,
        ..meeting(MASQUERADE, OPEN, First::Ours)
    });
    all.push(meeting(Router::Drop, OPEN, First::Ours));
    all
}

impl Meeting {
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{} x {}", kind(self.ours), kind(self.theirs));
        name += if self.first == First::Ours {
            ", ours first"
        } else {
            ", theirs first"
        };
        match self.servers {
            5 => {}
            1 => name += ", one server",
            _ => name += ", no server",
        }
        if self.discovers {
            name += ", filter discovered";
        }
        if self.rebinds {
            name += ", rebinding";
        }
        if self.ghost {
            name += ", peer silent";
        }
        name
    }

    /// Those that are quick, and show each thing once.
    pub(crate) fn is_quick(&self) -> bool {
        let plain = self.servers == 5 && !self.discovers && !self.ghost;
        match (self.ours, self.theirs, self.first) {
            (MASQUERADE, OPEN, _) => self.servers > 0,
            (FULL, OPEN, First::Theirs) | (FULL, SYMMETRIC, First::Ours) => plain,
            (SYMMETRIC, SYMMETRIC, First::Ours) => plain,
            (MASQUERADE, MASQUERADE, First::Ours) => plain,
            _ => false,
        }
    }

    /// What is true of our end, if `ours`, or of the peer's.
    pub(crate) fn truth(&self, ours: bool) -> Truth {
        let (here, there) = if ours {
            (self.ours, self.theirs)
        } else {
            (self.theirs, self.ours)
        };
        let is_first = ours == (self.first == First::Ours);
        let (first, second) = if is_first {
            (here, there)
        } else {
            (there, here)
        };
        let meets = !self.ghost && meets(first, second);
        let servers = if ours { self.servers } else { 5 };
        let knows_filter = ours && self.discovers;
        let toward_peer = match here {
            _ if !meets || servers == 0 || !here.translates() => TowardPeer::Unobserved,
            SYMMETRIC => TowardPeer::Changed,
            _ if ours && self.rebinds => TowardPeer::Changed,
            // the place toward the peer is taken by its packet, which nobody took
            MASQUERADE | BY_ADDRESS if !is_first && sends_from_where_it_says(there) => {
                TowardPeer::Changed
            }
            _ => TowardPeer::Kept,
        };
        // only from where the peer's answers go: what comes from elsewhere came through a mapping
        // of another server
        let elsewhere = there == SYMMETRIC
            || (matches!(there, MASQUERADE | BY_ADDRESS) && is_first && here != SYMMETRIC);
        let filtering = match (here, is_first) {
            // without an answer of the peer nothing shows that its checks crossed the NAT
            _ if self.ghost || there == Router::Deaf => FilteringSeen::Unobserved,
            (FULL, false) => FilteringSeen::Independent,
            (FULL | BY_ADDRESS, true) if elsewhere => FilteringSeen::AtMostAddressDependent,
            _ => FilteringSeen::Unobserved,
        };
        let cause = match (here, there) {
            _ if meets => FailureCause::Unknown,
            (SYMMETRIC, SYMMETRIC) => FailureCause::BothSymmetric,
            (Router::Drop, _) => FailureCause::UdpBlocked,
            (FULL, Router::Deaf) => FailureCause::ChecksOneWay,
            (Router::Firewall, SYMMETRIC) if knows_filter => FailureCause::FilteredHere,
            (FULL, _) if self.ghost && knows_filter => FailureCause::PeerSilent,
            _ => FailureCause::Unknown,
        };
        let by_servers = match here {
            OPEN | Router::Firewall => NatType::Open,
            Router::Drop => NatType::UdpBlocked,
            _ if servers < 2 => NatType::Unknown,
            SYMMETRIC => NatType::Symmetric,
            _ => NatType::Cone,
        };
        let mapping = match by_servers {
            NatType::Open | NatType::Cone => (Mapping::EndpointIndependent, DecidedBy::Servers),
            NatType::Symmetric => (Mapping::Dependent, DecidedBy::Servers),
            _ if servers == 1 && toward_peer == TowardPeer::Kept => {
                (Mapping::EndpointIndependent, DecidedBy::Peer)
            }
            _ if servers == 1 && toward_peer == TowardPeer::Changed => {
                (Mapping::Dependent, DecidedBy::Peer)
            }
            _ => (Mapping::Unknown, DecidedBy::Undecided),
        };
        Truth {
            meets,
            by_servers,
            toward_peer,
            filtering,
            cause,
            mapping,
        }
    }
}

/// A site with this one router.
pub(crate) fn only(nat: Router) -> &'static [Router] {
    ALL.iter()
        .find(|known| **known == nat)
        .map_or(&[], std::slice::from_ref)
}

pub(crate) fn kind(nat: Router) -> &'static str {
    match nat {
        OPEN => "no NAT",
        FULL => "full cone",
        BY_ADDRESS => "address-restricted",
        MASQUERADE => "masquerade",
        SYMMETRIC => "symmetric",
        Router::Firewall => "no NAT, firewall",
        Router::Deaf => "masquerade, deaf to peers",
        Router::Drop => "UDP dropped",
        _ => "other",
    }
}

/// Whether packets toward a new destination leave from the advertised port, unless that is taken
/// there.
fn sends_from_where_it_says(nat: Router) -> bool {
    nat != SYMMETRIC
}

/// Whether a pair works, when `first`'s checks are there before `second` sends any.
///
/// Either they come in at `second`, or what `second` sends afterwards comes in at `first`, from
/// whatever port: the packets of `first` that nobody took hold the place that `second` would keep.
fn meets(first: Router, second: Router) -> bool {
    match (first, second) {
        (Router::Drop | Router::Deaf, _) | (_, Router::Drop | Router::Deaf) => false,
        (_, OPEN | FULL) | (OPEN | FULL | BY_ADDRESS, _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_meeting_has_a_name_of_its_own_and_the_quick_ones_are_few() {
        let all = meetings();
        assert_eq!(
            all.iter().map(Meeting::name).collect::<HashSet<_>>().len(),
            all.len()
        );
        assert!((5..12).contains(&all.iter().filter(|meeting| meeting.is_quick()).count()));
    }

    #[test]
    fn every_verdict_is_to_be_shown_somewhere() {
        let truths: Vec<Truth> = meetings()
            .iter()
            .map(|meeting| meeting.truth(true))
            .collect();
        for toward in TowardPeer::ALL {
            assert!(
                truths.iter().any(|truth| truth.toward_peer == *toward),
                "{toward:?}"
            );
        }
        for seen in FilteringSeen::ALL {
            assert!(
                truths.iter().any(|truth| truth.filtering == *seen),
                "{seen:?}"
            );
        }
        for cause in FailureCause::ALL
            .iter()
            .filter(|cause| !cause.is_of_channel())
        {
            assert!(
                truths.iter().any(|truth| truth.cause == *cause),
                "{cause:?}"
            );
        }
    }

    #[test]
    fn the_two_ends_of_a_meeting_agree_whether_they_meet() {
        for meeting in meetings() {
            assert_eq!(meeting.truth(true).meets, meeting.truth(false).meets);
        }
    }
}
