//! Pure: the public key of a certificate (RFC 5280 section 4.1), the one part of it that counts.
//!
//! Names, dates and issuers of a WebRTC certificate mean nothing: its digest came with the
//! signalling (RFC 8827 section 6.5).

/// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// `id-ecPublicKey`, and the two curves (RFC 5480 section 2.1.1).
const EC_PUBLIC_KEY: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const SECP256R1: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const SECP384R1: [u8; 5] = [0x2b, 0x81, 0x04, 0x00, 0x22];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// A public key of ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PublicKey<'a> {
    pub(super) curve: Curve,
    pub(super) point: &'a [u8],
}

/// The key of a certificate; none if it is no certificate, or of another algorithm.
pub(super) fn public_key(certificate: &[u8]) -> Option<PublicKey<'_>> {
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (mut rest, _) = value(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = value(rest, VERSION)?.1;
    }
    rest = value(rest, INTEGER)?.1; // serial number
    for _ in ["signature", "issuer", "validity", "subject"] {
        rest = value(rest, SEQUENCE)?.1;
    }
    let (key, _) = value(rest, SEQUENCE)?;
    let (algorithm, key) = value(key, SEQUENCE)?;
    let (kind, curve) = value(algorithm, OBJECT)?;
    if kind != EC_PUBLIC_KEY {
        return None;
    }
    let curve = match value(curve, OBJECT)?.0 {
        curve if curve == SECP256R1 => Curve::P256,
        curve if curve == SECP384R1 => Curve::P384,
        _ => return None,
    };
    // the first byte counts unused bits, and a key has none
    let (0, point) = value(key, BIT_STRING)?.0.split_first()? else {
        return None;
    };
    Some(PublicKey { curve, point })
}

/// The value with this tag, and the bytes behind.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else {
        return None;
    };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        // the length itself, or how many bytes it has
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        (certificate.der().to_vec(), key.public_key_raw().to_vec())
    }

    #[test]
    fn the_key_of_a_certificate_is_found_on_both_curves() {
        for (algorithm, curve) in [
            (&PKCS_ECDSA_P256_SHA256, Curve::P256),
            (&PKCS_ECDSA_P384_SHA384, Curve::P384),
        ] {
            let (certificate, point) = certificate(algorithm);
            let key = PublicKey {
                curve,
                point: &point,
            };
            assert_eq!(public_key(&certificate), Some(key));
        }
        assert_eq!(public_key(&certificate(&PKCS_ED25519).0), None);
    }

    #[test]
    fn no_part_of_a_certificate_is_one_and_no_damage_panics() {
        let (certificate, _) = certificate(&PKCS_ECDSA_P256_SHA256);
        for length in 0..certificate.len() {
            assert_eq!(public_key(&certificate[..length]), None);
        }
        for at in 0..certificate.len() {
            for bit in 0..8 {
                let mut damaged = certificate.clone();
                damaged[at] ^= 1 << bit;
                let _ = public_key(&damaged);
            }
        }
    }
}
