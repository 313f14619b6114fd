//! The cryptography of DTLS: `ring`, as dimpl asks for it.
//!
//! dimpl takes its cryptography from outside and checks it against known answers each time a
//! configuration is built, so a mistake in here shows before the first handshake. `ring` is below
//! ICE anyway. The one operation that `ring` does not offer is a single block of AES, which masks
//! the record numbers of DTLS 1.3 (RFC 9147 section 4.2.3); that is the crate `aes`.

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use dimpl::crypto::{
    Aad, ActiveKeyExchange, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite,
    HashAlgorithm, HashContext, HashProvider, HmacProvider, KeyProvider, NamedGroup, Nonce,
    SecureRandom, SignatureAlgorithm, SignatureVerifier, SigningKey, SupportedDtls12CipherSuite,
    SupportedDtls13CipherSuite, SupportedKxGroup, TmpBuf,
};
use dimpl::{CryptoError, CryptoOperation};
use ring::rand::SystemRandom;
use ring::{aead, agreement, digest, hmac, signature};

use super::der;

/// Bytes of the tag that each AEAD appends.
const TAG: usize = 16;

/// Everything that dimpl needs. No suite with RSA, CBC or CCM: dimpl has none of the first two, and
/// the third comes with pre-shared keys only.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: GROUPS,
        signature_verification: &Ring,
        key_provider: &Ring,
        secure_random: &Ring,
        hash_provider: &Ring,
        hmac_provider: &Ring,
        cipher_suites: &[
            &Suite12::AES_128_GCM,
            &Suite12::AES_256_GCM,
            &Suite12::CHACHA20_POLY1305,
        ],
        dtls13_cipher_suites: &[
            &Suite13::AES_128_GCM,
            &Suite13::AES_256_GCM,
            &Suite13::CHACHA20_POLY1305,
        ],
    }
}

const fn failed(operation: CryptoOperation) -> CryptoError {
    CryptoError::OperationFailed(operation)
}

/// The parts without state.
#[derive(Debug)]
struct Ring;

#[derive(Debug)]
struct Aead(aead::LessSafeKey);

impl Aead {
    fn boxed(
        algorithm: &'static aead::Algorithm,
        key: &[u8],
    ) -> Result<Box<dyn Cipher>, CryptoError> {
        let key = aead::UnboundKey::new(algorithm, key)
            .map_err(|_| failed(CryptoOperation::CreateCipher))?;
        Ok(Box::new(Self(aead::LessSafeKey::new(key))))
    }
}

impl Cipher for Aead {
    fn encrypt(&mut self, plaintext: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        self.0
            .seal_in_place_append_tag(nonce, aead::Aad::from(&aad[..]), plaintext)
            .map_err(|_| failed(CryptoOperation::Encrypt))
    }

    fn decrypt(
        &mut self,
        ciphertext: &mut TmpBuf<'_>,
        aad: Aad,
        nonce: Nonce,
    ) -> Result<(), CryptoError> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        let length = self
            .0
            .open_in_place(nonce, aead::Aad::from(&aad[..]), ciphertext.as_mut())
            .map_err(|_| failed(CryptoOperation::Decrypt))?
            .len();
        ciphertext.truncate(length);
        Ok(())
    }
}

/// A suite of DTLS 1.2: ECDHE and ECDSA with this AEAD.
#[derive(Debug)]
struct Suite12 {
    suite: Dtls12CipherSuite,
    hash: HashAlgorithm,
    aead: &'static aead::Algorithm,
    /// Bytes of the nonce that come from the keys, and those that each record carries (RFC 5288
    /// section 3, RFC 7905 section 2).
    nonce: (usize, usize),
}

impl Suite12 {
    const AES_128_GCM: Self = Self {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256,
        hash: HashAlgorithm::SHA256,
        aead: &aead::AES_128_GCM,
        nonce: (4, 8),
    };
    const AES_256_GCM: Self = Self {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384,
        hash: HashAlgorithm::SHA384,
        aead: &aead::AES_256_GCM,
        nonce: (4, 8),
    };
    const CHACHA20_POLY1305: Self = Self {
        suite: Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256,
        hash: HashAlgorithm::SHA256,
        aead: &aead::CHACHA20_POLY1305,
        nonce: (12, 0),
    };
}

impl SupportedDtls12CipherSuite for Suite12 {
    fn suite(&self) -> Dtls12CipherSuite {
        self.suite
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        (0, self.aead.key_len(), self.nonce.0)
    }

    fn explicit_nonce_len(&self) -> usize {
        self.nonce.1
    }

    fn tag_len(&self) -> usize {
        TAG
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Aead::boxed(self.aead, key)
    }
}

/// A suite of DTLS 1.3.
#[derive(Debug)]
struct Suite13 {
    suite: Dtls13CipherSuite,
    hash: HashAlgorithm,
    aead: &'static aead::Algorithm,
    /// The mask of a record number, by the key and the first bytes of the ciphertext.
    mask: fn(&[u8], &[u8; 16]) -> Option<[u8; 16]>,
}

impl Suite13 {
    const AES_128_GCM: Self = Self {
        suite: Dtls13CipherSuite::AES_128_GCM_SHA256,
        hash: HashAlgorithm::SHA256,
        aead: &aead::AES_128_GCM,
        mask: aes_mask::<aes::Aes128>,
    };
    const AES_256_GCM: Self = Self {
        suite: Dtls13CipherSuite::AES_256_GCM_SHA384,
        hash: HashAlgorithm::SHA384,
        aead: &aead::AES_256_GCM,
        mask: aes_mask::<aes::Aes256>,
    };
    const CHACHA20_POLY1305: Self = Self {
        suite: Dtls13CipherSuite::CHACHA20_POLY1305_SHA256,
        hash: HashAlgorithm::SHA256,
        aead: &aead::CHACHA20_POLY1305,
        mask: chacha_mask,
    };
}

fn aes_mask<A: BlockEncrypt + KeyInit>(key: &[u8], sample: &[u8; 16]) -> Option<[u8; 16]> {
    let mut block = GenericArray::clone_from_slice(sample);
    A::new_from_slice(key)
        .ok()?
        .encrypt_block_b2b(GenericArray::from_slice(sample), &mut block);
    block.as_slice().try_into().ok()
}

/// The construction is QUIC's (RFC 9001 section 5.4.4), of which a record number needs two bytes.
fn chacha_mask(key: &[u8], sample: &[u8; 16]) -> Option<[u8; 16]> {
    let key = aead::quic::HeaderProtectionKey::new(&aead::quic::CHACHA20, key).ok()?;
    let mut mask = [0; 16];
    let bytes = key.new_mask(sample).ok()?;
    mask[..bytes.len()].copy_from_slice(&bytes);
    Some(mask)
}

impl SupportedDtls13CipherSuite for Suite13 {
    fn suite(&self) -> Dtls13CipherSuite {
        self.suite
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    fn key_len(&self) -> usize {
        self.aead.key_len()
    }

    fn iv_len(&self) -> usize {
        self.aead.nonce_len()
    }

    fn tag_len(&self) -> usize {
        TAG
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Aead::boxed(self.aead, key)
    }

    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        // only a key of another length has no mask, and dimpl derives it by `key_len`
        (self.mask)(key, sample).unwrap_or_default()
    }
}

/// A group for the exchange of keys.
#[derive(Debug)]
struct Group {
    name: NamedGroup,
    algorithm: &'static agreement::Algorithm,
}

static X25519: Group = Group {
    name: NamedGroup::X25519,
    algorithm: &agreement::X25519,
};
static P256: Group = Group {
    name: NamedGroup::Secp256r1,
    algorithm: &agreement::ECDH_P256,
};
static P384: Group = Group {
    name: NamedGroup::Secp384r1,
    algorithm: &agreement::ECDH_P384,
};

static GROUPS: &[&dyn SupportedKxGroup] = &[&X25519, &P256, &P384];

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        self.name
    }

    fn start_exchange(&self, mut buffer: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let failed = |_| failed(CryptoOperation::GenerateEphemeralKey);
        let private =
            agreement::EphemeralPrivateKey::generate(self.algorithm, &SystemRandom::new())
                .map_err(failed)?;
        let public = private.compute_public_key().map_err(failed)?;
        buffer.clear();
        buffer.extend_from_slice(public.as_ref());
        Ok(Box::new(Exchange {
            name: self.name,
            private,
            public: buffer,
        }))
    }
}

#[derive(Debug)]
struct Exchange {
    name: NamedGroup,
    private: agreement::EphemeralPrivateKey,
    public: Buf,
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        let peer = agreement::UnparsedPublicKey::new(self.private.algorithm(), peer);
        // refuses points off the curve, and those of small order
        agreement::agree_ephemeral(self.private, &peer, |secret| {
            out.clear();
            out.extend_from_slice(secret);
        })
        .map_err(|_| CryptoError::InvalidPublicKey(self.name))
    }

    fn group(&self) -> NamedGroup {
        self.name
    }
}

#[derive(Debug)]
struct Signer(signature::EcdsaKeyPair);

impl SigningKey for Signer {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        if hash != HashAlgorithm::SHA256 {
            return Err(CryptoError::SigningKeyHashMismatch {
                key_hash: HashAlgorithm::SHA256,
                requested: hash,
            });
        }
        let signature = self
            .0
            .sign(&SystemRandom::new(), data)
            .map_err(|_| failed(CryptoOperation::Sign))?;
        out.clear();
        out.extend_from_slice(signature.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

impl KeyProvider for Ring {
    /// Keys of ours only: ECDSA over P-256, as PKCS #8.
    fn load_private_key(&self, key: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        signature::EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            key,
            &SystemRandom::new(),
        )
        .map(|key| Box::new(Signer(key)) as _)
        .map_err(|_| CryptoError::InvalidPrivateKey)
    }
}

impl SignatureVerifier for Ring {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signed: &[u8],
        hash: HashAlgorithm,
        algorithm: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        if algorithm != SignatureAlgorithm::ECDSA {
            return Err(CryptoError::UnsupportedSignatureAlgorithm(algorithm));
        }
        let key = der::public_key(certificate).ok_or(CryptoError::CertificateParseFailed)?;
        let (group, verification): (_, &dyn signature::VerificationAlgorithm) =
            match (key.curve, hash) {
                (der::Curve::P256, HashAlgorithm::SHA256) => {
                    (NamedGroup::Secp256r1, &signature::ECDSA_P256_SHA256_ASN1)
                }
                (der::Curve::P256, HashAlgorithm::SHA384) => {
                    (NamedGroup::Secp256r1, &signature::ECDSA_P256_SHA384_ASN1)
                }
                (der::Curve::P384, HashAlgorithm::SHA256) => {
                    (NamedGroup::Secp384r1, &signature::ECDSA_P384_SHA256_ASN1)
                }
                (der::Curve::P384, HashAlgorithm::SHA384) => {
                    (NamedGroup::Secp384r1, &signature::ECDSA_P384_SHA384_ASN1)
                }
                _ => {
                    return Err(CryptoError::UnsupportedSignaturePair {
                        signature: algorithm,
                        hash,
                    });
                }
            };
        signature::UnparsedPublicKey::new(verification, key.point)
            .verify(data, signed)
            .map_err(|_| CryptoError::SignatureVerificationFailed {
                signature: algorithm,
                hash,
                group,
            })
    }
}

impl SecureRandom for Ring {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        ring::rand::SecureRandom::fill(&SystemRandom::new(), buffer)
            .map_err(|_| failed(CryptoOperation::FillRandom))
    }
}

impl HashProvider for Ring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        // the suites above name these two
        Box::new(Hash(digest::Context::new(
            if algorithm == HashAlgorithm::SHA384 {
                &digest::SHA384
            } else {
                &digest::SHA256
            },
        )))
    }
}

struct Hash(digest::Context);

impl core::fmt::Debug for Hash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hash")
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        out.clear();
        out.extend_from_slice(self.0.clone().finish().as_ref());
    }
}

impl HmacProvider for Ring {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let algorithm = match hash {
            HashAlgorithm::SHA256 => hmac::HMAC_SHA256,
            HashAlgorithm::SHA384 => hmac::HMAC_SHA384,
            _ => return Err(CryptoError::UnsupportedHmacHash(hash)),
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), data);
        let tag = tag.as_ref();
        out.get_mut(..tag.len())
            .ok_or(CryptoError::HkdfOutputTooLong)?
            .copy_from_slice(tag);
        Ok(tag.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimpl_finds_the_provider_right_by_its_known_answers() {
        provider().validate().unwrap();
    }

    #[test]
    fn a_forged_record_does_not_open() {
        let mut cipher = Suite12::AES_128_GCM.create_cipher(&[1; 16]).unwrap();
        let aad = || Aad(Default::default());
        let mut sealed = Buf::new();
        sealed.extend_from_slice(b"plain");
        cipher.encrypt(&mut sealed, aad(), Nonce([7; 12])).unwrap();
        for byte in 0..sealed.len() {
            let mut forged = sealed.to_vec();
            forged[byte] ^= 1;
            let mut forged = TmpBuf::new(&mut forged);
            assert!(cipher.decrypt(&mut forged, aad(), Nonce([7; 12])).is_err());
        }
        let mut whole = sealed.to_vec();
        let mut whole = TmpBuf::new(&mut whole);
        cipher.decrypt(&mut whole, aad(), Nonce([7; 12])).unwrap();
        assert_eq!(whole.as_ref(), b"plain");
    }
}
