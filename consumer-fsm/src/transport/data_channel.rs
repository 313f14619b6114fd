//! The data channel of WebRTC: the channel `data` over SCTP over DTLS over ICE (RFC 8831), one
//! message a datagram.
//!
//! The channel is unordered and never retransmits (RFC 8832 section 5.1, type 0x81 with parameter
//! 0). The offerer opens it, so the consumer does; the answerer takes the first channel of that
//! name.
//!
//! Everything above ICE is one sans-I/O object (`data_channel/endpoint`), driven by one task per
//! connection (`data_channel/driver`). A caller that waits may be cancelled at any point; the task is not.

mod driver;
mod endpoint;
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ice_gather::{
    Credentials, GatheredCandidate, Gathering, PeerView, Rebinding, Role, StunServer,
};
use nat_summary::stage::StageReport;
use nat_summary::{CandidateKind, Evidence};
use rand::Rng;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::driver::Driven;
pub use self::endpoint::{
    ChannelEnd, ChannelView, DtlsRefusal, DtlsVersion, DtlsView, SctpView, SizeCounts,
};
use self::endpoint::{Endpoint, Identity, Opening, Random, Received, Refused, State};
use super::{IceSession, IceTransport, Session, Transport, TransportError};
use crate::sdp::{ChannelDescription, Fingerprint, SessionDescription, Setup};

/// Longest message taken, and announced as such (`a=max-message-size`, RFC 8841 section 6).
const MAX_MESSAGE: u32 = 8192;
/// The SCTP port of this side, as every stack has it (RFC 8831 section 6.2).
const SCTP_PORT: u16 = 5000;
/// Longest wait in [`Session::close`]. The tear-down itself goes on.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections whose datagrams travel over a WebRTC data channel, as browsers have it.
#[derive(Debug, Clone)]
pub struct DataChannel {
    ice: IceTransport,
    newest: DtlsVersion,
}

impl DataChannel {
    /// Over ICE as this transport makes it.
    #[must_use]
    pub const fn new(ice: IceTransport) -> Self {
        Self {
            ice,
            newest: DtlsVersion::Dtls13,
        }
    }

    /// With this version of DTLS as the newest that is offered and taken. [`DtlsVersion::Dtls12`] keeps a path
    /// below DTLS 1.3, where a network or a peer cannot take that.
    #[must_use]
    pub const fn with_newest_dtls(mut self, newest: DtlsVersion) -> Self {
        self.newest = newest;
        self
    }
}

impl Transport for DataChannel {
    type Session = DataChannelSession;

    async fn open(&self, role: Role) -> Result<DataChannelSession, TransportError> {
        let identity = Identity::generate().ok_or(TransportError::Local)?;
        let ice = self.ice.open(role).await?;
        Ok(DataChannelSession {
            ice: Some(ice),
            identity,
            newest: self.newest,
            role,
            channel: None,
            runtime: Handle::current(),
        })
    }
}

/// An ICE session, and the layers above it. Close it, or just drop it: nothing stays behind.
#[derive(Debug)]
pub struct DataChannelSession {
    /// Taken by the tear-down, and by nothing else.
    ice: Option<IceSession>,
    identity: Identity,
    newest: DtlsVersion,
    role: Role,
    channel: Option<Channel>,
    runtime: Handle,
}

/// The channel on ICE, and its task.
struct Channel {
    driven: Arc<Driven>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl core::fmt::Debug for Channel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Channel")
    }
}

impl DataChannelSession {
    /// The counts and the state of the channel; none before ICE has connected. They stay available
    /// when [`connect`](Session::connect) fails.
    #[must_use]
    pub fn view(&self) -> Option<ChannelView> {
        self.channel.as_ref().map(|channel| channel.driven.view())
    }

    /// Only a closed session has none, and closing consumes it.
    fn ice(&self) -> &IceSession {
        match &self.ice {
            Some(ice) => ice,
            None => unreachable!("a session is used after its end"),
        }
    }

    /// The first step is ours only if the peer's description leaves it to us or asks for it (RFC
    /// 8842 section 5).
    fn is_dtls_client(&self, remote: Setup) -> Result<bool, TransportError> {
        match (self.role, remote) {
            // the answerer of `actpass` is the client, which saves half a round trip
            (Role::Controlled, Setup::ActPass) | (_, Setup::Passive) => Ok(true),
            (_, Setup::Active) => Ok(false),
            // an answer has to choose
            (Role::Controlling, Setup::ActPass) => Err(TransportError::NoChannel),
        }
    }

    fn start_tear_down(&mut self) -> Option<JoinHandle<()>> {
        let (ice, channel) = (self.ice.take()?, self.channel.take());
        Some(self.runtime.spawn(async move {
            if let Some(Channel {
                cancel,
                task,
                driven,
            }) = channel
            {
                cancel.cancel();
                // a panic in there was reported where it happened
                let _ = task.await;
                // the connection ends with its last holder, and then nothing waits to be read
                drop(driven);
            }
            // the last word of DTLS needs the sockets
            ice.close().await;
        }))
    }
}

impl Drop for DataChannelSession {
    fn drop(&mut self) {
        // without a handle: the task is detached
        drop(self.start_tear_down());
    }
}

impl Session for DataChannelSession {
    type Path = DataChannelPath;

    fn credentials(&self) -> &Credentials {
        self.ice().credentials()
    }

    fn describe(
        &self,
        offer: Option<&SessionDescription>,
        candidates: &[GatheredCandidate],
    ) -> String {
        let setup = match offer
            .and_then(|offer| offer.channel.as_ref())
            .map(|channel| channel.setup)
        {
            Some(Setup::Active) => Setup::Passive,
            Some(_) => Setup::Active,
            None => Setup::ActPass,
        };
        let channel =
            ChannelDescription::new(Fingerprint(self.identity.digest()), setup, MAX_MESSAGE);
        SessionDescription::write(self.credentials(), Some(&channel), candidates)
    }

    async fn gather(&self, cohort: &[StunServer]) -> Gathering {
        self.ice().gather(cohort).await
    }

    fn evidence(&self) -> Box<Evidence> {
        self.ice().evidence()
    }

    async fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> Result<DataChannelPath, TransportError> {
        let until = tokio::time::Instant::now() + deadline;
        let peer = remote.channel.clone().ok_or(TransportError::NoChannel)?;
        let is_dtls_client = self.is_dtls_client(peer.setup)?;
        let ice = self.ice.as_mut().ok_or(TransportError::Failed)?;
        let conn = ice.connect(remote, deadline).await?;

        let max_message = match peer.max_message_size {
            0 => MAX_MESSAGE,
            theirs => theirs.min(MAX_MESSAGE),
        };
        let opening = Opening {
            identity: self.identity.clone(),
            peer: peer.fingerprints.iter().map(|digest| digest.0).collect(),
            is_dtls_client,
            newest: self.newest,
            channel: endpoint::Channel {
                is_ours: self.role == Role::Controlling,
                local_port: SCTP_PORT,
                remote_port: peer.sctp_port,
                max_message: max_message as usize,
                random: random(),
            },
        };
        let now = tokio::time::Instant::now().into_std();
        let endpoint = Endpoint::new(opening, now).ok_or(TransportError::Local)?;
        let driven = Arc::new(Driven::new(conn, endpoint));
        let (opened_tx, opened) = oneshot::channel();
        let cancel = CancellationToken::new();
        let task = self
            .runtime
            .spawn(Arc::clone(&driven).run(until, cancel.clone(), opened_tx));
        self.channel = Some(Channel {
            driven: Arc::clone(&driven),
            cancel,
            task,
        });
        let opened = opened.await.map_err(|_| TransportError::Failed)?;
        opened.map_err(why_not)?;
        Ok(DataChannelPath {
            driven,
            discarded: Counters::default(),
        })
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.ice().selected_pair()
    }

    fn peer_view(&self) -> Option<PeerView> {
        self.ice().peer_view()
    }

    fn rebindings(&self) -> Option<watch::Receiver<Option<Rebinding>>> {
        self.ice().rebindings()
    }

    fn stage(&self) -> Option<StageReport> {
        self.channel.as_ref().map(|channel| channel.driven.stage())
    }

    async fn close(mut self) {
        if let Some(torn_down) = self.start_tear_down() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, torn_down).await;
        }
    }
}

fn random() -> Random {
    let mut rng = rand::rng();
    Random {
        tag: rng.random_range(1..=u32::MAX),
        tsn: rng.random_range(1..=u32::MAX),
        cookie: rng.random(),
    }
}

/// Why a channel did not open, by where it was.
const fn why_not(state: State) -> TransportError {
    match state {
        State::Ended(ChannelEnd::Certificate) => TransportError::Fingerprint,
        // a pair that died takes each layer above with it, so their state proves nothing
        State::Ended(ChannelEnd::Path) => TransportError::Failed,
        State::Handshake => TransportError::Dtls,
        State::Ended(ChannelEnd::ClosedByPeer | ChannelEnd::Alert(_) | ChannelEnd::DtlsBroken) => {
            TransportError::Dtls
        }
        _ => TransportError::Channel,
    }
}

/// Counts of messages and packets that the channel did not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiscardedDatagrams {
    /// Datagrams of ours while too many bytes were on their way.
    pub full: u64,
    /// Datagrams of ours longer than the peer takes, and messages of the peer longer than the
    /// buffer they were read to.
    pub too_long: u64,
    /// Messages of the peer that were text, or of an unknown kind.
    pub not_binary: u64,
    /// Datagrams, records and packets that no honest stack sends, or for which there was no room:
    /// DTLS or SCTP never saw them. Before the keys are proven, a stranger may have sent them.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    full: AtomicU64,
    /// Ours.
    too_long: AtomicU64,
    /// The peer's.
    too_long_in: AtomicU64,
    not_binary: AtomicU64,
}

/// An open channel.
pub struct DataChannelPath {
    driven: Arc<Driven>,
    discarded: Counters,
}

impl DataChannelPath {
    /// The counts of messages and packets that were not carried so far.
    #[must_use]
    pub fn discarded(&self) -> DiscardedDatagrams {
        DiscardedDatagrams {
            full: self.discarded.full.load(Ordering::Relaxed),
            too_long: self.discarded.too_long.load(Ordering::Relaxed)
                + self.discarded.too_long_in.load(Ordering::Relaxed),
            not_binary: self.discarded.not_binary.load(Ordering::Relaxed),
            refused: self.driven.refused(),
        }
    }

    /// The counts and the state of the channel so far, and the cause of its end.
    #[must_use]
    pub fn view(&self) -> ChannelView {
        self.driven.view()
    }
}

impl core::fmt::Debug for DataChannelPath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DataChannelPath")
            .field("ended", &self.driven.is_over())
            .field("discarded", &self.discarded())
            .finish_non_exhaustive()
    }
}

impl super::Path for DataChannelPath {
    async fn send(&self, datagram: &[u8]) -> bool {
        let discarded = match self.driven.send(datagram).await {
            Ok(()) => return true,
            Err(Refused::Closed) => return false,
            Err(Refused::Full) => &self.discarded.full,
            Err(Refused::TooLong) => &self.discarded.too_long,
        };
        discarded.fetch_add(1, Ordering::Relaxed);
        false
    }

    async fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let discarded = match self.driven.receive(buffer).await? {
                Received::Binary(length) => return Some(length),
                Received::Other => &self.discarded.not_binary,
                Received::TooLong => &self.discarded.too_long_in,
            };
            discarded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stage(&self) -> Option<StageReport> {
        Some(self.driven.stage())
    }

    fn dropped(&self) -> u64 {
        let Counters {
            too_long_in,
            not_binary,
            ..
        } = &self.discarded;
        too_long_in.load(Ordering::Relaxed)
            + not_binary.load(Ordering::Relaxed)
            + self.driven.refused()
    }
}
