//! Plain data: the course of a channel, from its first flight to its end.
//!
//! Nothing in here is a verdict. A judge of how far an attempt came needs counts and last messages.

/// The course of a channel so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChannelView {
    /// DTLS.
    pub dtls: DtlsView,
    /// SCTP over it.
    pub sctp: SctpView,
    /// Datagrams, records, messages and packets that came in and were dropped, because no honest
    /// peer sends them or because there was no room.
    pub refused: u64,
    /// Why it ended, once it has.
    pub end: Option<ChannelEnd>,
}

/// The course of a DTLS handshake (RFC 6347, RFC 9147).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DtlsView {
    /// Whether this side is the client, which speaks first.
    pub is_client: bool,
    /// The version, once both sides agree on it.
    pub version: Option<DtlsVersion>,
    /// Whether the handshake is done.
    pub is_done: bool,
    /// Datagrams of the handshake that this side sent.
    pub sent: u32,
    /// Datagrams that came in during the handshake and look like DTLS.
    pub received: u32,
    /// How often this side sent its hello, repetitions included.
    pub hellos: u32,
    /// Kind of this side's last handshake message in the clear (RFC 6347 section 4.3.2).
    pub last_sent: Option<u8>,
    /// Kind of the peer's.
    pub last_received: Option<u8>,
    /// How often the handshake failed and began anew. Until it is done nothing proves who sent a
    /// message, so no message can end it.
    pub restarts: u32,
    /// Why this side last refused a message, or began anew.
    pub refusal: Option<DtlsRefusal>,
    /// Alerts in the clear. A stranger can send them, so they end nothing.
    pub plaintext_alerts: u64,
    /// Description of the last of them (RFC 5246 section 7.2).
    pub plaintext_alert: Option<u8>,
}

/// A version of DTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DtlsVersion {
    /// RFC 6347.
    Dtls12,
    /// RFC 9147.
    Dtls13,
}

/// The cause for which this side did not agree to a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DtlsRefusal {
    /// No cipher suite or group in common, as with a peer that offers RSA or CBC only.
    Suites,
    /// No version in common.
    Version,
    /// No extended master secret (RFC 7627).
    MasterSecret,
    /// The peer could not prove its certificate or its keys.
    Proof,
    /// An alert of the peer under keys that nothing has proven yet.
    Alert,
    /// A message out of place, or one that makes no sense.
    Message,
}

/// The course of an SCTP association (RFC 9260).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SctpView {
    /// Whether it stands.
    pub is_established: bool,
    /// Packets that this side sent.
    pub sent: u64,
    /// Packets that came in.
    pub received: u64,
    /// DATA chunks of this side, each as often as it was sent: the peer has to acknowledge them.
    pub due: u64,
    /// Acknowledgements of the peer.
    pub acknowledgements: u64,
    /// Chunks of this side that the peer has acknowledged.
    pub acknowledged: SizeCounts,
    /// Chunks that were given up: the peer has not acknowledged them, and they are not sent again.
    pub lost: SizeCounts,
    /// Chunks that were sent once more.
    pub repeated: SizeCounts,
}

/// The counts of an association that change with its datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Counts {
    /// Packets that left.
    pub(in super::super) sent: u64,
    /// Packets that came in.
    pub(in super::super) received: u64,
    /// DATA chunks that left.
    pub(in super::super) due: u64,
    /// Acknowledgements that came in.
    pub(in super::super) acknowledgements: u64,
}

/// Counts of chunks by the length of the SCTP packet that they left in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeCounts {
    counts: [u32; Self::MOST.len() + 1],
}

impl SizeCounts {
    /// Greatest length of each class but the last, in bytes. DTLS, UDP and IP come on top, about 80
    /// bytes.
    pub const MOST: [u16; 5] = [256, 512, 768, 1024, 1152];

    /// The count of each class, from short to long.
    #[must_use]
    pub const fn counts(&self) -> &[u32; Self::MOST.len() + 1] {
        &self.counts
    }

    /// Counts one of this length.
    pub(super) fn count(&mut self, length: u16) {
        let class = Self::MOST.iter().position(|most| length <= *most);
        let count = &mut self.counts[class.unwrap_or(Self::MOST.len())];
        *count = count.saturating_add(1);
    }
}

/// Why a channel ended. Nothing but this side, its ICE, and the peer under the keys of DTLS can
/// bring that about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelEnd {
    /// This side closed it.
    Closed,
    /// ICE ended: the peer's consent expired (RFC 7675), or the agent was closed.
    Path,
    /// It did not open in time.
    TimedOut,
    /// The peer's certificate is not one that its description names.
    Certificate,
    /// The peer closed DTLS (`close_notify`).
    ClosedByPeer,
    /// Another alert of the peer, under the keys; its description (RFC 5246 section 7.2).
    Alert(u8),
    /// The peer broke DTLS, under the keys.
    DtlsBroken,
    /// The peer reset the channel's stream (RFC 8831 section 6.7).
    Reset,
    /// The peer shut the SCTP association down (RFC 9260 section 9.2).
    Shutdown,
    /// The peer aborted the SCTP association (RFC 9260 section 9.1).
    Aborted,
    /// The peer broke SCTP.
    SctpBroken,
    /// The peer opened channel after channel.
    Channels,
}
