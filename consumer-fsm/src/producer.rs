//! The producer: a volunteer that announces itself and answers one consumer.

use core::fmt;
use std::time::{Duration, Instant};

use ice_gather::{Role, StunServer};
use tokio_util::sync::CancellationToken;

use crate::machine::Timing;
use crate::sdp::{MAX_CANDIDATES, SessionDescription};
use crate::signalling::wire::{Description, Genesis, IceCandidates, Kind, Offer, read, write};
use crate::signalling::{GENESIS, SignalError, Signalling};
use crate::traffic::MAX_DATAGRAM;
use crate::transport::{Path, Session, Transport, TransportError};

/// Why no consumer was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProducerError {
    /// The service failed, or the consumer vanished before the exchange was complete.
    Signalling(SignalError),
    /// The consumer sent an unusable offer or unusable candidates.
    BadConsumer,
    /// The connection did not come up.
    Transport(TransportError),
}

impl fmt::Display for ProducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signalling(error) => error.fmt(f),
            Self::BadConsumer => f.write_str("the consumer's message is unusable"),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ProducerError {}

impl From<SignalError> for ProducerError {
    fn from(error: SignalError) -> Self {
        Self::Signalling(error)
    }
}

impl From<TransportError> for ProducerError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

/// A volunteer, which serves one consumer at a time. Clones may serve side by side.
#[derive(Debug, Clone)]
pub struct Producer<S, T> {
    signalling: S,
    transport: T,
    servers: Vec<StunServer>,
    connect_timeout: Duration,
}

/// An open connection to a consumer, and the session that keeps it open.
#[derive(Debug)]
pub struct Served<N: Session> {
    /// The connection object.
    pub session: N,
    /// The connection.
    pub path: N::Path,
}

impl<N: Session> Served<N> {
    /// Sends every datagram back until the connection ends or `cancel` is cancelled, then closes
    /// it. Returns the number of datagrams.
    pub async fn echo(self, cancel: &CancellationToken) -> u64 {
        let Self { session, path } = self;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut echoed = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                received = path.recv(&mut buffer) => match received {
                    Some(length) => echoed += u64::from(path.send(&buffer[..length]).await),
                    None => break,
                }
            }
        }
        drop(path);
        session.close().await;
        echoed
    }
}

impl<S: Signalling, T: Transport> Producer<S, T> {
    /// A volunteer that asks these STUN servers for its own mapping; none are needed if it is
    /// public.
    pub const fn new(signalling: S, transport: T, servers: Vec<StunServer>) -> Self {
        Self {
            signalling,
            transport,
            servers,
            connect_timeout: Duration::from_secs(15),
        }
    }

    /// Waits this long for a connection once everything is signalled; 15 s by default.
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Announces itself until a consumer comes, answers it and connects.
    ///
    /// Cancel safe: dropped at any point it leaves nothing behind.
    ///
    /// # Errors
    /// [`ProducerError`].
    pub async fn serve(&self) -> Result<Served<T::Session>, ProducerError> {
        let mut session = self.transport.open(Role::Controlled).await?;
        match self.meet(&mut session).await {
            Ok(path) => Ok(Served { session, path }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    async fn meet(
        &self,
        session: &mut T::Session,
    ) -> Result<<T::Session as Session>::Path, ProducerError> {
        let mut gathering = session.gather(&self.servers).await;
        let gathered_at = Instant::now();
        let genesis = write(&Genesis::everywhere());
        let offer = loop {
            if let Some(reply) = self
                .signalling
                .exchange(GENESIS, Kind::Genesis, &genesis)
                .await?
            {
                break reply;
            }
        };
        if gathered_at.elapsed() >= Timing::default().mapping_age {
            gathering = session.gather(&self.servers).await;
        }
        let description: Offer = read(&offer.payload).map_err(|_| ProducerError::BadConsumer)?;
        let mut remote = SessionDescription::parse(&description.sdp.sdp)
            .map_err(|_| ProducerError::BadConsumer)?;
        let sdp = session.describe(Some(&remote), &gathering.candidates);
        let answer = write(&Description {
            kind: "answer".into(),
            sdp,
        });
        let ice = self
            .signalling
            .exchange(&offer.reply_to, Kind::Answer, &answer)
            .await?;
        let ice: IceCandidates = ice
            .and_then(|envelope| read(&envelope.payload).ok())
            .ok_or(ProducerError::BadConsumer)?;
        remote.candidates.extend(
            ice.candidates
                .iter()
                .take(MAX_CANDIDATES)
                .filter_map(|c| c.to_remote()),
        );
        Ok(session.connect(remote, self.connect_timeout).await?)
    }
}
