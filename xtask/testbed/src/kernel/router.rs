//! The nftables rules of a router, and its filtering by construction.

use nat_summary::Filtering;

/// The behaviour of a router. Its inner interface is `lan`, its outer ones are `wan` and perhaps
/// `wan2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// Routes, and nothing else.
    Route,
    /// Routes, and lets in only replies to packets that went out.
    Firewall,
    /// The kernel's `masquerade`, with these flags or ports behind it. Without `random` it looks
    /// for an earlier mapping of the same source and takes it again, whatever the destination:
    /// independent, as long as that one is free.
    Masquerade(&'static str),
    /// The same for IPv4, while IPv6 is only routed.
    Masquerade4(&'static str),
    /// One external address for one client, in both directions.
    FullCone,
    /// The same, inward only from addresses that the client sent to.
    AddressRestricted,
    /// `snat` to four external addresses, with these flags behind it.
    Pool(&'static str),
    /// An external address for each server address, of the same four.
    PoolByDestination,
    /// One IPv6 prefix for the other, in both directions (in the manner of RFC 6296, yet with the
    /// kernel's state).
    Prefix,
    /// UDP vanishes.
    Drop,
    /// UDP is refused by ICMP.
    Reject,
    /// `masquerade`, and nothing comes in but from the servers.
    Deaf,
}

impl Router {
    /// The rules for the other end of a world: its router and host stand elsewhere.
    pub fn rules_at(self, external: &str, inner: &str) -> String {
        self.rules(false)
            .replace("198.51.100.7", external)
            .replace("192.168.0.2", inner)
    }

    /// Whether an inner address stays inside.
    pub const fn translates(self) -> bool {
        !matches!(self, Self::Route | Self::Firewall)
    }

    /// The rules, as `nft -f` reads them. `lossy`: three of ten UDP packets vanish, in each
    /// direction.
    pub fn rules(self, lossy: bool) -> String {
        let (mut forward, mut outward, mut inward) = (Vec::new(), Vec::new(), Vec::new());
        if lossy {
            forward.push("meta l4proto udp numgen random mod 100 < 30 drop".to_owned());
        }
        match self {
            Self::Route => {}
            Self::Firewall => {
                forward.push("ct state established,related accept".into());
                forward.push("iifname \"wan*\" drop".into());
            }
            Self::Masquerade(how) => outward.push(format!("oifname \"wan*\" meta l4proto udp masquerade {how}")),
            Self::Masquerade4(how) => {
                outward.push(format!("oifname \"wan*\" meta nfproto ipv4 meta l4proto udp masquerade {how}"));
            }
            Self::FullCone => {
                outward.push("oifname \"wan*\" snat ip to 198.51.100.7".into());
                inward.push("iifname \"wan*\" meta l4proto udp dnat ip to 192.168.0.2".into());
            }
            Self::AddressRestricted => {
                forward.push("iifname \"lan\" meta nfproto ipv4 add @talked { ip daddr }".into());
                outward.push("oifname \"wan*\" snat ip to 198.51.100.7".into());
                inward.push("iifname \"wan*\" meta l4proto udp ip saddr @talked dnat ip to 192.168.0.2".into());
            }
            Self::Pool(how) => {
                outward.push(format!("oifname \"wan*\" meta l4proto udp snat ip to 198.51.100.7-198.51.100.10 {how}"));
            }
            Self::PoolByDestination => outward.push(
                "oifname \"wan*\" snat ip to ip daddr map { 203.0.113.11 : 198.51.100.7, 203.0.113.12 : 198.51.100.8, \
                 203.0.113.13 : 198.51.100.8, 203.0.113.21 : 198.51.100.9, 203.0.113.22 : 198.51.100.10 }"
                    .into(),
            ),
            Self::Prefix => {
                outward.push(
                    "oifname \"wan*\" snat ip6 prefix to ip6 saddr map { 2001:db8:18::/64 : 2001:db8:b::/64 }".into(),
                );
                inward.push(
                    "iifname \"wan*\" dnat ip6 prefix to ip6 daddr map { 2001:db8:b::/64 : 2001:db8:18::/64 }".into(),
                );
            }
            Self::Deaf => {
                forward.push("iifname \"wan*\" ip saddr != 203.0.113.0/24 drop".into());
                outward.push("oifname \"wan*\" masquerade".into());
            }
            Self::Drop => forward.push("meta l4proto udp drop".into()),
            Self::Reject => forward.push("meta l4proto udp reject with icmpx type admin-prohibited".into()),
        }
        let chain = |name: &str, hook: &str, rules: &[String]| {
            if rules.is_empty() {
                return String::new();
            }
            format!("chain {name} {{\ntype {hook};\n{}\n}}\n", rules.join("\n"))
        };
        format!(
            "table inet lab {{\nset talked {{\ntype ipv4_addr\nflags dynamic\nsize 64\n}}\n{}{}{}}}\n",
            chain("forward", "filter hook forward priority filter", &forward),
            chain("outward", "nat hook postrouting priority srcnat", &outward),
            chain("inward", "nat hook prerouting priority dstnat", &inward),
        )
    }

    /// Which packets it lets in on a mapping; unknown where there is none.
    pub const fn filtering(self) -> Filtering {
        match self {
            Self::Route | Self::FullCone | Self::Prefix => Filtering::EndpointIndependent,
            Self::AddressRestricted => Filtering::AddressDependent,
            Self::Firewall
            | Self::Masquerade(_)
            | Self::Masquerade4(_)
            | Self::Pool(_)
            | Self::PoolByDestination => Filtering::AddressAndPortDependent,
            Self::Drop | Self::Reject | Self::Deaf => Filtering::Unknown,
        }
    }
}
