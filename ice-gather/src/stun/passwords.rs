//! The passwords of a session, by which the messages of a peer are verified (RFC 8489 section 9.1).

use nat_summary::observer::{Integrity, Password, Signed, Verification};
use ring::hmac;

/// The passwords of one session, as far as they are known: an observer's
/// [`Integrity`](nat_summary::observer::Integrity). Verifying takes nothing from the heap.
///
/// ```
/// use ice_gather::stun::Passwords;
/// use nat_summary::observer::Observer;
///
/// let mut observer = Observer::with_integrity(Passwords::default());
/// observer.integrity_mut().set_local("the password that our description signals");
/// // once the peer's description is there
/// observer.integrity_mut().set_remote("the password that the peer signals");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    local: Option<hmac::Key>,
    remote: Option<hmac::Key>,
}

impl Passwords {
    /// From now on checks that are signed with this password are for us (RFC 8445 section 7.3).
    pub fn set_local(&mut self, password: &str) {
        self.local = Some(key(password));
    }

    /// From now on answers that are signed with this password are the peer's: an answer is signed
    /// with the password of the side that was asked (RFC 8489 section 9.1.4).
    pub fn set_remote(&mut self, password: &str) {
        self.remote = Some(key(password));
    }

    /// The same; returns the key that it replaces.
    #[cfg(feature = "agent")]
    pub(crate) fn replace_remote(&mut self, password: &str) -> Option<hmac::Key> {
        self.remote.replace(key(password))
    }

    /// The key that was replaced is the peer's again.
    #[cfg(feature = "webrtc")]
    pub(crate) fn restore_remote(&mut self, before: Option<hmac::Key>) {
        self.remote = before;
    }

    const fn of(&self, password: Password) -> Option<&hmac::Key> {
        match password {
            Password::Local => self.local.as_ref(),
            Password::Remote => self.remote.as_ref(),
        }
    }

    /// Whether a password is known.
    #[cfg(feature = "agent")]
    pub(crate) const fn knows(&self, password: Password) -> bool {
        self.of(password).is_some()
    }
}

impl Integrity for Passwords {
    fn verify(&self, password: Password, _: Option<&[u8]>, signed: &Signed<'_>) -> Verification {
        let Some(key) = self.of(password) else {
            return Verification::Unknown;
        };
        let mut context = hmac::Context::with_key(key);
        signed
            .parts()
            .into_iter()
            .for_each(|part| context.update(part));
        let made = context.sign();
        // in constant time
        let bytes = signed.code().iter().zip(made.as_ref());
        if bytes.fold(0, |differs, (a, b)| differs | (a ^ b)) == 0 {
            Verification::Verified
        } else {
            Verification::Forged
        }
    }
}

/// The key of a short-term password (RFC 8489 section 9.1.1).
fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}
