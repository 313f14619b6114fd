//! The names that go out. Dashboards group by them: they never change.

/// Instrumentation scope, unless [`Telemetry::with_scope`](crate::Telemetry::with_scope) says otherwise.
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
/// String: the mapped address, as far as [`ExternalIp`](crate::ExternalIp) lets it out. Absent: unknown or not let out.
pub const EXTERNAL_IP: &str = "nat_external_ip";
/// Boolean: whether every mapping kept the base's port. Absent: unknown.
pub const PORT_PRESERVATION: &str = "nat_port_preservation";

/// String, on failure only: the [`Reason`](crate::Reason), under OpenTelemetry's stable name for it.
pub const ERROR_TYPE: &str = "error.type";
