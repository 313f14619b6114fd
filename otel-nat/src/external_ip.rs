//! The policy for the mapped address, on every target.

/// How much of the mapped address goes out as `nat_external_ip`.
///
/// An address belongs to a person. No other attribute holds an address, under any policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExternalIp {
    /// The whole address, as dashboards expect it.
    #[default]
    Full,
    /// The network only: `203.0.113.0/24`, `2001:db8:5::/48`. A 6to4 address carries an IPv4 address
    /// within its first 48 bits, so only the /24 of that address goes out: `2002:cb00:7100::/40`.
    Prefix,
    /// No address: the key is left out.
    Omit,
}

impl ExternalIp {
    /// Every policy.
    pub const ALL: &'static [Self] = &[Self::Full, Self::Prefix, Self::Omit];

    /// The word for it in settings: `full`, `prefix` or `omit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Prefix => "prefix",
            Self::Omit => "omit",
        }
    }
}
