//! How a connection is made once signalling brought both sides together.

use core::fmt;
use core::future::Future;
use std::time::Duration;

use ice_gather::{
    Credentials, GatheredCandidate, Gathering, PeerView, Rebinding, Role, StunServer,
};
use nat_summary::{CandidateKind, Evidence};
use tokio::sync::watch;

use crate::sdp::SessionDescription;

#[cfg(feature = "data-channel")]
mod data_channel;
mod ice;

#[cfg(feature = "data-channel")]
pub use data_channel::{
    ChannelEnd, ChannelView, DataChannel, DataChannelPath, DataChannelSession, Discarded,
    DtlsRefusal, DtlsVersion, DtlsView, SctpView, SizeCounts,
};
pub use ice::{Ice, IceSession, Network};

/// Why no connection object came about, or no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// No socket, or the ICE agent could not be made.
    Local,
    /// The peer's description is unusable.
    Remote,
    /// The peer's description allows no channel: it names no certificate, or leaves open who begins
    /// DTLS.
    NoChannel,
    /// No pair of candidates worked in time.
    TimedOut,
    /// Every pair failed.
    Failed,
    /// A pair works, but the DTLS handshake failed or did not end in time.
    Dtls,
    /// The peer's certificate is not one that its description names: somebody else may be in
    /// between.
    Fingerprint,
    /// DTLS stands, but SCTP or the channel did not come up in time.
    Channel,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "no connection object",
            Self::Remote => "the peer's description is unusable",
            Self::NoChannel => "the peer's description allows no channel",
            Self::TimedOut => "no candidate pair worked in time",
            Self::Failed => "every candidate pair failed",
            Self::Dtls => "the DTLS handshake failed",
            Self::Fingerprint => "the peer's certificate is not the one it announced",
            Self::Channel => "the data channel did not open",
        })
    }
}

impl core::error::Error for TransportError {}

/// Makes connection objects.
pub trait Transport: Send + Sync {
    /// A connection object.
    type Session: Session;

    /// Builds one.
    fn open(
        &self,
        role: Role,
    ) -> impl Future<Output = Result<Self::Session, TransportError>> + Send;
}

/// One connection object: gathers, connects, closes. Dropping it anywhere leaves nothing behind.
pub trait Session: Send + Sync {
    /// An open connection.
    type Path: Path;

    /// What our description tells of ICE besides the candidates.
    fn credentials(&self) -> &Credentials;

    /// Our description, with these candidates or with none yet: an offer, or the answer to `offer`.
    fn describe(
        &self,
        offer: Option<&SessionDescription>,
        candidates: &[GatheredCandidate],
    ) -> String {
        let _ = offer;
        SessionDescription::write(self.credentials(), None, candidates)
    }

    /// Asks the cohort. What it observed so far stays in [`evidence`](Self::evidence) if it is
    /// cancelled.
    fn gather(&self, cohort: &[StunServer]) -> impl Future<Output = Gathering> + Send;

    /// Everything observed so far, late answers included.
    fn evidence(&self) -> Box<Evidence>;

    /// Connects, at most for `deadline`.
    fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> impl Future<Output = Result<Self::Path, TransportError>> + Send;

    /// The kinds of the pair in use: ours, then the peer's.
    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)>;

    /// What the peer's connectivity checks have shown so far; `None` if this transport cannot see
    /// them.
    fn peer_view(&self) -> Option<PeerView> {
        None
    }

    /// The latest rebinding of the mapping toward the peer, as long as this object is there; `None`
    /// as above.
    fn rebindings(&self) -> Option<watch::Receiver<Option<Rebinding>>> {
        None
    }

    /// Closes it; bounded in time.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// An open connection that carries datagrams.
pub trait Path: Send + Sync {
    /// Sends one datagram; false if it was not taken.
    fn send(&self, datagram: &[u8]) -> impl Future<Output = bool> + Send;

    /// Receives one; `None` once the connection ended. Cancel safe.
    fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = Option<usize>> + Send;

    /// What the peer sent and [`recv`](Self::recv) dropped so far: messages that were no datagrams,
    /// and what no honest peer sends.
    fn dropped(&self) -> u64 {
        0
    }
}
