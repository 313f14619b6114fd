//! The shape of a ClientHello: what a filter that goes by fingerprints sees of it.

/// The hash of a ClientHello's shape: its version, cipher suites, compression methods and the types of its
/// extensions with the contents of supported_groups, ec_point_formats, signature_algorithms, ALPN and
/// supported_versions, all in their order. Neither the random, the session id, the cookie, the key shares
/// nor a padding is part of it, so one program has one shape. Values that are there to be ignored (RFC
/// 8701) count as one value.
///
/// `body` is the body of the message (RFC 6347 section 4.2.1, RFC 9147 section 5.3), in one piece. `None` if it
/// is none.
///
/// ```
/// use nat_summary::stage::hello_shape;
///
/// let mut hello = vec![0xfe, 0xfd];
/// hello.extend([7; 32]);
/// hello.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
/// let shape = hello_shape(&hello);
/// hello[5] = 9;
/// assert!(shape.is_some());
/// assert_eq!(shape, hello_shape(&hello), "the random is not part of it");
/// hello[39] = 0x2c;
/// assert_ne!(shape, hello_shape(&hello), "a cipher suite is");
/// ```
#[must_use]
pub fn hello_shape(body: &[u8]) -> Option<u32> {
    of(body)
}

/// Extensions whose contents are part of the shape: supported_groups, ec_point_formats,
/// signature_algorithms, ALPN, supported_versions.
const WITH_CONTENTS: [u16; 5] = [10, 11, 13, 16, 43];

pub(super) fn of(body: &[u8]) -> Option<u32> {
    let (version, rest) = body.split_at_checked(2)?;
    let (_random, rest) = rest.split_at_checked(32)?;
    let (_session, rest) = vector(rest, 1)?;
    let (_cookie, rest) = vector(rest, 1)?;
    let (suites, rest) = vector(rest, 2)?;
    let (compressions, rest) = vector(rest, 1)?;
    let mut hash = Hash(0x811c_9dc5);
    hash.bytes(version);
    hash.words(suites);
    hash.bytes(compressions);
    let (mut extensions, behind) = if rest.is_empty() {
        (rest, rest)
    } else {
        vector(rest, 2)?
    };
    if !behind.is_empty() {
        return None;
    }
    while let Some((typ, rest)) = extensions.split_first_chunk::<2>() {
        let (contents, rest) = vector(rest, 2)?;
        hash.words(typ);
        if WITH_CONTENTS.contains(&u16::from_be_bytes(*typ)) {
            hash.list(contents);
        }
        extensions = rest;
    }
    extensions.is_empty().then_some(hash.0)
}

/// FNV-1a.
struct Hash(u32);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in [0xff].iter().chain(bytes) {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    /// Two bytes each; those of RFC 8701 as one value.
    fn words(&mut self, words: &[u8]) {
        for word in words.chunks(2) {
            match *word {
                [a, b] if a == b && a & 0x0f == 0x0a => self.bytes(&[0x0a, 0x0a]),
                _ => self.bytes(word),
            }
        }
    }

    /// The contents of an extension: words behind a length of one byte or two.
    fn list(&mut self, contents: &[u8]) {
        let head = contents.len() % 2;
        let (head, words) = contents.split_at_checked(head).unwrap_or((contents, &[]));
        self.bytes(head);
        self.words(words);
    }
}

fn vector(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(size)?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}
