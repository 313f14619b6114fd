//! Pure: whether a message in the clear is one that this side can go on with.
//!
//! dimpl ends over a hello that it cannot agree to and over a certificate that is none, and by the
//! hello of a server decides which version it goes on with. None of them is signed as it comes in. A
//! message that leads nowhere is dropped here, and noted; an honest one may follow.

use super::der;
use super::view::DtlsRefusal;

/// Suites of DTLS 1.2 and 1.3 that `crypto` has, and its groups.
const SUITES_12: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];
const SUITES_13: [u16; 3] = [0x1301, 0x1302, 0x1303];
const GROUPS: [u16; 3] = [29, 23, 24];
/// ECDSA over P-256 with SHA-256, which is how this side signs.
const SIGNATURE: u16 = 0x0403;

/// Versions of DTLS on the wire.
const DTLS_12: [u8; 2] = [0xfe, 0xfd];
const DTLS_13: u16 = 0xfefc;

/// Extensions (IANA's TLS ExtensionType Values).
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENDED_MASTER_SECRET: u16 = 23;
const SUPPORTED_VERSIONS: u16 = 43;

/// Messages of a handshake (RFC 6347 section 4.3.2).
pub(super) mod kind {
    pub(in super::super) const CLIENT_HELLO: u8 = 1;
    pub(in super::super) const SERVER_HELLO: u8 = 2;
    pub(in super::super) const HELLO_VERIFY_REQUEST: u8 = 3;
    pub(in super::super) const CERTIFICATE: u8 = 11;
    pub(in super::super) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(in super::super) const CERTIFICATE_REQUEST: u8 = 13;
    pub(in super::super) const SERVER_HELLO_DONE: u8 = 14;
    pub(in super::super) const CERTIFICATE_VERIFY: u8 = 15;
    pub(in super::super) const CLIENT_KEY_EXCHANGE: u8 = 16;
}

/// Whether a message of this kind may come from the peer in the clear after that of another, the
/// last one (RFC 6347 section 4.2.4). In DTLS 1.3 nothing but hellos does.
pub(super) fn follows(last: Option<u8>, kind: u8, is_client: bool) -> bool {
    use kind::*;
    match (last, is_client) {
        (None, true) => matches!(kind, SERVER_HELLO | HELLO_VERIFY_REQUEST),
        (Some(HELLO_VERIFY_REQUEST), true) => kind == SERVER_HELLO,
        // one that asks for another hello is followed by a second (RFC 9147 section 5.1)
        (Some(SERVER_HELLO), true) => matches!(kind, SERVER_HELLO | CERTIFICATE),
        (Some(CERTIFICATE), true) => kind == SERVER_KEY_EXCHANGE,
        (Some(SERVER_KEY_EXCHANGE), true) => {
            matches!(kind, CERTIFICATE_REQUEST | SERVER_HELLO_DONE)
        }
        (Some(CERTIFICATE_REQUEST), true) => kind == SERVER_HELLO_DONE,
        (None, false) => kind == CLIENT_HELLO,
        (Some(CLIENT_HELLO), false) => matches!(kind, CLIENT_HELLO | CERTIFICATE),
        (Some(CERTIFICATE), false) => kind == CLIENT_KEY_EXCHANGE,
        (Some(CLIENT_KEY_EXCHANGE), false) => kind == CERTIFICATE_VERIFY,
        _ => false,
    }
}

/// Whether a whole message leads anywhere.
pub(super) fn check(kind: u8, body: &[u8]) -> Result<(), DtlsRefusal> {
    let is_sound = match kind {
        kind::CLIENT_HELLO => return of_client(body),
        kind::SERVER_HELLO => return of_server(body),
        kind::CERTIFICATE => return of_certificate(body),
        // version, cookie (RFC 6347 section 4.2.1)
        kind::HELLO_VERIFY_REQUEST => take(body, 2)
            .and_then(|(_, rest)| vector(rest, 1))
            .and_then(alone)
            .is_some(),
        // a named curve, the key, and the signature over both (RFC 8422 section 5.4)
        kind::SERVER_KEY_EXCHANGE => take(body, 3)
            .filter(|(curve, _)| curve[0] == 3 && words(&curve[1..]).all(is_group))
            .and_then(|(_, rest)| vector(rest, 1))
            .is_some_and(|(key, rest)| is_key(key) && is_signature(rest)),
        // kinds of certificates, of signatures, names (RFC 5246 section 7.4.4)
        kind::CERTIFICATE_REQUEST => vector(body, 1)
            .and_then(|(_, rest)| vector(rest, 2))
            .and_then(|(_, rest)| vector(rest, 2))
            .and_then(alone)
            .is_some(),
        kind::SERVER_HELLO_DONE => body.is_empty(),
        kind::CLIENT_KEY_EXCHANGE => vector(body, 1).and_then(alone).is_some_and(is_key),
        kind::CERTIFICATE_VERIFY => is_signature(body),
        _ => false,
    };
    is_sound.then_some(()).ok_or(DtlsRefusal::Message)
}

fn is_group(group: u16) -> bool {
    GROUPS.contains(&group)
}

/// A key of one of the groups: X25519, P-256, P-384.
const fn is_key(key: &[u8]) -> bool {
    matches!(key.len(), 32 | 65 | 97)
}

/// An algorithm and a signature (RFC 5246 section 4.7).
fn is_signature(bytes: &[u8]) -> bool {
    take(bytes, 2)
        .and_then(|(_, rest)| vector(rest, 2))
        .and_then(alone)
        .is_some()
}

/// A hello, as far as it matters here.
struct Hello<'a> {
    version: &'a [u8],
    /// All that the client offers, or the one that the server took.
    suites: &'a [u8],
    has_null_compression: bool,
    extensions: &'a [u8],
}

/// A client's (RFC 6347 section 4.2.1, RFC 9147 section 5.3).
fn of_client(body: &[u8]) -> Result<(), DtlsRefusal> {
    let hello = read_client(body).ok_or(DtlsRefusal::Message)?;
    hello.is_sound()?;
    let signs = hello
        .list(SIGNATURE_ALGORITHMS, 2)
        .is_none_or(|mut signatures| signatures.any(|signature| signature == SIGNATURE));
    let agrees = hello
        .list(SUPPORTED_GROUPS, 2)
        .is_none_or(|mut groups| groups.any(is_group));
    let is_13 = hello
        .list(SUPPORTED_VERSIONS, 1)
        .is_some_and(|mut versions| versions.any(|version| version == DTLS_13));
    let suites = if is_13 { SUITES_13 } else { SUITES_12 };
    let has_suite = words(hello.suites).any(|suite| suites.contains(&suite));
    if !(has_suite && signs && agrees) {
        return Err(DtlsRefusal::Suites);
    }
    if !is_13 && hello.extension(EXTENDED_MASTER_SECRET).is_none() {
        return Err(DtlsRefusal::MasterSecret);
    }
    Ok(())
}

/// A server's (RFC 5246 section 7.4.1.3, RFC 9147 section 5.4).
fn of_server(body: &[u8]) -> Result<(), DtlsRefusal> {
    let hello = read_server(body).ok_or(DtlsRefusal::Message)?;
    hello.is_sound()?;
    let suite = words(hello.suites).next();
    let is_12 = match hello.extension(SUPPORTED_VERSIONS) {
        None => true,
        Some(version) if words(version).eq([DTLS_13]) => false,
        Some(_) => return Err(DtlsRefusal::Version),
    };
    let suites = if is_12 { SUITES_12 } else { SUITES_13 };
    if !suite.is_some_and(|suite| suites.contains(&suite)) {
        return Err(DtlsRefusal::Suites);
    }
    if is_12 && hello.extension(EXTENDED_MASTER_SECRET).is_none() {
        return Err(DtlsRefusal::MasterSecret);
    }
    Ok(())
}

/// The certificates of either side (RFC 5246 section 7.4.2): one at least, with a key that can be
/// used.
fn of_certificate(body: &[u8]) -> Result<(), DtlsRefusal> {
    let first = vector(body, 3)
        .and_then(alone)
        .and_then(|list| vector(list, 3))
        .ok_or(DtlsRefusal::Message)?;
    let (certificate, _) = first;
    der::public_key(certificate)
        .map(drop)
        .ok_or(DtlsRefusal::Suites)
}

fn read_client(body: &[u8]) -> Option<Hello<'_>> {
    let (version, rest) = take(body, 2)?;
    let (_random, rest) = take(rest, 32)?;
    let (session, rest) = vector(rest, 1)?;
    let (_cookie, rest) = vector(rest, 1)?;
    let (suites, rest) = vector(rest, 2)?;
    let (compressions, rest) = vector(rest, 1)?;
    // DTLS 1.2 allows for none
    let extensions = if rest.is_empty() {
        rest
    } else {
        alone(vector(rest, 2)?)?
    };
    (session.len() <= 32 && suites.len().is_multiple_of(2)).then_some(Hello {
        version,
        suites,
        has_null_compression: compressions.contains(&0),
        extensions,
    })
}

fn read_server(body: &[u8]) -> Option<Hello<'_>> {
    let (version, rest) = take(body, 2)?;
    let (_random, rest) = take(rest, 32)?;
    let (session, rest) = vector(rest, 1)?;
    let (suites, rest) = take(rest, 2)?;
    let (compression, rest) = take(rest, 1)?;
    (session.len() <= 32).then_some(Hello {
        version,
        suites,
        has_null_compression: compression == [0],
        extensions: alone(vector(rest, 2)?)?,
    })
}

impl<'a> Hello<'a> {
    fn is_sound(&self) -> Result<(), DtlsRefusal> {
        let mut rest = self.extensions;
        while !rest.is_empty() {
            (_, rest) = take(rest, 2)
                .and_then(|(_, rest)| vector(rest, 2))
                .ok_or(DtlsRefusal::Message)?;
        }
        // DTLS 1.3 writes the version of 1.2 there (RFC 9147 section 5.3)
        if self.version != DTLS_12 {
            return Err(DtlsRefusal::Version);
        }
        if !self.has_null_compression {
            return Err(DtlsRefusal::Message);
        }
        Ok(())
    }

    fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.extensions;
        while let Some((name, behind)) = take(rest, 2) {
            let (value, behind) = vector(behind, 2)?;
            if name == kind.to_be_bytes() {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    /// The words of an extension that is a list, whose length has so many bytes.
    fn list(&self, kind: u16, size: usize) -> Option<impl Iterator<Item = u16> + 'a> {
        let (list, _) = vector(self.extension(kind)?, size)?;
        Some(words(list))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .chunks_exact(2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]))
}

fn take(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(length)
}

/// A vector whose length has so many bytes (RFC 5246 section 4.3), and the bytes behind.
fn vector(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = take(bytes, size)?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    take(rest, length)
}

/// A vector, if nothing is behind it.
fn alone<'a>((vector, rest): (&'a [u8], &[u8])) -> Option<&'a [u8]> {
    rest.is_empty().then_some(vector)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
    }

    fn client(version: u16, suites: &[u8], compression: u8, extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([0, 0, 0, u8::try_from(suites.len()).unwrap()]);
        body.extend(suites);
        body.extend([1, compression]);
        let extensions = extensions.concat();
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        body
    }

    fn server(suite: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([7; 32]);
        body.push(0);
        body.extend(suite.to_be_bytes());
        body.push(0);
        let extensions = extensions.concat();
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        body
    }

    fn secret() -> Vec<u8> {
        extension(EXTENDED_MASTER_SECRET, &[])
    }

    /// The hello of an honest side of DTLS 1.2, as long as this.
    pub(in super::super) fn honest(is_client: bool, length: usize) -> Vec<u8> {
        let make = |filling: usize| {
            let extensions = [secret(), extension(0xff01, &vec![0; filling])];
            if is_client {
                client(0xfefd, &[0xc0, 0x2b], 0, &extensions)
            } else {
                server(0xc02b, &extensions)
            }
        };
        make(length - make(0).len())
    }

    /// A certificate and another entry that makes the message as long as this.
    pub(in super::super) fn certificate(length: usize) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let u24 = |length: usize| u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        let list = |der: &[u8]| [&u24(der.len())[..], der].concat();
        let first = list(certificate.der());
        let second = list(&vec![0; length - first.len() - 6]);
        list(&[first, second].concat())
    }

    #[test]
    fn a_hello_passes_if_it_is_well_formed_to_the_last_byte() {
        for (is_client, check) in [
            (true, of_client as fn(&[u8]) -> Result<(), DtlsRefusal>),
            (false, of_server as fn(&[u8]) -> _),
        ] {
            let good = honest(is_client, 90);
            assert_eq!(check(&good), Ok(()));
            for length in 0..good.len() {
                assert!(check(&good[..length]).is_err(), "{length}");
            }
            let longer = [&good[..], &[0]].concat();
            assert_eq!(check(&longer), Err(DtlsRefusal::Message));
        }
    }

    #[test]
    fn every_other_message_has_its_form_to_the_last_byte() {
        let exchange = [&[3, 0, 29, 32][..], &[7; 32], &[4, 3, 0, 2, 1, 2]].concat();
        for (kind, good) in [
            (kind::HELLO_VERIFY_REQUEST, vec![0xfe, 0xff, 4, 1, 2, 3, 4]),
            (kind::SERVER_KEY_EXCHANGE, exchange.clone()),
            (kind::CERTIFICATE_REQUEST, vec![1, 64, 0, 2, 4, 3, 0, 0]),
            (kind::SERVER_HELLO_DONE, vec![]),
            (kind::CLIENT_KEY_EXCHANGE, [&[65][..], &[7; 65]].concat()),
            (kind::CERTIFICATE_VERIFY, vec![4, 3, 0, 2, 1, 2]),
        ] {
            assert_eq!(check(kind, &good), Ok(()), "{kind}");
            for length in 0..good.len() {
                assert!(check(kind, &good[..length]).is_err(), "{kind} {length}");
            }
            assert!(check(kind, &[&good[..], &[0]].concat()).is_err(), "{kind}");
        }
        for at in 0..4 {
            let mut other = exchange.clone();
            other[at] += 1;
            assert!(check(kind::SERVER_KEY_EXCHANGE, &other).is_err(), "{at}");
        }
        assert!(check(99, &[]).is_err());
    }

    #[test]
    fn a_certificate_passes_if_it_has_a_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let der = certificate.der();
        let u24 = |length: usize| u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        let list = |der: &[u8]| [&u24(der.len())[..], der].concat();
        let whole = |list: &[u8]| [&u24(list.len())[..], list].concat();
        assert_eq!(of_certificate(&whole(&list(der))), Ok(()));
        for (body, refusal) in [
            (vec![0, 0, 0], DtlsRefusal::Message),
            (whole(&list(&[])), DtlsRefusal::Suites),
            (whole(&list(&der[1..])), DtlsRefusal::Suites),
            (list(der), DtlsRefusal::Message),
            (
                [&whole(&list(der))[..], &[0]].concat(),
                DtlsRefusal::Message,
            ),
        ] {
            assert_eq!(of_certificate(&body), Err(refusal));
        }
    }

    #[test]
    fn a_client_is_refused_for_what_it_does_not_offer() {
        let rsa = [0xc0, 0x2f, 0xc0, 0x13];
        let grease = [0x0a, 0x0a, 0xc0, 0x2b];
        let versions =
            |version: [u8; 2]| extension(SUPPORTED_VERSIONS, &[&[2][..], &version].concat());
        let groups = |group: u8| extension(SUPPORTED_GROUPS, &[0, 2, 0, group]);
        let signatures =
            |rest: [u8; 2]| extension(SIGNATURE_ALGORITHMS, &[&[0, 2][..], &rest].concat());
        let all = [groups(23), signatures([4, 3]), secret()];
        for (hello, result) in [
            (client(0xfefd, &grease, 0, &all), Ok(())),
            (
                client(0xfefd, &[0x13, 1], 0, &[versions([0xfe, 0xfc])]),
                Ok(()),
            ),
            // RSA and CBC only
            (client(0xfefd, &rsa, 0, &all), Err(DtlsRefusal::Suites)),
            // 1.3 with the suites of 1.2, and the other way round
            (
                client(0xfefd, &grease, 0, &[versions([0xfe, 0xfc])]),
                Err(DtlsRefusal::Suites),
            ),
            (
                client(0xfefd, &[0x13, 1], 0, &all),
                Err(DtlsRefusal::Suites),
            ),
            (
                client(0xfefd, &grease, 0, &[groups(25), secret()]),
                Err(DtlsRefusal::Suites),
            ),
            (
                client(0xfefd, &grease, 0, &[signatures([4, 1]), secret()]),
                Err(DtlsRefusal::Suites),
            ),
            (
                client(0xfefd, &grease, 0, &[groups(29)]),
                Err(DtlsRefusal::MasterSecret),
            ),
            (client(0xfeff, &grease, 0, &all), Err(DtlsRefusal::Version)),
            (client(0xfefd, &grease, 1, &all), Err(DtlsRefusal::Message)),
        ] {
            assert_eq!(of_client(&hello), result, "{hello:?}");
        }
    }

    #[test]
    fn a_server_is_refused_for_what_it_took() {
        let version = |version: &[u8]| extension(SUPPORTED_VERSIONS, version);
        for (hello, result) in [
            (server(0xcca9, &[secret()]), Ok(())),
            (server(0x1303, &[version(&[0xfe, 0xfc])]), Ok(())),
            (server(0xc02f, &[secret()]), Err(DtlsRefusal::Suites)),
            (server(0x1301, &[secret()]), Err(DtlsRefusal::Suites)),
            (
                server(0xc02b, &[version(&[0xfe, 0xfc])]),
                Err(DtlsRefusal::Suites),
            ),
            (
                server(0x1301, &[version(&[3, 4])]),
                Err(DtlsRefusal::Version),
            ),
            (server(0xc02b, &[]), Err(DtlsRefusal::MasterSecret)),
        ] {
            assert_eq!(of_server(&hello), result, "{hello:?}");
        }
    }
}
