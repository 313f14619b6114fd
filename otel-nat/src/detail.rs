//! How many attributes a span has.

/// How many attributes a span has: the names are long, so each level has its price in bytes, which
/// `docs/size.md` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Detail {
    /// The six `nat_*` keys of existing dashboards, and `error.type`.
    Contract,
    /// These, and the evidence of the servers behind the verdict: up to `nat_telemetry.rewritten` in
    /// `docs/attributes.md`.
    Evidence,
    /// Every attribute.
    #[default]
    All,
}

impl Detail {
    /// Every level, from few attributes to all.
    pub const ALL: &[Self] = &[Self::Contract, Self::Evidence, Self::All];

    /// Its word, for settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Evidence => "evidence",
            Self::All => "all",
        }
    }
}
