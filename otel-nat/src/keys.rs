//! The names dashboards group by. They never change.

/// Instrumentation scope, unless another is set.
pub const SCOPE: &str = "broflake";
/// Name of the span of an attempt whose channel opened.
pub const SPAN_SUCCESS: &str = "nat_success";
/// Name of the span of every other attempt.
pub const SPAN_FAILURE: &str = "nat_failure";

/// bool; left out where unknown.
pub const IS_NATTED: &str = "nat_is_natted";
/// `independent`, `address dependent`, `address-port dependent`, `unspecified`.
pub const MAPPING_BEHAVIOR: &str = "nat_mapping_behavior";
/// The same values as [`MAPPING_BEHAVIOR`].
pub const FILTERING_BEHAVIOR: &str = "nat_filtering_behavior";
/// `Open to the Internet`, `Cone NAT`, `Symmetric NAT`, `UDP blocked by firewall`, `Unknown`, and the three cone names
/// where filtering is known.
pub const NAT_TYPE: &str = "nat_type";
/// An IP address, or part of it; left out where unknown or unwanted.
pub const EXTERNAL_IP: &str = "nat_external_ip";
/// bool; left out where unknown.
pub const PORT_PRESERVATION: &str = "nat_port_preservation";

/// Stable OpenTelemetry name: what made the attempt fail, a closed set.
pub const ERROR_TYPE: &str = "error.type";
