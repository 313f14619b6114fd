//! Pure: whether a hello is one that this side can go on with.
//!
//! dimpl ends over a hello that it cannot agree to, and by that of a server decides which version it
//! goes on with. Nobody has signed a hello when it comes in. So one that leads nowhere is dropped
//! here, and noted; an honest one may follow.

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

/// A hello, as far as it matters here.
struct Hello<'a> {
    version: &'a [u8],
    /// All that the client offers, or the one that the server took.
    suites: &'a [u8],
    has_null_compression: bool,
    extensions: &'a [u8],
}

/// A client's (RFC 6347 section 4.2.1, RFC 9147 section 5.3).
pub(super) fn of_client(body: &[u8]) -> Result<(), DtlsRefusal> {
    let hello = read_client(body).ok_or(DtlsRefusal::Message)?;
    hello.is_sound()?;
    let signs = hello
        .list(SIGNATURE_ALGORITHMS, 2)
        .is_none_or(|mut signatures| signatures.any(|signature| signature == SIGNATURE));
    let agrees = hello
        .list(SUPPORTED_GROUPS, 2)
        .is_none_or(|mut groups| groups.any(|group| GROUPS.contains(&group)));
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
pub(super) fn of_server(body: &[u8]) -> Result<(), DtlsRefusal> {
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

/// A server's request to come again with a cookie (RFC 6347 section 4.2.1).
pub(super) fn of_verification(body: &[u8]) -> Result<(), DtlsRefusal> {
    let cookie = take(body, 2).and_then(|(_, rest)| vector(rest, 1));
    match cookie {
        Some((_, [])) => Ok(()),
        _ => Err(DtlsRefusal::Message),
    }
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
        let request = [0xfe, 0xff, 4, 1, 2, 3, 4];
        assert_eq!(of_verification(&request), Ok(()));
        for length in 0..request.len() {
            assert!(of_verification(&request[..length]).is_err(), "{length}");
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
