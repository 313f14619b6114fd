//! The certificate of one connection (RFC 8827 section 6.5): self-signed, ECDSA over P-256, known
//! by its digest.
//!
//! Each session has its own. It costs 60 µs, and two sessions with one certificate could be told to
//! be of one client by whoever sees both handshakes: TLS 1.2 shows certificates in the clear.

use dtls::crypto::Certificate;
use sha2::{Digest, Sha256};

use crate::sdp::Fingerprint;

/// A certificate, its key and its digest.
#[derive(Clone)]
pub(super) struct Identity {
    certificate: Certificate,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A new one; none if the system has no random numbers.
    pub(super) fn generate() -> Option<Self> {
        let certificate = Certificate::generate_self_signed(Vec::new()).ok()?;
        let fingerprint = fingerprint(certificate.certificate.first()?);
        Some(Self {
            certificate,
            fingerprint,
        })
    }

    pub(super) fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    pub(super) const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identity")
    }
}

/// The digest of a certificate in DER.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(der).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_is_another_one() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
