//! The data channel of WebRTC: the channel `data` over SCTP over DTLS over ICE (RFC 8831), one
//! message a datagram.
//!
//! The channel is unordered and never retransmits (RFC 8832 section 5.1, type 0x81 with parameter
//! 0). The offerer opens it, so the consumer does; the answerer takes the first channel of that
//! name.
//!
//! All layers above ICE live in one task per connection (`data_channel/layers`), which builds them,
//! watches them and takes them down in order. Whoever waits may be cancelled at any point; that
//! task is not.

mod admission;
mod again;
mod certificate;
mod conn;
mod layers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ice_gather::{
    Credentials, GatheredCandidate, Gathering, PeerView, Rebinding, Role, StunServer,
};
use nat_summary::{CandidateKind, Evidence};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use self::certificate::Identity;
use self::layers::{Message, Opening, Stream};
use super::{IceSession, IceTransport, Session, Transport, TransportError};
use crate::sdp::{ChannelDescription, SessionDescription, Setup};

/// Longest message taken, and announced as such (`a=max-message-size`, RFC 8841 section 6).
const MAX_MESSAGE: u32 = 8192;
/// Most bytes on their way to the peer, unacknowledged ones included: what is beyond is dropped.
/// The library itself would make a sender wait at 128 KiB.
const MAX_BUFFERED: usize = 64 * 1024;
/// Longest wait in [`Session::close`]. The tear-down itself goes on.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes connections whose datagrams travel over a WebRTC data channel, as browsers have it.
#[derive(Debug, Clone)]
pub struct DataChannel {
    ice: IceTransport,
}

impl DataChannel {
    /// Over ICE as this transport makes it.
    #[must_use]
    pub const fn new(ice: IceTransport) -> Self {
        Self { ice }
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
            role,
            layers: None,
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
    role: Role,
    layers: Option<Layers>,
    runtime: Handle,
}

/// The task of the layers above ICE.
#[derive(Debug)]
struct Layers {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl DataChannelSession {
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
        let (ice, layers) = (self.ice.take()?, self.layers.take());
        Some(self.runtime.spawn(async move {
            if let Some(Layers { cancel, task }) = layers {
                cancel.cancel();
                // a panic in there was reported where it happened
                let _ = task.await;
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
        let channel = ChannelDescription::new(self.identity.fingerprint(), setup, MAX_MESSAGE);
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

        let (opened_tx, opened) = oneshot::channel();
        let cancel = CancellationToken::new();
        let admission = Arc::<Admission>::default();
        let max_message = match peer.max_message_size {
            0 => MAX_MESSAGE,
            theirs => theirs.min(MAX_MESSAGE),
        };
        let opening = Opening {
            identity: self.identity.clone(),
            peer,
            is_dtls_client,
            opens_channel: self.role == Role::Controlling,
            max_message,
            admission: Arc::clone(&admission),
            until,
        };
        let ended = CancellationToken::new();
        let task = self.runtime.spawn(layers::run(
            conn,
            opening,
            cancel.clone(),
            ended.clone(),
            opened_tx,
        ));
        self.layers = Some(Layers { cancel, task });
        let stream = opened.await.map_err(|_| TransportError::Failed)??;
        Ok(DataChannelPath {
            stream,
            ended,
            admission,
            max_message: max_message as usize,
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

    async fn close(mut self) {
        if let Some(torn_down) = self.start_tear_down() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, torn_down).await;
        }
    }
}

/// What the channel did not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Discarded {
    /// Datagrams of ours while too many bytes were on their way.
    pub full: u64,
    /// Datagrams of ours longer than the peer takes, and messages of the peer longer than the
    /// buffer they were read to.
    pub too_long: u64,
    /// Messages of the peer that were text, or of an unknown kind.
    pub not_binary: u64,
    /// Packets of the peer that no honest stack sends, or for which there was no room: SCTP never
    /// saw them.
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
    stream: Arc<Stream>,
    /// Some layer below has ended.
    ended: CancellationToken,
    admission: Arc<Admission>,
    max_message: usize,
    discarded: Counters,
}

impl DataChannelPath {
    /// What was not carried so far.
    #[must_use]
    pub fn discarded(&self) -> Discarded {
        Discarded {
            full: self.discarded.full.load(Ordering::Relaxed),
            too_long: self.discarded.too_long.load(Ordering::Relaxed)
                + self.discarded.too_long_in.load(Ordering::Relaxed),
            not_binary: self.discarded.not_binary.load(Ordering::Relaxed),
            refused: self.admission.refused(),
        }
    }
}

impl core::fmt::Debug for DataChannelPath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DataChannelPath")
            .field("ended", &self.ended.is_cancelled())
            .field("discarded", &self.discarded())
            .finish_non_exhaustive()
    }
}

impl super::Path for DataChannelPath {
    async fn send(&self, datagram: &[u8]) -> bool {
        if datagram.len() > self.max_message {
            self.discarded.too_long.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if layers::buffered(&self.stream) + datagram.len() > MAX_BUFFERED {
            self.discarded.full.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        !self.ended.is_cancelled()
            && layers::send(&self.stream, Bytes::copy_from_slice(datagram)).await
    }

    async fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            let message = tokio::select! {
                biased;
                message = layers::recv(&self.stream, &self.admission, buffer) => message?,
                () = self.ended.cancelled() => return None,
            };
            let discarded = match message {
                Message::Binary(length) => return Some(length),
                Message::Other => &self.discarded.not_binary,
                Message::TooLong => &self.discarded.too_long_in,
            };
            discarded.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        let Counters {
            too_long_in,
            not_binary,
            ..
        } = &self.discarded;
        too_long_in.load(Ordering::Relaxed)
            + not_binary.load(Ordering::Relaxed)
            + self.admission.refused()
    }
}
