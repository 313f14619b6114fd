//! The rules of the judge, by name.

use crate::words::words;

/// The rule that decided, or why nothing could be decided.
///
/// ```
/// use nat_summary::{Evidence, Rule};
/// assert_eq!(Evidence::new().summary().rule(), Rule::NothingObserved);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Rule {
    /// Two ports of one server address saw different mappings.
    PortsOfOneServerDiffer,
    /// Two or more server addresses saw one and the same mapping.
    ServersAgree,
    /// Server addresses saw different mappings, and the ports of one agreed.
    ServersDifferPortsAgree,
    /// Different mappings were seen, but by no two ports that are surely those of one address.
    ServersDiffer,
    /// The mapped address is a local one.
    MappedIsLocal,
    /// Servers were asked, none was heard of, and at least one timed out.
    AskedNoneAnswered,
    /// A candidate list has host candidates that are not global, and nothing that came over UDP.
    NoReflexiveCandidate,
    /// Only one server address was observed, or the base is hidden: unknown.
    TooFewServers,
    /// Some observations of the base had no room, and those that had do not differ: unknown. Its word
    /// is `crowded`, because dashboards group by that word.
    #[cfg_attr(feature = "serde", serde(rename = "crowded"))]
    Truncated,
    /// Server addresses saw different mappings of a wildcard base that may have sent by several
    /// ways, and so through several NATs: unknown.
    SeveralWays,
    /// Dependent or independent, but whether a NAT is there is unknown, for not every local address
    /// is.
    LocalsUnknown,
    /// Nothing was observed, and nothing proves UDP blocked: unknown.
    NothingObserved,
}

words! {
    /// Its word: the value of `nat_telemetry.rule`.
    Rule {
        PortsOfOneServerDiffer => "ports_of_one_server_differ",
        ServersAgree => "servers_agree",
        ServersDifferPortsAgree => "servers_differ_ports_agree",
        ServersDiffer => "servers_differ",
        MappedIsLocal => "mapped_is_local",
        AskedNoneAnswered => "asked_none_answered",
        NoReflexiveCandidate => "no_reflexive_candidate",
        TooFewServers => "too_few_servers",
        Truncated => "crowded",
        SeveralWays => "several_ways",
        LocalsUnknown => "locals_unknown",
        NothingObserved => "nothing_observed",
    }
}
