//! The facts of a candidate list besides its reflexive candidates.

/// Counts of a bare candidate list, besides its reflexive candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
pub(crate) struct ListFacts {
    /// UDP host candidates with a known address that is not global, but reaches beyond its own
    /// link.
    pub(crate) local_hosts: u16,
    /// UDP host candidates of the link or the host itself. Silence proves nothing about them,
    /// because no server can be asked from there.
    pub(crate) confined_hosts: u16,
    /// UDP host candidates that are global, or hidden (behind a name, or as the unspecified
    /// address) and so perhaps global: a stack drops a reflexive candidate equal to one of
    /// them.
    pub(crate) maybe_global_hosts: u16,
    /// Candidates that show, or may show, that UDP passes: those that are peer-reflexive, relayed,
    /// reflexive but unusable, of an unknown type, or not readable at all.
    pub(crate) signs_of_life: u16,
    /// Those of them that are relayed, or may be: of an unknown type, or not readable.
    pub(crate) maybe_relayed: u16,
    /// The number of servers that were asked, once gathering is complete; 0 where that is unknown.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "is_zero"))]
    pub(crate) asked: u16,
}

#[cfg(feature = "serde")]
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands in a reference"
)]
const fn is_zero(n: &u16) -> bool {
    *n == 0
}
