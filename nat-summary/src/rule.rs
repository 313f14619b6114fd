//! The rules of the judge, by name.

use crate::words::words;

/// The rule that decided, or why nothing could be decided.
///
/// ```
/// use nat_summary::{Candidate, Evidence, NatType, Rule};
///
/// let line = "candidate:2 1 udp 1 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000";
/// let summary = Evidence::from_candidates([Candidate::parse(line)?]).summary();
/// assert_eq!((summary.nat_type(), summary.rule()), (NatType::Unknown, Rule::TooFewServers));
/// assert_eq!(summary.rule().as_str(), "too_few_servers");
/// # Ok::<(), nat_summary::ParseError>(())
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
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.1", 3479, 41_001));
    /// assert_eq!(evidence.summary().rule(), Rule::PortsOfOneServerDiffer);
    /// ```
    PortsOfOneServerDiffer,
    /// Two or more server addresses saw one and the same mapping.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_000));
    /// assert_eq!(evidence.summary().rule(), Rule::ServersAgree);
    /// ```
    ServersAgree,
    /// Server addresses saw different mappings, and the ports of one agreed.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.1", 3479, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_001));
    /// assert_eq!(evidence.summary().rule(), Rule::ServersDifferPortsAgree);
    /// ```
    ServersDifferPortsAgree,
    /// Different mappings were seen, but by no two ports that are surely those of one address.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_001));
    /// assert_eq!(evidence.summary().rule(), Rule::ServersDiffer);
    /// ```
    ServersDiffer,
    /// The mapped address is the base's own, or of a wildcard base a local one.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([203, 0, 113, 7], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 50_000));
    /// assert_eq!(evidence.summary().rule(), Rule::MappedIsLocal);
    /// ```
    MappedIsLocal,
    /// Servers at two or more addresses timed out, and nothing was heard.
    ///
    /// ```
    /// use nat_summary::{Evidence, Outcome, Rule, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// evidence.add_local([192, 168, 1, 5].into());
    /// for host in ["198.51.100.1", "198.51.100.2"] {
    ///     evidence.record_outcome(ServerId::named(host, 3478), Outcome::TimedOut);
    /// }
    /// assert_eq!(evidence.summary().rule(), Rule::AskedNoneAnswered);
    /// ```
    AskedNoneAnswered,
    /// A complete candidate list has host candidates that are not global, and nothing that came over
    /// UDP, though servers were asked.
    ///
    /// ```
    /// use nat_summary::{Candidate, Evidence, Rule};
    ///
    /// let host = Candidate::parse("candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host")?;
    /// let evidence = Evidence::from_candidates([host]).with_complete_gathering(5);
    /// assert_eq!(evidence.summary().rule(), Rule::NoReflexiveCandidate);
    /// # Ok::<(), nat_summary::ParseError>(())
    /// ```
    NoReflexiveCandidate,
    /// One server address is certain, not two, or the base is hidden: unknown.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// assert_eq!(evidence.summary().rule(), Rule::TooFewServers);
    /// ```
    TooFewServers,
    /// Some observations of the base had no room, and may differ: unknown. Its word is `crowded`,
    /// because dashboards group by that word.
    ///
    /// ```
    /// # use nat_summary::{Evidence, MAX_OBSERVATIONS, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// for port in (3478..).take(MAX_OBSERVATIONS + 1) {
    ///     evidence.observe(seen("198.51.100.1", port, 41_000));
    /// }
    /// assert_eq!(evidence.summary().rule(), Rule::Truncated, "the one without room may differ");
    /// ```
    #[cfg_attr(feature = "serde", serde(rename = "crowded"))]
    Truncated,
    /// Two server addresses saw one mapping and another server saw another: no behaviour of RFC 4787
    /// does that, so a server lied, or the mapping changed in the middle: unknown. So it is where two
    /// ports of one server address agree and two ports of an address differ, and on another base whose
    /// mappings differ by the answers of servers alone that stand against two that agree.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([192, 168, 1, 5], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.3", 3478, 41_001));
    /// assert_eq!(evidence.summary().rule(), Rule::Contradictory);
    /// ```
    Contradictory,
    /// No NAT, or one mapping for every server, but seen from no further out than a network inside
    /// another NAT may be: the type is unknown.
    ///
    /// ```
    /// use nat_summary::{Evidence, Observation, Rule, ServerId};
    ///
    /// let mut evidence = Evidence::new();
    /// for host in ["100.64.0.1", "100.64.0.2"] {
    ///     evidence.observe(Observation {
    ///         base: "192.168.1.5:50000".parse()?,
    ///         server: ServerId::named(host, 3478),
    ///         mapped: "100.64.9.9:50000".parse()?,
    ///         sequence: 0,
    ///     });
    /// }
    /// assert_eq!(evidence.summary().rule(), Rule::SeenFromInside);
    /// # Ok::<(), core::net::AddrParseError>(())
    /// ```
    SeenFromInside,
    /// Server addresses saw different mappings of a wildcard base that may have sent by several
    /// ways, and so through several NATs: from several local addresses, on several links, or to IPv4
    /// both directly and by way of a translator: unknown.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([0, 0, 0, 0], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.add_local([192, 168, 1, 5].into());
    /// evidence.add_local([10, 0, 0, 5].into());
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_001));
    /// assert_eq!(evidence.summary().rule(), Rule::SeveralWays);
    /// ```
    SeveralWays,
    /// Dependent or independent, but whether a NAT is there is unknown, because not every local
    /// address is known, or because a socket on one local address was seen at another one.
    ///
    /// ```
    /// # use nat_summary::{Evidence, Observation, Rule, ServerId};
    /// # let seen = |host, port, mapped| Observation {
    /// #     base: ([0, 0, 0, 0], 50_000).into(),
    /// #     server: ServerId::named(host, port),
    /// #     mapped: ([203, 0, 113, 7], mapped).into(),
    /// #     sequence: 0,
    /// # };
    /// let mut evidence = Evidence::new();
    /// evidence.observe(seen("198.51.100.1", 3478, 41_000));
    /// evidence.observe(seen("198.51.100.2", 3478, 41_000));
    /// assert_eq!(evidence.summary().rule(), Rule::LocalsUnknown);
    /// ```
    LocalsUnknown,
    /// Nothing was observed, and nothing proves UDP blocked: unknown.
    ///
    /// ```
    /// use nat_summary::{Evidence, Rule};
    /// assert_eq!(Evidence::new().summary().rule(), Rule::NothingObserved);
    /// ```
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
        Contradictory => "contradictory",
        SeenFromInside => "seen_from_inside",
        SeveralWays => "several_ways",
        LocalsUnknown => "locals_unknown",
        NothingObserved => "nothing_observed",
    }
}
