//! The few lines of a session description that ICE needs (RFC 8839 section 5, RFC 8841 section 4).

use core::fmt;
use core::fmt::Write;

use ice_gather::{Credentials, GatheredCandidate, RemoteCandidate, RemoteDescription};
use nat_summary::Candidate;

/// Longest description read, in bytes.
const MAX_SDP: usize = 64 * 1024;
/// Most candidates taken from one description.
pub(crate) const MAX_CANDIDATES: usize = 64;

/// Why a session description is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than 64 KiB.
    TooLong,
    /// No `a=ice-ufrag` or no `a=ice-pwd`.
    NoCredentials,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the session description is too long",
            Self::NoCredentials => "the session description has no ICE credentials",
        })
    }
}

impl core::error::Error for SdpError {}

/// What a description tells of ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionDescription {
    /// User name fragment and password.
    pub credentials: Credentials,
    /// Candidates that checks can be sent to.
    pub candidates: Vec<RemoteCandidate>,
    /// Candidate lines that do not parse, name no usable address, or are beyond the 64th.
    pub unusable: u32,
}

impl SessionDescription {
    /// Reads a description. Candidates that cannot be used are counted, not refused.
    ///
    /// # Errors
    /// [`SdpError`].
    pub fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP {
            return Err(SdpError::TooLong);
        }
        let (mut ufrag, mut pwd, mut candidates, mut unusable) = (None, None, Vec::new(), 0);
        for line in sdp.lines() {
            if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
                ufrag.get_or_insert_with(|| value.trim().to_owned());
            } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
                pwd.get_or_insert_with(|| value.trim().to_owned());
            } else if line.starts_with("a=candidate:") {
                match Candidate::parse(line).ok().as_ref().and_then(RemoteCandidate::from_candidate) {
                    Some(candidate) if candidates.len() < MAX_CANDIDATES => candidates.push(candidate),
                    _ => unusable += 1,
                }
            }
        }
        let (Some(ufrag), Some(pwd)) = (ufrag, pwd) else { return Err(SdpError::NoCredentials) };
        Ok(Self { credentials: Credentials { ufrag, pwd }, candidates, unusable })
    }

    /// Writes a description of one data channel, with these candidates or with none yet.
    #[must_use]
    pub fn write(credentials: &Credentials, candidates: &[GatheredCandidate]) -> String {
        let mut sdp = String::from(
            "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n",
        );
        // writing to a string cannot fail
        let _ = write!(sdp, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", credentials.ufrag, credentials.pwd);
        for candidate in candidates {
            let _ = write!(sdp, "a={}\r\n", candidate.as_candidate());
        }
        sdp
    }
}

impl From<SessionDescription> for RemoteDescription {
    fn from(description: SessionDescription) -> Self {
        Self { credentials: description.credentials, candidates: description.candidates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials { ufrag: "abcd".into(), pwd: "x".repeat(24) }
    }

    #[test]
    fn what_is_written_reads_back() {
        let read = SessionDescription::parse(&SessionDescription::write(&credentials(), &[])).unwrap();
        assert_eq!(read, SessionDescription { credentials: credentials(), candidates: vec![], unusable: 0 });
    }

    #[test]
    fn broken_candidates_are_counted_and_the_good_ones_kept() {
        let mut sdp = SessionDescription::write(&credentials(), &[]);
        sdp += "a=candidate:1 1 udp 1 203.0.113.7 5 typ host\r\n";
        sdp += "a=candidate:1 1 udp 1 hidden.local 5 typ host\r\n";
        sdp += "a=candidate:nonsense\r\n";
        let read = SessionDescription::parse(&sdp).unwrap();
        assert_eq!((read.candidates.len(), read.unusable), (1, 2));
    }

    #[test]
    fn a_flood_of_candidates_is_capped_and_counted() {
        let mut sdp = SessionDescription::write(&credentials(), &[]);
        for port in 1..=100 {
            sdp += &format!("a=candidate:1 1 udp 1 203.0.113.7 {port} typ host\r\n");
        }
        let read = SessionDescription::parse(&sdp).unwrap();
        assert_eq!((read.candidates.len(), read.unusable), (MAX_CANDIDATES, 36));
    }

    #[test]
    fn without_credentials_or_without_end_it_is_refused() {
        assert_eq!(SessionDescription::parse("v=0\r\na=ice-ufrag:abcd\r\n"), Err(SdpError::NoCredentials));
        assert_eq!(SessionDescription::parse(&"a=x\r\n".repeat(20_000)), Err(SdpError::TooLong));
    }
}
