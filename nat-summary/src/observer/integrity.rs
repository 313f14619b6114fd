//! Whether a message is signed by the peer: asked of the caller, who has the passwords.

use super::message::Signed;
use crate::words::words;

/// Whose password a message has to be signed with (RFC 8489 section 9.1.4, RFC 8445 section 7.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Password {
    /// Ours: a check that came in.
    Local,
    /// The peer's: an answer to a check of ours.
    Remote,
}

/// What became of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// It was made with the password.
    Verified,
    /// It was not.
    Forged,
    /// The password is not known, or not yet.
    Unavailable,
}

/// Verifies MESSAGE-INTEGRITY (RFC 8489 section 14.5), with the passwords of a session.
///
/// A crate without dependencies has no HMAC: an agent has one, and knows the passwords. Without
/// them ([`Unverified`]) an answer is matched by its transaction id and its source alone.
pub trait Integrity {
    /// Whether `signed` was made with this password. `username` is that of a check that came in.
    fn verify(
        &self,
        password: Password,
        username: Option<&[u8]>,
        signed: &Signed<'_>,
    ) -> Verification;
}

/// No passwords, as in a capture: nothing is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Unverified;

impl Integrity for Unverified {
    fn verify(&self, _: Password, _: Option<&[u8]>, _: &Signed<'_>) -> Verification {
        Verification::Unavailable
    }
}

/// How far the facts of the peer's checks can be trusted. Facts of different trust are never mixed:
/// the first verified one replaces those that were only matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Trust {
    /// There are none.
    #[default]
    Nothing,
    /// Answers fit a request by transaction id and source. Filtering is never concluded from them.
    Matched,
    /// MESSAGE-INTEGRITY was verified.
    Verified,
}

words! {
    /// Its word, as it is written down.
    Trust {
        Nothing => "nothing",
        Matched => "matched",
        Verified => "verified",
    }
}
