//! What an observer of a capture concludes beside the gatherer: the same, from the same datagrams.

use std::collections::BTreeSet;

use ice_gather::capture::Capture;
use ice_gather::{Base, Gathering};
use nat_summary::{Evidence, NatType, Rule};

use super::{Case, Finding, compare};
use crate::Failure;

/// The verdict from a capture.
pub(super) struct Captured {
    pub(super) verdict: &'static str,
    /// Where it is not that of the gatherer.
    pub(super) fault: Option<String>,
}

/// The row's verdict where its gatherings are many: a capture has one judgement of a host, and evidence has no
/// room for a hundred sockets.
const MANY: &str = "many sockets";

/// The verdict on the host of the gathering, beside the truth and beside the gatherer's.
pub(super) fn judge(
    case: &Case,
    gathered: &[(Base, Gathering)],
    capture: &[u8],
) -> Result<Captured, Failure> {
    let [(_, gathering)] = gathered else {
        return Ok(Captured {
            verdict: MANY,
            fault: None,
        });
    };
    let capture = Capture::read(capture)?;
    let summary = gathering.evidence.summary();
    // a host is one family to a capture: that of the base which decides, or the only one
    let base = summary.primary_base().map(|base| base.base.ip());
    let mut hosts = capture.hosts.iter();
    let host = hosts.find(|host| base.is_none_or(|base| host.host == base));
    let host = host.ok_or("the capture does not hold the host")?;
    let observed = host.evidence.summary();
    let verdict = observed.nat_type().as_legacy();
    let answers = |evidence: &Evidence| -> BTreeSet<String> {
        let of_host = evidence.observations().filter(|o| o.base.ip() == host.host);
        let facts = of_host.map(|o| format!("{} {:?} {}", o.base, o.server, o.mapped));
        facts.collect()
    };
    let (ours, theirs) = (answers(&gathering.evidence), answers(&host.evidence));
    let has_later = theirs.len() > ours.len();
    let fault = if !ours.is_subset(&theirs) {
        let lacks = ours.difference(&theirs).count();
        Some(format!(
            "the capture lacks {lacks} answers of the gathering"
        ))
    } else {
        match compare(case, &observed) {
            Finding::Right => None,
            Finding::Wrong(wrong) => Some(format!("by the capture, {}", wrong.join(", "))),
            // without a packet that came in, a capture may be one of a single direction
            Finding::Undecided if summary.nat_type() == NatType::UdpBlocked => None,
            // the gathering ended early, and the capture holds a later answer that contradicts the others
            Finding::Undecided if has_later && observed.rule() == Rule::Contradictory => None,
            Finding::Starved if case.may_contradict => None,
            Finding::Undecided | Finding::Starved => Some("undecided by the capture".into()),
        }
    };
    Ok(Captured { verdict, fault })
}
