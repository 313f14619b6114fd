//! STUN messages for tests, and their signatures.

use std::net::SocketAddr;

use nat_summary::observer::{Integrity, Password, Signed, TransactionId, Verification};
use ring::hmac;

pub(super) const BINDING: u16 = 0x0001;
pub(super) const SUCCESS: u16 = 0x0101;
pub(super) const ERROR: u16 = 0x0111;
pub(super) const ALLOCATE: u16 = 0x0003;
pub(super) const ALLOCATED: u16 = 0x0103;
pub(super) const NOT_ALLOCATED: u16 = 0x0113;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

pub(super) fn id(n: u8) -> TransactionId {
    [n; 12]
}

pub(super) fn message(typ: u16, id: TransactionId, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = [&typ.to_be_bytes()[..], &[0, 0], &COOKIE, &id].concat();
    for (kind, value) in attributes {
        add(&mut bytes, *kind, value);
    }
    bytes
}

fn add(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = u16::try_from(bytes.len() - 20).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

/// Asks a server.
pub(super) fn request(n: u8) -> Vec<u8> {
    message(BINDING, id(n), &[])
}

pub(super) fn xor_mapped(mapped: SocketAddr, id: TransactionId) -> Vec<u8> {
    let mask = [&COOKIE[..], &id].concat();
    let (family, ip) = match mapped {
        SocketAddr::V4(mapped) => (1, mapped.ip().octets().to_vec()),
        SocketAddr::V6(mapped) => (2, mapped.ip().octets().to_vec()),
    };
    let port = mapped.port() ^ 0x2112;
    let ip = ip.iter().zip(mask).map(|(a, b)| a ^ b);
    [0, family]
        .into_iter()
        .chain(port.to_be_bytes())
        .chain(ip)
        .collect()
}

/// A server's answer.
pub(super) fn success(n: u8, mapped: &str) -> Vec<u8> {
    success_to(id(n), mapped.parse().unwrap())
}

pub(super) fn success_to(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    message(SUCCESS, id, &[(0x0020, &xor_mapped(mapped, id))])
}

pub(super) const OURS: &str = "our password";
pub(super) const THEIRS: &str = "their password";

/// A check that goes to a peer, or comes from one.
pub(super) fn check(n: u8, password: &str) -> Vec<u8> {
    let mut bytes = message(
        BINDING,
        id(n),
        &[(0x0006, b"ours:theirs"), (0x0024, &[0x6e, 0, 1, 0xff])],
    );
    sign(&mut bytes, password);
    bytes
}

/// The answer to a check.
pub(super) fn check_answer(n: u8, mapped: &str, password: &str) -> Vec<u8> {
    let mut bytes = success(n, mapped);
    sign(&mut bytes, password);
    bytes
}

pub(super) fn sign(bytes: &mut Vec<u8>, password: &str) {
    let end = bytes.len();
    add(bytes, 0x0008, &[0; 20]);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let code = hmac::sign(&key, &bytes[..end]);
    bytes[end + 4..].copy_from_slice(code.as_ref());
}

/// The passwords of a session, as far as they are known.
#[derive(Default)]
pub(super) struct Passwords {
    pub(super) ours: Option<String>,
    pub(super) theirs: Option<String>,
}

impl Passwords {
    pub(super) fn both() -> Self {
        Self {
            ours: Some(OURS.to_owned()),
            theirs: Some(THEIRS.to_owned()),
        }
    }
}

impl Integrity for Passwords {
    fn verify(&self, which: Password, _: Option<&[u8]>, signed: &Signed<'_>) -> Verification {
        let password = match which {
            Password::Local => &self.ours,
            Password::Remote => &self.theirs,
        };
        match password {
            None => Verification::Unknown,
            Some(password) if is_signed_with(password, signed) => Verification::Verified,
            Some(_) => Verification::Forged,
        }
    }
}

pub(super) fn is_signed_with(password: &str, signed: &Signed<'_>) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    hmac::verify(&key, &signed.parts().concat(), signed.code()).is_ok()
}
