//! The words by which logs, dumps and pages mark one side's candidates.

/// One side of a connection, as seen from the program that wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Local,
    Remote,
}

/// The side that the word beginning at `at` marks: of the API (`setLocalDescription`,
/// `onIceCandidate`, `addIceCandidate`), of `getStats` (`local-candidate`), of a page or a server's
/// report (`Local SDP`, `"remote-candidates"`, `"local":`), or of a log's sentence.
pub(super) fn mark_at(text: &[u8], at: usize) -> Option<Side> {
    let rest = text.get(at..)?;
    let before = at
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .copied();
    let begins_word = !before.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_of = |words: &[&str]| words.iter().any(|word| is_word(rest, word));
    match rest.first()?.to_ascii_lowercase() {
        b'l' if is_of_side(rest, "local", before) => Some(Side::Local),
        b'r' if is_of_side(rest, "remote", before) => Some(Side::Remote),
        b'r' if is_sentence(rest, &["received"]) => Some(Side::Remote),
        b'o' if is_of(&["onicecandidate"]) => Some(Side::Local),
        // the event as browsers spell it; not `IceCandidate`, because that class is used for both
        // sides
        b'i' if begins_word && rest.starts_with(b"icecandidate") && is_of(&["icecandidate"]) => {
            Some(Side::Local)
        }
        // Kurento's server sends its own under this id
        b'i' if begins_word && is_id_of_server(rest) => Some(Side::Remote),
        b'a' if is_sentence(rest, &["add", "adding", "added"]) => Some(Side::Remote),
        b'c' if starts(rest, "createOffer") || starts(rest, "createAnswer") => Some(Side::Local),
        b'g' if starts(rest, "got a trickled candidate") => Some(Side::Remote),
        b'g' | b's' if is_sentence(rest, &["generated", "gathered", "send", "sending", "sent"]) => {
            Some(Side::Local)
        }
        _ => None,
    }
}

fn starts(rest: &[u8], word: &str) -> bool {
    rest.get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether `rest` begins with this word and no longer one.
fn is_word(rest: &[u8], word: &str) -> bool {
    starts(rest, word)
        && !rest
            .get(word.len())
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The rest behind a word and at most one space, hyphen or underscore.
fn behind<'a>(rest: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let rest = rest.get(word.len()..).filter(|_| starts(rest, word))?;
    Some(match rest {
        [b' ' | b'-' | b'_', rest @ ..] => rest,
        rest => rest,
    })
}

/// `localDescription`, `Local SDP`, `local-candidate`, and the key `"local":` of a report.
fn is_of_side(rest: &[u8], side: &str, before: Option<u8>) -> bool {
    let Some(noun) = behind(rest, side) else {
        return false;
    };
    let is_key = || {
        let mut behind = noun.iter().skip_while(|byte| **byte == b'\\');
        before == Some(b'"')
            && behind.next() == Some(&b'"')
            && behind.find(|byte| **byte != b' ') == Some(&b':')
    };
    let nouns = [
        "description",
        "sdp",
        "candidate",
        "ice candidate",
        "icecandidate",
    ];
    nouns.iter().any(|word| starts(noun, word)) || is_key()
}

/// `"id":"iceCandidate"`, however it is quoted.
fn is_id_of_server(rest: &[u8]) -> bool {
    let between = rest.iter().skip(2).take(16);
    let between = between.take_while(|byte| matches!(byte, b'"' | b'\'' | b'\\' | b':' | b' '));
    let value = rest.get(2 + between.count()..).unwrap_or_default();
    starts(rest, "id") && value.starts_with(b"iceCandidate") && is_word(value, "iceCandidate")
}

/// A sentence such as `Received ICE candidate`, or a call such as `addIceCandidate`.
fn is_sentence(rest: &[u8], verbs: &[&str]) -> bool {
    verbs.iter().any(|verb| {
        behind(rest, verb)
            .and_then(|rest| behind(rest, "ice"))
            .is_some_and(|rest| starts(rest, "candidate"))
    })
}
