//! The names that go out. They never change, because dashboards group by them.

/// The default name of the instrumentation scope, under which every span and metric goes out.
///
/// The word is the name of the system whose telemetry this crate continues: its dashboards group by
/// this scope, and so spans of old and new clients stand in the same group. A program without such
/// dashboards sets a name of its own with [`Telemetry::with_scope`](crate::Telemetry::with_scope).
pub const SCOPE: &str = "broflake";

/// Name of the span of an attempt that connected.
pub const SPAN_SUCCESS: &str = "nat_success";
/// Name of the span of an attempt that did not.
pub const SPAN_FAILURE: &str = "nat_failure";

/// Boolean: whether a NAT stands in front of the host. Absent: unknown.
pub const IS_NATTED: &str = "nat_is_natted";
/// String: how the NAT maps; `unspecified` where unknown.
pub const MAPPING_BEHAVIOR: &str = "nat_mapping_behavior";
/// String: how the NAT filters; `unspecified` where unknown.
pub const FILTERING_BEHAVIOR: &str = "nat_filtering_behavior";
/// String: the type of the NAT; `Unknown` where unknown.
pub const NAT_TYPE: &str = "nat_type";
/// String: the mapped address, as far as [`ExternalIp`](crate::ExternalIp) lets it out. Absent:
/// unknown or not let out.
pub const EXTERNAL_IP: &str = "nat_external_ip";
/// Boolean: whether every mapping kept the base's port. Absent: unknown.
pub const PORT_PRESERVATION: &str = "nat_port_preservation";

/// String, on failure only: the [`FailureReason`](crate::FailureReason), under OpenTelemetry's stable
/// name for it.
pub const ERROR_TYPE: &str = "error.type";

/// String: `udp`, the transport the verdict is about, under OpenTelemetry's stable name for it.
pub const NETWORK_TRANSPORT: &str = "network.transport";
/// String: family of the mapped address, under OpenTelemetry's stable name for it. Absent: no
/// mapped address.
pub const NETWORK_TYPE: &str = "network.type";

/// String: the rule that decided the type, or why none could.
pub const RULE: &str = "nat_telemetry.rule";
/// Integer: STUN servers asked. Absent: the evidence is a bare candidate list, which does not hold
/// this number.
pub const SERVERS_ASKED: &str = "nat_telemetry.servers.asked";
/// Integer: of these, how many answered with a mapped address.
pub const SERVERS_ANSWERED: &str = "nat_telemetry.servers.answered";
/// Integer: distinct server addresses behind the verdict.
pub const SERVERS_DISTINCT: &str = "nat_telemetry.servers.distinct";
/// Integer: bases with at least one observation.
pub const BASES: &str = "nat_telemetry.bases";
/// Integer: observations behind the verdict.
pub const OBSERVATIONS: &str = "nat_telemetry.observations";
/// String: how far the base's own address reaches. Absent: unknown.
pub const BASE_SCOPE: &str = "nat_telemetry.base.scope";
/// String: how far the mapped address reaches. Absent: no mapped address.
pub const EXTERNAL_SCOPE: &str = "nat_telemetry.external.scope";
/// String: whether the base's address keeps one external address. Absent: unknown.
pub const POOLING: &str = "nat_telemetry.pooling";
/// String: how the ports of a dependent mapping follow each other. Absent: unknown.
pub const PORT_ALLOCATION: &str = "nat_telemetry.port.allocation";
/// Integer: from one port to the next, where they are sequential.
pub const PORT_STEP: &str = "nat_telemetry.port.step";
/// Boolean: whether something between rewrites addresses inside packets. Absent: unknown.
pub const REWRITTEN: &str = "nat_telemetry.rewritten";
/// Double, seconds: from the first request to a server until gathering ended. Absent: the end was
/// never recorded.
pub const GATHER_DURATION: &str = "nat_telemetry.gather.duration";
/// Double, seconds: from the start of the attempt until it last stopped waiting for a peer. Absent:
/// no wait was recorded.
pub const SIGNALLING_WAIT: &str = "nat_telemetry.signalling.wait";
/// Double, seconds: from the peer's answer until the attempt ended. Absent: no answer was recorded.
pub const CONNECT_DURATION: &str = "nat_telemetry.connect.duration";
/// String: type of the local candidate of the selected pair. Absent: none selected.
pub const PAIR_LOCAL: &str = "nat_telemetry.pair.local";
/// String: type of the remote candidate of the selected pair. Absent: none selected.
pub const PAIR_REMOTE: &str = "nat_telemetry.pair.remote";
/// String: whether the NAT mapped the base toward the peer as it did toward the servers. Absent:
/// unobserved.
pub const PEER_MAPPING: &str = "nat_telemetry.peer_mapping";
/// String: how the NAT maps with the peer as one more vantage point, on the peer's word. Absent:
/// unknown.
pub const MAPPING_WITH_PEER: &str = "nat_telemetry.mapping.with_peer";
/// String: the filtering that incoming packets proved. Absent: none was proved.
pub const FILTERING_SEEN: &str = "nat_telemetry.filtering";
/// Integer: connectivity checks sent to the peer. Absent: never recorded.
pub const CHECKS_SENT: &str = "nat_telemetry.checks.sent";
/// Integer: of these, how many the peer answered.
pub const CHECKS_ANSWERED: &str = "nat_telemetry.checks.answered";
/// Integer: connectivity checks of the peer that came in.
pub const CHECKS_RECEIVED: &str = "nat_telemetry.checks.received";
/// String: the type of the peer's NAT, judged from the candidates it advertised. Absent: never
/// recorded.
pub const PEER_NAT_TYPE: &str = "nat_telemetry.peer.nat_type";
/// String: whether hole punching is expected to work between the two. Absent: never
/// recorded.
pub const OUTLOOK: &str = "nat_telemetry.outlook";
/// String: why that is expected.
pub const OUTLOOK_REASON: &str = "nat_telemetry.outlook.reason";
/// String: the last stage that the attempt reached. Absent: never recorded.
pub const STAGE: &str = "nat_telemetry.stage";
/// String: what stopped the attempt, where that is proven; `unknown` where it is not. Absent: never
/// judged, or nothing stopped it.
pub const STAGE_VERDICT: &str = "nat_telemetry.stage.verdict";
/// String: the role of this side in DTLS. Absent: unknown.
pub const DTLS_ROLE: &str = "nat_telemetry.dtls.role";
/// String: the version of DTLS that both sides agreed on. Absent: unknown.
pub const DTLS_VERSION: &str = "nat_telemetry.dtls.version";
/// String: the last handshake message of the peer. Absent: none came in.
pub const DTLS_LAST_IN: &str = "nat_telemetry.dtls.last_in";
/// String: the last handshake message of this side. Absent: none left.
pub const DTLS_LAST_OUT: &str = "nat_telemetry.dtls.last_out";
/// Integer: flights of the handshake that this side sent without an answer. Absent: no DTLS was
/// watched.
pub const DTLS_FLIGHTS: &str = "nat_telemetry.dtls.flights";
/// String: a hash of the shape of the ClientHello that passed, eight hexadecimal digits. Absent: not
/// asked for, or none passed.
pub const DTLS_HELLO_SHAPE: &str = "nat_telemetry.dtls.hello_shape";
/// String, on failure only: the cause of the failure, as far as it is proven. Absent: never judged.
pub const FAILURE_CAUSE: &str = "nat_telemetry.failure.cause";
/// Integer: how often the mapping toward the peer changed under the connection. Absent: never
/// watched.
pub const REBINDINGS: &str = "nat_telemetry.rebindings";
/// Double, seconds: the longest quiet gap the mapping outlived. Absent: never watched.
pub const MAPPING_SURVIVED: &str = "nat_telemetry.mapping.survived";

/// Histogram, seconds: how long attempts last, without [`SIGNALLING_WAIT`].
pub const ATTEMPT_DURATION: &str = "nat_telemetry.attempt.duration";
/// Histogram, seconds: the longest quiet gap that the mapping of a path outlived, a lower bound of
/// its idle lifetime.
pub const PATH_SURVIVED: &str = "nat_telemetry.path.survived";
/// Counter: how often the mapping of a path changed under it.
pub const PATH_REBINDINGS: &str = "nat_telemetry.path.rebindings";
/// Counter: attempts and paths by [`STAGE`] and [`STAGE_VERDICT`].
pub const STAGES: &str = "nat_telemetry.stages";
