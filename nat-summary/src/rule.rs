//! The rules of the judge, by name.

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
    /// Some observations of the base had no room, and those that had do not differ: unknown.
    Crowded,
    /// Server addresses saw different mappings of a wildcard base that may have sent by several
    /// ways, and so through several NATs: unknown.
    SeveralWays,
    /// Dependent or independent, but whether a NAT is there is unknown, for not every local address
    /// is.
    LocalsUnknown,
    /// Nothing was observed, and nothing proves UDP blocked: unknown.
    NothingObserved,
}

impl Rule {
    /// Every rule there is.
    ///
    /// ```
    /// use nat_summary::Rule;
    /// assert!(Rule::ALL.contains(&Rule::Crowded));
    /// ```
    pub const ALL: &'static [Self] = &[
        Self::PortsOfOneServerDiffer,
        Self::ServersAgree,
        Self::ServersDifferPortsAgree,
        Self::ServersDiffer,
        Self::MappedIsLocal,
        Self::AskedNoneAnswered,
        Self::NoReflexiveCandidate,
        Self::TooFewServers,
        Self::Crowded,
        Self::SeveralWays,
        Self::LocalsUnknown,
        Self::NothingObserved,
    ];

    /// Its word: the value of `nat_telemetry.rule`.
    ///
    /// ```
    /// assert_eq!(nat_summary::Rule::ServersAgree.as_str(), "servers_agree");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PortsOfOneServerDiffer => "ports_of_one_server_differ",
            Self::ServersAgree => "servers_agree",
            Self::ServersDifferPortsAgree => "servers_differ_ports_agree",
            Self::ServersDiffer => "servers_differ",
            Self::MappedIsLocal => "mapped_is_local",
            Self::AskedNoneAnswered => "asked_none_answered",
            Self::NoReflexiveCandidate => "no_reflexive_candidate",
            Self::TooFewServers => "too_few_servers",
            Self::Crowded => "crowded",
            Self::SeveralWays => "several_ways",
            Self::LocalsUnknown => "locals_unknown",
            Self::NothingObserved => "nothing_observed",
        }
    }
}
