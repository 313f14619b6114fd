//! The connection between two sides that signalling has brought together.

use core::fmt;
use core::future::Future;
use std::time::Duration;

use ice_gather::{
    Credentials, GatheredCandidate, Gathering, PeerView, Rebinding, Role, StunServer,
};
use nat_summary::stage::StageReport;
use nat_summary::{CandidateKind, Evidence};
use tokio::sync::watch;

use crate::sdp::SessionDescription;

#[cfg(feature = "data-channel")]
mod data_channel;
mod ice;

#[cfg(feature = "data-channel")]
pub use data_channel::{
    ChannelEnd, ChannelView, DataChannel, DataChannelPath, DataChannelSession, DiscardedDatagrams,
    DtlsRefusal, DtlsVersion, DtlsView, SctpView, SizeCounts,
};
pub use ice::{IceSession, IceTransport, Network};

/// Why a connection object or a connection could not be made.
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
    /// The peer's certificate is not one that its description names: an attacker may be in between.
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

    /// Builds a connection object.
    fn open(
        &self,
        role: Role,
    ) -> impl Future<Output = Result<Self::Session, TransportError>> + Send;
}

/// One connection object: gathers, connects, closes. Dropping it anywhere leaves nothing behind.
pub trait Session: Send + Sync {
    /// An open connection.
    type Path: Path;

    /// Our user name fragment and password for ICE.
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

    /// Asks the cohort. If it is cancelled, the observations so far stay in
    /// [`evidence`](Self::evidence).
    fn gather(&self, cohort: &[StunServer]) -> impl Future<Output = Gathering> + Send;

    /// All observations so far, late answers included.
    fn evidence(&self) -> Box<Evidence>;

    /// Connects, at most for `deadline`.
    fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> impl Future<Output = Result<Self::Path, TransportError>> + Send;

    /// The kinds of the pair in use: ours, then the peer's.
    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)>;

    /// The results of the peer's connectivity checks so far; `None` if this transport cannot see
    /// them.
    fn peer_view(&self) -> Option<PeerView> {
        None
    }

    /// The latest rebinding of the mapping toward the peer; `None` if this transport cannot see
    /// rebindings.
    fn rebindings(&self) -> Option<watch::Receiver<Option<Rebinding>>> {
        None
    }

    /// How far the path came, and what stopped it; `None` if this transport cannot see that, or has no
    /// pair yet.
    fn stage(&self) -> Option<StageReport> {
        None
    }

    /// Closes the connection; bounded in time.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// An open connection that carries datagrams.
pub trait Path: Send + Sync {
    /// Sends one datagram; returns false if the connection did not take it.
    fn send(&self, datagram: &[u8]) -> impl Future<Output = bool> + Send;

    /// Receives one datagram; `None` once the connection has ended. Cancel safe.
    fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = Option<usize>> + Send;

    /// How far the path came, and what stops it now; `None` if this transport cannot see that.
    fn stage(&self) -> Option<StageReport> {
        None
    }

    /// Messages of the peer that [`recv`](Self::recv) dropped so far: those that are no datagrams, and
    /// those that no honest peer sends.
    fn dropped(&self) -> u64 {
        0
    }
}
