//! Whether a message is signed by the peer: asked of the caller, who has the passwords.

use super::message::Signed;
use crate::words::words;

/// Whose password a message has to be signed with (RFC 8489 section 9.1.4, RFC 8445 section 7.2.2).
/// [`Integrity`] shows how it is used.
///
/// ```
/// assert_ne!(nat_summary::observer::Password::Local, nat_summary::observer::Password::Remote);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Password {
    /// Ours: a check that came in.
    Local,
    /// The peer's: an answer to a check of ours.
    Remote,
}

/// The result of checking a signature. [`Integrity`] shows how it is used.
///
/// ```
/// use nat_summary::observer::Verification;
/// assert_ne!(Verification::Unknown, Verification::Forged, "an unknown password refutes nothing");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// It was made with the password.
    Verified,
    /// It was not.
    Forged,
    /// The password is not known, or not yet.
    Unknown,
}

/// Verifies MESSAGE-INTEGRITY (RFC 8489 section 14.5), with the passwords of a session.
///
/// A crate without dependencies has no HMAC: an agent has one, and knows the passwords. Without
/// them ([`Unverified`]) an answer is matched by its transaction id and its source alone.
///
/// ```
/// use nat_summary::observer::{Integrity, Observer, Password, Signed, Verification};
///
/// struct Session {
///     ours: Vec<u8>,
///     theirs: Option<Vec<u8>>,
///     hmac_sha1: fn(&[u8], [&[u8]; 2]) -> [u8; 20],
/// }
///
/// impl Integrity for Session {
///     fn verify(&self, password: Password, _: Option<&[u8]>, signed: &Signed<'_>) -> Verification {
///         let password = match password {
///             Password::Local => Some(&self.ours),
///             Password::Remote => self.theirs.as_ref(),
///         };
///         match password.map(|password| (self.hmac_sha1)(password, signed.parts())) {
///             None => Verification::Unknown,
///             // in constant time, where others can measure it
///             Some(code) if code == *signed.code() => Verification::Verified,
///             Some(_) => Verification::Forged,
///         }
///     }
/// }
///
/// # let hmac_sha1: fn(&[u8], [&[u8]; 2]) -> [u8; 20] = |_, _| [0; 20];
/// let session = Session { ours: b"our password".to_vec(), theirs: None, hmac_sha1 };
/// let mut observer = Observer::with_integrity(session);
/// // once the peer's description is there
/// observer.integrity_mut().theirs = Some(b"their password".to_vec());
/// ```
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
///
/// ```
/// use nat_summary::observer::{Observer, Unverified};
/// let observer: Observer<Unverified> = Observer::new();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Unverified;

impl Integrity for Unverified {
    fn verify(&self, _: Password, _: Option<&[u8]>, _: &Signed<'_>) -> Verification {
        Verification::Unknown
    }
}

/// How far the facts of the peer's checks can be trusted. Facts of different trust are never mixed:
/// the first verified one replaces those that were only matched.
///
/// ```
/// use nat_summary::observer::{Observer, Trust};
/// assert_eq!(Observer::new().trust(), Trust::Unobserved);
/// assert!(Trust::Matched < Trust::Verified);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Trust {
    /// There are none yet.
    #[default]
    Unobserved,
    /// Answers fit a request by transaction id and source. Filtering is never concluded from them.
    Matched,
    /// MESSAGE-INTEGRITY was verified.
    Verified,
}

words! {
    /// Its word, as it is written down.
    Trust {
        Unobserved => "unobserved",
        Matched => "matched",
        Verified => "verified",
    }
}
