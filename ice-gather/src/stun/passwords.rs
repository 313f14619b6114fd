//! The passwords of an ICE session, for an observer of its datagrams.

use nat_summary::observer::{Integrity, Password, Signed, Verification};
use ring::hmac;

use super::transaction::integrity_key;

/// Verifies the checks of one ICE session, once its passwords are known
/// (RFC 8489 section 14.5).
///
/// ```
/// use ice_gather::stun::Passwords;
/// use nat_summary::observer::Observer;
///
/// let mut observer = Observer::with_integrity(Passwords::default());
/// // `a=ice-pwd` of the own description, and later of the peer's
/// observer.integrity_mut().set_local("our password");
/// observer.integrity_mut().set_remote("their password");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Passwords {
    local: Option<hmac::Key>,
    remote: Option<hmac::Key>,
}

impl Passwords {
    /// The password of the local description: the peer signs its checks with it.
    pub fn set_local(&mut self, password: &str) {
        self.local = Some(integrity_key(password));
    }

    /// The password of the remote description: the peer signs its answers with it.
    pub fn set_remote(&mut self, password: &str) {
        self.remote = Some(integrity_key(password));
    }
}

impl Integrity for Passwords {
    fn verify(&self, password: Password, _: Option<&[u8]>, signed: &Signed<'_>) -> Verification {
        let key = match password {
            Password::Local => &self.local,
            Password::Remote => &self.remote,
        };
        let Some(key) = key else {
            return Verification::Unknown;
        };
        let mut context = hmac::Context::with_key(key);
        for part in signed.parts() {
            context.update(part);
        }
        let made = context.sign();
        let differs = made
            .as_ref()
            .iter()
            .zip(signed.code())
            .fold(made.as_ref().len() ^ signed.code().len(), |d, (a, b)| {
                d | usize::from(a ^ b)
            });
        if differs == 0 {
            Verification::Verified
        } else {
            Verification::Forged
        }
    }
}
