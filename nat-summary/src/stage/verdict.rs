//! The words: how far an attempt came, what stopped it, who was who.

use crate::words::words;

/// The last stage that an attempt reached. Later stages are greater.
///
/// ```
/// use nat_summary::stage::Stage;
/// assert!(Stage::Hello < Stage::Secured);
/// assert_eq!(Stage::Paired.as_str(), "paired");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum Stage {
    /// No stage is known.
    #[default]
    Unknown,
    /// The two sides exchange descriptions.
    Signalling,
    /// Connectivity checks left, and none was answered.
    Checks,
    /// The peer answered checks: a pair of addresses works.
    Paired,
    /// A ClientHello passed, in one direction or the other.
    Hello,
    /// DTLS records passed in both directions.
    Handshake,
    /// The DTLS handshake is done.
    Secured,
    /// Application data of the peer came in.
    Open,
}

words! {
    /// Its word: the value of `nat_telemetry.stage`.
    Stage {
        Unknown => "unknown",
        Signalling => "signalling",
        Checks => "checks",
        Paired => "paired",
        Hello => "hello",
        Handshake => "handshake",
        Secured => "secured",
        Open => "open",
    }
}

/// What stopped an attempt or a path, where that is proven. It names the stage that got no answer, never
/// the culprit: a censor, a broken peer and a broken router look alike from here.
///
/// ```
/// use nat_summary::stage::StageVerdict;
/// assert_eq!(StageVerdict::HelloUnanswered.as_str(), "hello_unanswered");
/// assert_eq!(StageVerdict::default(), StageVerdict::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[non_exhaustive]
pub enum StageVerdict {
    /// This side is the DTLS client: three or more flights with its ClientHello left and no DTLS
    /// record came in, while the peer answered checks.
    HelloUnanswered,
    /// This side is the DTLS server: no DTLS record came in during the whole wait, while the peer
    /// answered checks.
    HelloNeverCame,
    /// DTLS records came in and left. Then no new one came in for three retransmissions of this side,
    /// while the peer answered checks. A message in the clear that the peer repeats is not new.
    HandshakeStalled,
    /// One side refused the handshake: see [`StageReport::refused_by`](super::StageReport::refused_by).
    HandshakeRefused,
    /// DTLS was done and application data left. No application data came in, while the peer answered
    /// checks.
    ChannelUnanswered,
    /// The peer acknowledged packets up to a size, and none of those above.
    LargePacketsVanish,
    /// Application data came in. Then, for [`FROZEN_AFTER`](super::FROZEN_AFTER), none did, or the peer
    /// acknowledged none of this side, though application data left that the peer has to acknowledge, while
    /// the peer answered checks.
    FrozenAfterOpen,
    /// The peer answered checks, and then no packet came in at all: the network or the peer is gone,
    /// not the stage above.
    PathLost,
    /// The peer closed the channel, under the keys.
    ClosedByPeer,
    /// The evidence proves none of these.
    #[default]
    Unknown,
}

words! {
    /// Its word: the value of `nat_telemetry.stage.verdict`.
    StageVerdict {
        HelloUnanswered => "hello_unanswered",
        HelloNeverCame => "hello_never_came",
        HandshakeStalled => "handshake_stalled",
        HandshakeRefused => "handshake_refused",
        ChannelUnanswered => "channel_unanswered",
        LargePacketsVanish => "large_packets_vanish",
        FrozenAfterOpen => "frozen_after_open",
        PathLost => "path_lost",
        ClosedByPeer => "closed_by_peer",
        Unknown => "unknown",
    }
}

impl core::fmt::Display for StageVerdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The role of this side in DTLS (RFC 8842 section 5).
///
/// ```
/// assert_eq!(nat_summary::stage::DtlsRole::Client.as_str(), "client");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DtlsRole {
    /// It sends the ClientHello.
    Client,
    /// It waits for the ClientHello.
    Server,
    /// Neither the descriptions nor a hello shows it.
    #[default]
    Unknown,
}

words! {
    /// Its word: the value of `nat_telemetry.dtls.role`.
    DtlsRole {
        Client => "client",
        Server => "server",
        Unknown => "unknown",
    }
}

impl DtlsRole {
    /// The role that an offer and its answer fix (`a=setup`, RFC 8842 section 5): the side that offers or
    /// answers `active` sends the ClientHello.
    ///
    /// ```
    /// use nat_summary::stage::DtlsRole;
    /// let (offer, answer) = ("v=0\r\na=setup:actpass\r\n", "v=0\r\na=setup:active\r\n");
    /// assert_eq!(DtlsRole::of_descriptions(offer, answer), DtlsRole::Server);
    /// assert_eq!(DtlsRole::of_descriptions(answer, offer), DtlsRole::Client);
    /// assert_eq!(DtlsRole::of_descriptions(offer, ""), DtlsRole::Unknown);
    /// ```
    #[must_use]
    pub fn of_descriptions(local: &str, remote: &str) -> Self {
        match (setup(local), setup(remote)) {
            (Some("active"), Some("actpass" | "passive")) | (Some("actpass"), Some("passive")) => {
                Self::Client
            }
            (Some("passive"), Some("actpass" | "active")) | (Some("actpass"), Some("active")) => {
                Self::Server
            }
            _ => Self::Unknown,
        }
    }
}

/// The first `a=setup` of a description. Its sections share one transport, and so one role (RFC 9143
/// section 7.1).
fn setup(description: &str) -> Option<&str> {
    let mut lines = description.lines();
    lines.find_map(|line| line.strip_prefix("a=setup:").map(str::trim))
}

/// The version of DTLS that the two sides agreed on.
///
/// ```
/// assert_eq!(nat_summary::stage::DtlsVersion::Dtls13.as_str(), "1.3");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DtlsVersion {
    /// DTLS 1.2 (RFC 6347).
    Dtls12,
    /// DTLS 1.3 (RFC 9147).
    Dtls13,
    /// They did not get so far.
    #[default]
    Unknown,
}

words! {
    /// Its word: the value of `nat_telemetry.dtls.version`.
    DtlsVersion {
        Dtls12 => "1.2",
        Dtls13 => "1.3",
        Unknown => "unknown",
    }
}

/// Who refused a handshake.
///
/// ```
/// assert_eq!(nat_summary::stage::RefusedBy::ThisSide.as_str(), "this_side");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RefusedBy {
    /// This side did: the version, the cipher suites, or the certificate of the peer.
    ThisSide,
    /// A fatal alert in epoch 0 came from the peer's address. An alert in the clear is not signed:
    /// the peer sent it, or somebody on the path.
    AlertReceived,
    /// There was no refusal.
    #[default]
    Unknown,
}

words! {
    /// Its word.
    RefusedBy {
        ThisSide => "this_side",
        AlertReceived => "alert_received",
        Unknown => "unknown",
    }
}

/// A handshake message in the clear (RFC 6347 section 4.3.2), or a kind of record behind it.
///
/// ```
/// use nat_summary::stage::HandshakeMessage;
/// assert_eq!(HandshakeMessage::of(1).as_str(), "client_hello");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HandshakeMessage {
    /// ClientHello.
    ClientHello,
    /// ServerHello, or the HelloRetryRequest of DTLS 1.3.
    ServerHello,
    /// HelloVerifyRequest.
    HelloVerifyRequest,
    /// Certificate.
    Certificate,
    /// ServerKeyExchange.
    ServerKeyExchange,
    /// CertificateRequest.
    CertificateRequest,
    /// ServerHelloDone.
    ServerHelloDone,
    /// CertificateVerify.
    CertificateVerify,
    /// ClientKeyExchange.
    ClientKeyExchange,
    /// A record under keys: the Finished of DTLS 1.2, or anything behind the hellos of DTLS 1.3.
    Encrypted,
    /// None passed, or one of another type.
    #[default]
    Unknown,
}

words! {
    /// Its word: the value of `nat_telemetry.dtls.last_in` and `.last_out`.
    HandshakeMessage {
        ClientHello => "client_hello",
        ServerHello => "server_hello",
        HelloVerifyRequest => "hello_verify_request",
        Certificate => "certificate",
        ServerKeyExchange => "server_key_exchange",
        CertificateRequest => "certificate_request",
        ServerHelloDone => "server_hello_done",
        CertificateVerify => "certificate_verify",
        ClientKeyExchange => "client_key_exchange",
        Encrypted => "encrypted",
        Unknown => "unknown",
    }
}

impl HandshakeMessage {
    /// The message of this type in epoch 0.
    #[must_use]
    pub const fn of(typ: u8) -> Self {
        match typ {
            1 => Self::ClientHello,
            2 => Self::ServerHello,
            3 => Self::HelloVerifyRequest,
            11 => Self::Certificate,
            12 => Self::ServerKeyExchange,
            13 => Self::CertificateRequest,
            14 => Self::ServerHelloDone,
            15 => Self::CertificateVerify,
            16 => Self::ClientKeyExchange,
            _ => Self::Unknown,
        }
    }
}
