//! The certificate of one connection (RFC 8827 section 6.5): self-signed, ECDSA over P-256, known
//! by its digest.
//!
//! Each session has its own, at a cost of 60 µs. DTLS 1.2 shows certificates in the clear, so an
//! observer of two handshakes could link two sessions with one certificate to one client. The fields
//! besides the key are those of Chromium.

use std::time::{Duration, SystemTime};

use dimpl::DtlsCertificate;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The SHA-256 digest of a certificate in DER.
pub(in super::super) type Digest = [u8; 32];

/// A certificate, its key and its digest.
#[derive(Clone)]
pub(in super::super) struct Identity {
    certificate: DtlsCertificate,
    digest: Digest,
}

impl Identity {
    /// A new one; none if the system has no random numbers.
    pub(in super::super) fn generate() -> Option<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).ok()?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "WebRTC");
        let now = SystemTime::now();
        parameters.not_before = (now - DAY).into();
        parameters.not_after = (now + 30 * DAY).into();
        let certificate = parameters.self_signed(&key).ok()?;
        Some(Self {
            digest: self::digest_of(certificate.der()),
            certificate: DtlsCertificate {
                certificate: certificate.der().to_vec(),
                private_key: key.serialize_der(),
            },
        })
    }

    pub(super) fn certificate(&self) -> DtlsCertificate {
        self.certificate.clone()
    }

    pub(in super::super) const fn digest(&self) -> Digest {
        self.digest
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identity")
    }
}

/// Whether a certificate is one of these, in a time that does not depend on the answer.
pub(super) fn is_one_of(certificate: &[u8], expected: &[Digest]) -> bool {
    let digest = digest_of(certificate);
    expected
        .iter()
        .fold(Choice::from(0), |is_one, one| is_one | one.ct_eq(&digest))
        .into()
}

fn digest_of(certificate: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_is_another_one() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.digest(), other.digest());
        let expected = [[0; 32], one.digest(), [1; 32]];
        assert!(is_one_of(&one.certificate().certificate, &expected));
        assert!(!is_one_of(&other.certificate().certificate, &expected));
        assert!(!is_one_of(&one.certificate().certificate, &[]));
    }
}
