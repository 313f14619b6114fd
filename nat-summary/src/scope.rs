//! Address classes: how far an IP address reaches.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::words::words;

/// How far an address reaches (IANA special-purpose registries, RFC 6890). The order is from the
/// outside in; reserved ones come last.
///
/// ```
/// use nat_summary::Scope;
/// assert_eq!(Scope::of("fd00::5".parse()?), Scope::UniqueLocal);
/// assert_eq!(Scope::of("64:ff9b::c633:6401".parse()?), Scope::Nat64);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Scope {
    /// Reachable from anywhere. Addresses reserved for documentation (RFC 5737, RFC 3849) count as
    /// global, so that examples and labs behave like the field.
    Global,
    /// Shared address space of carrier-grade NAT, 100.64.0.0/10 (RFC 6598).
    CarrierGrade,
    /// IPv4 private use (RFC 1918).
    Private,
    /// IPv6 unique local, fc00::/7 (RFC 4193).
    UniqueLocal,
    /// An IPv4 address inside IPv6 made by a translator: 64:ff9b::/96 (RFC 6052), 64:ff9b:1::/48
    /// (RFC 8215).
    Nat64,
    /// The host's own end of a translator that carries IPv4 over an IPv6 network (464XLAT, RFC
    /// 6877), as a phone has it: 192.0.0.0/29 (RFC 7335).
    Clat,
    /// Valid on one link: 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291).
    LinkLocal,
    /// The host itself: 127.0.0.0/8, ::1.
    Loopback,
    /// Anything that is no unicast address a host can be reached at, or reserved for other use.
    Reserved,
}

words! {
    /// Its word: the value of `nat_telemetry.base.scope` and `nat_telemetry.external.scope`.
    Scope {
        Global => "global",
        CarrierGrade => "carrier_grade",
        Private => "private",
        UniqueLocal => "unique_local",
        Nat64 => "nat64",
        Clat => "clat",
        LinkLocal => "link_local",
        Loopback => "loopback",
        Reserved => "reserved",
    }
}

impl Scope {
    /// The scope of `ip`. An IPv4-mapped IPv6 address has the scope of the IPv4 address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    #[inline]
    pub(crate) const fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Self::Private,
            [100, 64..=127, ..] => Self::CarrierGrade,
            [169, 254, ..] => Self::LinkLocal,
            [192, 0, 0, 0..=7] => Self::Clat,
            // "this network", IETF protocol assignments, benchmarking, multicast, reserved,
            // broadcast
            [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [224..=255, ..] => Self::Reserved,
            _ => Self::Global,
        }
    }

    pub(crate) const fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..] => Self::Nat64,
            [0xfc00..=0xfdff, ..] => Self::UniqueLocal,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0x2000..=0x3fff, ..] => Self::Global,
            _ => Self::Reserved,
        }
    }

    /// Whether an address of this scope reaches no further than its own link, so that no distant
    /// server can be asked from it.
    #[must_use]
    pub(crate) const fn is_confined(self) -> bool {
        matches!(self, Self::LinkLocal | Self::Loopback)
    }

    /// Whether an address of this scope is reachable from anywhere.
    #[must_use]
    pub const fn is_global(self) -> bool {
        matches!(self, Self::Global)
    }
}

/// The IPv4 address inside one of 64:ff9b::/96, which a translator made of it (RFC 6052 section 2.1);
/// else the address itself.
pub(crate) fn untranslated(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => ip,
        },
        IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn each_class_begins_and_ends_where_its_registry_says() {
        for (ip, scope) in [
            ("0.0.0.0", Scope::Reserved),
            ("9.255.255.255", Scope::Global),
            ("10.0.0.0", Scope::Private),
            ("11.0.0.0", Scope::Global),
            ("100.63.255.255", Scope::Global),
            ("100.64.0.0", Scope::CarrierGrade),
            ("100.127.255.255", Scope::CarrierGrade),
            ("100.128.0.0", Scope::Global),
            ("127.0.0.1", Scope::Loopback),
            ("169.254.9.9", Scope::LinkLocal),
            ("172.15.255.255", Scope::Global),
            ("172.16.0.0", Scope::Private),
            ("172.31.255.255", Scope::Private),
            ("172.32.0.0", Scope::Global),
            ("192.0.0.0", Scope::Clat),
            ("192.0.0.7", Scope::Clat),
            ("192.0.0.8", Scope::Reserved),
            ("192.0.2.1", Scope::Global),
            ("192.168.255.255", Scope::Private),
            ("198.18.0.4", Scope::Reserved),
            ("198.51.100.1", Scope::Global),
            ("224.0.0.1", Scope::Reserved),
            ("255.255.255.255", Scope::Reserved),
            ("::", Scope::Reserved),
            ("::1", Scope::Loopback),
            ("::ffff:10.0.0.1", Scope::Private),
            ("64:ff9b::c000:201", Scope::Nat64),
            ("64:ff9b:1:2::9", Scope::Nat64),
            ("2001:db8::5", Scope::Global),
            ("2a00::1", Scope::Global),
            ("fc00::1", Scope::UniqueLocal),
            ("fdff::1", Scope::UniqueLocal),
            ("fe80::1", Scope::LinkLocal),
            ("ff02::1", Scope::Reserved),
        ] {
            assert_eq!(Scope::of(ip.parse().unwrap()), scope, "{ip}");
        }
    }
}
