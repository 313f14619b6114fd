//! The few lines of a session description that ICE and a data channel need (RFC 8839 section 5, RFC
//! 8841 sections 4 to 6, RFC 8842 section 5).

use core::fmt;
use core::fmt::Write;

use ice_gather::{Credentials, GatheredCandidate, RemoteCandidate, RemoteDescription};
use nat_summary::Candidate;

/// `a=mid` of the one media section.
pub(crate) const MID: &str = "0";
/// Longest description read, in bytes.
const MAX_SDP: usize = 64 * 1024;
/// Most candidates taken from one description.
pub(crate) const MAX_CANDIDATES: usize = 64;
/// Most fingerprints taken from one description.
const MAX_FINGERPRINTS: usize = 8;
/// Without `a=sctp-port` (RFC 8831 section 6.2, as every stack has it).
const DEFAULT_SCTP_PORT: u16 = 5000;
/// Without `a=max-message-size` (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_SIZE: u32 = 65_536;

/// Why a session description cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than 64 KiB.
    TooLong,
    /// No `a=ice-ufrag` or no `a=ice-pwd`, at session level or in a media description that is not
    /// rejected.
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

/// Which side opens DTLS (RFC 8842 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Either role: the value in an offer.
    ActPass,
    /// The side with this value is the DTLS client.
    Active,
    /// The side with this value is the DTLS server.
    Passive,
}

impl Setup {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::ActPass, Self::Active, Self::Passive];

    /// The value of `a=setup` (RFC 4145 section 4).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// The SHA-256 digest of a certificate (RFC 8122 section 5), the one hash function that every stack
/// has to know (RFC 8827 section 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads the value of `a=fingerprint`; `None` if it is of another hash function, or malformed.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (function, digits) = value.trim().split_once(' ')?;
        if !function.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut digest = [0; 32];
        let mut pairs = digits.trim().split(':');
        for byte in &mut digest {
            let pair = pairs
                .next()
                .filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Self(digest))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256 ")?;
        for (n, byte) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// The part of a description about the data channel's DTLS and SCTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelDescription {
    /// Digests of certificates, one of which the side has to show (RFC 8122 section 5).
    pub fingerprints: Vec<Fingerprint>,
    /// Which side opens DTLS.
    pub setup: Setup,
    /// SCTP port inside DTLS.
    pub sctp_port: u16,
    /// Longest message that the side takes, in bytes; 0 for any.
    pub max_message_size: u32,
}

impl ChannelDescription {
    /// One certificate, and the SCTP port that every stack uses.
    #[must_use]
    pub fn new(fingerprint: Fingerprint, setup: Setup, max_message_size: u32) -> Self {
        Self {
            fingerprints: vec![fingerprint],
            setup,
            sctp_port: DEFAULT_SCTP_PORT,
            max_message_size,
        }
    }
}

/// A description of ICE, and of the channel above it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionDescription {
    /// User name fragment and password.
    pub credentials: Credentials,
    /// Candidates that checks can be sent to.
    pub candidates: Vec<RemoteCandidate>,
    /// Candidate lines that do not parse, name no usable address, or are beyond the 64th. The
    /// names ending in `.local` behind which browsers hide their addresses are among them:
    /// such a peer is learnt from its own checks, as peer-reflexive (RFC 8445 section
    /// 7.3.1.3).
    pub unusable: u32,
    /// DTLS and SCTP, if the description names a certificate by its SHA-256 digest.
    pub channel: Option<ChannelDescription>,
}

impl SessionDescription {
    /// Reads a description. Candidates that cannot be used are counted, not refused. Credentials and
    /// certificate of the first media description come before those at session level (RFC 8839
    /// section 5.4); a media description that was rejected, by a port of zero, has none.
    ///
    /// # Errors
    /// [`SdpError`].
    pub fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP {
            return Err(SdpError::TooLong);
        }
        let (mut session, mut candidates, mut unusable) = (Level::default(), Vec::new(), 0);
        let (mut sctp_port, mut max_message_size) = (None, None);
        // the first media description that is not rejected, and whether the lines are its own
        let mut media: Option<Level<'_>> = None;
        let mut section = Section::Session;
        for line in sdp.lines() {
            if let Some(value) = line.strip_prefix("m=") {
                section = match value.split_ascii_whitespace().nth(1) {
                    // RFC 3264 section 6: a port of zero rejects the stream
                    Some("0") => Section::Rejected,
                    _ if media.is_some() => Section::Other,
                    _ => {
                        media = Some(Level::default());
                        Section::Media
                    }
                };
                continue;
            }
            let level = match section {
                Section::Rejected => continue,
                Section::Session => Some(&mut session),
                Section::Media => media.as_mut(),
                Section::Other => None,
            };
            if let Some(value) = line.strip_prefix("a=candidate:") {
                match Candidate::parse(value)
                    .ok()
                    .as_ref()
                    .and_then(RemoteCandidate::from_candidate)
                {
                    Some(candidate) if candidates.len() < MAX_CANDIDATES => {
                        candidates.push(candidate)
                    }
                    _ => unusable += 1,
                }
            } else if let Some(value) = line.strip_prefix("a=sctp-port:") {
                sctp_port = sctp_port.or(value.trim().parse().ok());
            } else if let Some(value) = line.strip_prefix("a=max-message-size:") {
                max_message_size = max_message_size.or(value.trim().parse().ok());
            } else if let Some(level) = level {
                level.read(line);
            }
        }
        let media = media.unwrap_or_default();
        let (Some(ufrag), Some(pwd)) = (media.ufrag.or(session.ufrag), media.pwd.or(session.pwd))
        else {
            return Err(SdpError::NoCredentials);
        };
        let setup = media.setup.or(session.setup);
        let fingerprints = if media.fingerprints.is_empty() {
            session.fingerprints
        } else {
            media.fingerprints
        };
        let channel = (!fingerprints.is_empty()).then(|| ChannelDescription {
            fingerprints,
            // the default of RFC 4145 section 4
            setup: setup.unwrap_or(Setup::Active),
            sctp_port: sctp_port.unwrap_or(DEFAULT_SCTP_PORT),
            max_message_size: max_message_size.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE),
        });
        Ok(Self {
            credentials: Credentials {
                ufrag: ufrag.to_owned(),
                pwd: pwd.to_owned(),
            },
            candidates,
            unusable,
            channel,
        })
    }

    /// Writes a description of one data channel, with these candidates or with none yet. Plain ICE
    /// has no channel to describe.
    #[must_use]
    pub fn write(
        credentials: &Credentials,
        channel: Option<&ChannelDescription>,
        candidates: &[GatheredCandidate],
    ) -> String {
        let mut sdp = format!(
            "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {MID}\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:{MID}\r\n",
        );
        // writing to a string cannot fail
        let _ = write!(
            sdp,
            "a=sctp-port:{}\r\n",
            channel.map_or(DEFAULT_SCTP_PORT, |channel| channel.sctp_port)
        );
        if let Some(channel) = channel {
            let _ = write!(
                sdp,
                "a=max-message-size:{}\r\na=setup:{}\r\n",
                channel.max_message_size,
                channel.setup.as_str()
            );
            for fingerprint in &channel.fingerprints {
                let _ = write!(sdp, "a=fingerprint:{fingerprint}\r\n");
            }
        }
        let _ = write!(
            sdp,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            credentials.ufrag, credentials.pwd
        );
        for candidate in candidates {
            let _ = write!(sdp, "a={}\r\n", candidate.as_candidate());
        }
        sdp
    }
}

/// The part of a description that a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Session,
    /// The media description that counts.
    Media,
    /// A later one, which a bundle sends over the same pair (RFC 9143).
    Other,
    Rejected,
}

/// The attributes that stand at session level for every media description, unless one has its own
/// (RFC 8839 section 5.4, RFC 8122 section 5, RFC 4145 section 4).
#[derive(Debug, Default)]
struct Level<'a> {
    ufrag: Option<&'a str>,
    pwd: Option<&'a str>,
    fingerprints: Vec<Fingerprint>,
    setup: Option<Setup>,
}

impl<'a> Level<'a> {
    fn read(&mut self, line: &'a str) {
        if let Some(value) = line.strip_prefix("a=ice-ufrag:") {
            self.ufrag.get_or_insert(value.trim());
        } else if let Some(value) = line.strip_prefix("a=ice-pwd:") {
            self.pwd.get_or_insert(value.trim());
        } else if let Some(value) = line.strip_prefix("a=fingerprint:") {
            let known = &mut self.fingerprints;
            let room = MAX_FINGERPRINTS.saturating_sub(known.len());
            known.extend(Fingerprint::parse(value).into_iter().take(room));
        } else if let Some(value) = line.strip_prefix("a=setup:") {
            let is_named = |setup: &Setup| setup.as_str() == value.trim();
            self.setup = self.setup.or(Setup::ALL.into_iter().find(is_named));
        }
    }
}

impl From<SessionDescription> for RemoteDescription {
    fn from(description: SessionDescription) -> Self {
        Self {
            credentials: description.credentials,
            candidates: description.candidates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            ufrag: "abcd".into(),
            pwd: "x".repeat(24),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let read = SessionDescription::parse(&SessionDescription::write(&credentials(), None, &[]))
            .unwrap();
        assert_eq!(
            read,
            SessionDescription {
                credentials: credentials(),
                candidates: vec![],
                unusable: 0,
                channel: None
            }
        );
    }

    #[test]
    fn credentials_of_the_media_come_before_those_of_the_session_and_a_rejected_one_has_none() {
        let sdp = include_str!("../tests/data/session_and_media_credentials.sdp");
        let read = |sdp: &str| SessionDescription::parse(sdp).map(|read| read.credentials.ufrag);
        assert_eq!(read(sdp).as_deref(), Ok("medi"));
        let whole = SessionDescription::parse(sdp).unwrap();
        assert_eq!(whole.credentials.pwd, "medialevelpwdmedialevelpwd00");
        assert_eq!(whole.candidates.len(), 1);
        let channel = whole.channel.unwrap();
        assert_eq!(
            (channel.fingerprints.len(), channel.setup),
            (1, Setup::Active),
            "the certificate of the session, the role of the media"
        );
        let of_session = sdp.replace("a=ice-ufrag:medi", "a=x-other:1");
        assert_eq!(read(&of_session).as_deref(), Ok("sess"));

        let rejected = sdp.replace("m=application 9", "m=audio 0");
        assert_eq!(read(&rejected).as_deref(), Ok("sess"));
        let read_rejected = SessionDescription::parse(&rejected).unwrap();
        assert_eq!(
            (read_rejected.candidates.len(), read_rejected.unusable),
            (0, 0),
            "nor has it candidates"
        );
        let media = |port: u16, ufrag: &str| {
            format!("m=audio {port} RTP/AVP 0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{ufrag}pwd\r\n")
        };
        let description = |parts: &[String]| format!("v=0\r\n{}", parts.concat());
        let (gone, live) = (media(0, "gone"), media(9, "live"));
        for parts in [
            &[gone.clone(), live.clone()][..],
            &[live.clone(), gone.clone()],
            &[gone.clone(), live.clone(), media(9, "more")],
        ] {
            assert_eq!(read(&description(parts)).as_deref(), Ok("live"));
        }
        assert_eq!(read(&description(&[gone])), Err(SdpError::NoCredentials));
    }

    #[test]
    fn a_channel_reads_back_with_its_certificate() {
        let channel = ChannelDescription::new(Fingerprint([0xa5; 32]), Setup::ActPass, 8192);
        let sdp = SessionDescription::write(&credentials(), Some(&channel), &[]);
        assert!(sdp.contains("a=fingerprint:sha-256 A5:A5:"), "{sdp}");
        assert_eq!(
            SessionDescription::parse(&sdp).unwrap().channel,
            Some(channel)
        );
    }

    #[test]
    fn of_several_certificates_only_the_known_hash_counts_and_a_broken_one_does_not() {
        let good = Fingerprint([7; 32]).to_string();
        let lower = good.to_lowercase();
        for (value, read) in [
            (good.as_str(), true),
            (lower.as_str(), true),
            (&good[..good.len() - 1], false),
            (&good[..good.len() - 3], false),
            (&format!("{good}:07"), false),
            (&good.replace("07:", "+7:"), false),
            (&good.replace("sha-256", "sha-1"), false),
            ("sha-256", false),
            ("", false),
        ] {
            assert_eq!(Fingerprint::parse(value).is_some(), read, "{value}");
        }
        let base = SessionDescription::write(&credentials(), None, &[]);
        let read = SessionDescription::parse(&format!(
            "{base}a=fingerprint:sha-512 00\r\na=fingerprint:{good}\r\n"
        ));
        let channel = read.unwrap().channel.unwrap();
        assert_eq!(
            (channel.fingerprints.len(), channel.setup),
            (1, Setup::Active)
        );
        assert_eq!(
            (channel.sctp_port, channel.max_message_size),
            (5000, 65_536),
            "the defaults of the RFCs"
        );
        let many = base + &format!("a=fingerprint:{good}\r\n").repeat(50);
        assert_eq!(
            SessionDescription::parse(&many)
                .unwrap()
                .channel
                .unwrap()
                .fingerprints
                .len(),
            MAX_FINGERPRINTS
        );
    }

    #[test]
    fn broken_candidates_are_counted_and_the_good_ones_kept() {
        let mut sdp = SessionDescription::write(&credentials(), None, &[]);
        sdp += "a=candidate:1 1 udp 1 203.0.113.7 5 typ host\r\n";
        sdp += "a=candidate:1 1 udp 1 hidden.local 5 typ host\r\n";
        sdp += "a=candidate:nonsense\r\n";
        let read = SessionDescription::parse(&sdp).unwrap();
        assert_eq!((read.candidates.len(), read.unusable), (1, 2));
    }

    #[test]
    fn a_flood_of_candidates_is_capped_and_counted() {
        let mut sdp = SessionDescription::write(&credentials(), None, &[]);
        for port in 1..=100 {
            sdp += &format!("a=candidate:1 1 udp 1 203.0.113.7 {port} typ host\r\n");
        }
        let read = SessionDescription::parse(&sdp).unwrap();
        assert_eq!((read.candidates.len(), read.unusable), (MAX_CANDIDATES, 36));
    }

    #[test]
    fn without_credentials_or_without_end_it_is_refused() {
        assert_eq!(
            SessionDescription::parse("v=0\r\na=ice-ufrag:abcd\r\n"),
            Err(SdpError::NoCredentials)
        );
        assert_eq!(
            SessionDescription::parse(&"a=x\r\n".repeat(20_000)),
            Err(SdpError::TooLong)
        );
    }
}
