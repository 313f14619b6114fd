//! A peer that writes SCTP by hand, over real ICE and real DTLS, once the channel is open.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use consumer_fsm::transport::{IceSession, IceTransport, Path, Session, Transport, TransportError};
use consumer_fsm::{ChannelDescription, Fingerprint, SessionDescription, Setup};
use ice_gather::{Credentials, GatheredCandidate, Gathering, IceConn, Role, StunServer};
use nat_summary::{CandidateKind, Evidence};
use tokio::sync::watch;
use webrtc::dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use webrtc::dtls::conn::DTLSConn;
use webrtc::dtls::crypto::Certificate;
use webrtc::peer_connection::certificate::RTCCertificate;
use webrtc_util::{Conn, Error};

use crate::sctp::{self, FIRST, WHOLE, chunk, data, first, packet, sack};

/// The channel that the consumer opens: it is the DTLS server (RFC 8832 section 6).
pub(crate) const STREAM: u16 = 1;

/// The chunks that it sends once the channel is open.
pub(crate) type Script = for<'a> fn(&'a Wire) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Makes such a peer.
pub(crate) struct Raw {
    pub(crate) ice: IceTransport,
    pub(crate) script: Script,
    /// Set once the script has ended.
    pub(crate) said: watch::Sender<bool>,
}

pub(crate) struct RawSession {
    ice: IceSession,
    certificate: Certificate,
    script: Script,
    said: watch::Sender<bool>,
}

pub(crate) struct RawPath {
    wire: Wire,
    script: Script,
    said: watch::Sender<bool>,
}

/// An association, from its other end.
pub(crate) struct Wire {
    dtls: DTLSConn,
    /// The consumer's.
    tag: u32,
    /// The last TSN that the consumer acknowledged.
    acknowledged: AtomicU32,
}

impl Wire {
    pub(crate) async fn says(&self, chunks: &[Vec<u8>]) {
        self.writes(&packet(self.tag, chunks)).await;
    }

    pub(crate) async fn writes(&self, packet: &[u8]) {
        let _ = self.dtls.write(packet, None).await;
    }

    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    /// The first TSN that is not acknowledged.
    pub(crate) fn next(&self) -> u32 {
        self.acknowledged.load(Ordering::Relaxed).wrapping_add(1)
    }

    /// The next packet's first chunk.
    async fn hears(&self) -> Option<(u8, Vec<u8>)> {
        let mut buffer = vec![0; 8192];
        loop {
            let length = self.dtls.read(&mut buffer, None).await.ok()?;
            let Some((kind, value)) = first(&buffer[..length]) else {
                continue;
            };
            if kind == sctp::SACK {
                self.acknowledged.store(
                    u32::from_be_bytes(value[..4].try_into().ok()?),
                    Ordering::Relaxed,
                );
            }
            return Some((kind, value.to_vec()));
        }
    }

    /// SCTP's handshake and the channel's, as an honest peer has them.
    async fn opens(&mut self) -> Option<()> {
        loop {
            match self.hears().await? {
                (sctp::INIT, value) => {
                    self.tag = u32::from_be_bytes(value[..4].try_into().ok()?);
                    self.says(&[sctp::init(sctp::INIT_ACK, FIRST)]).await;
                }
                (sctp::COOKIE_ECHO, _) => self.says(&[chunk(sctp::COOKIE_ACK, 0, &[])]).await,
                (sctp::DATA, value) => {
                    let tsn = u32::from_be_bytes(value[..4].try_into().ok()?);
                    // DATA_CHANNEL_ACK (RFC 8832 section 5.2), with its own protocol identifier
                    let mut accepted = data(WHOLE & 3, FIRST, STREAM, &[2]);
                    accepted[15] = 50;
                    self.says(&[sack(tsn, &[]), accepted]).await;
                    return Some(());
                }
                _ => {}
            }
        }
    }
}

impl Transport for Raw {
    type Session = RawSession;

    async fn open(&self, role: Role) -> Result<RawSession, TransportError> {
        let certificate =
            Certificate::generate_self_signed(Vec::new()).map_err(|_| TransportError::Local)?;
        let ice = self.ice.open(role).await?;
        Ok(RawSession {
            ice,
            certificate,
            script: self.script,
            said: self.said.clone(),
        })
    }
}

impl RawSession {
    fn fingerprint(&self) -> Fingerprint {
        let told = RTCCertificate::from_existing(self.certificate.clone(), SystemTime::now())
            .get_fingerprints();
        let mut digest = [0; 32];
        for (byte, hex) in digest.iter_mut().zip(told[0].value.split(':')) {
            *byte = u8::from_str_radix(hex, 16).expect("a digest");
        }
        Fingerprint(digest)
    }
}

impl Session for RawSession {
    type Path = RawPath;

    fn credentials(&self) -> &Credentials {
        self.ice.credentials()
    }

    fn describe(
        &self,
        _offer: Option<&SessionDescription>,
        candidates: &[GatheredCandidate],
    ) -> String {
        let channel = ChannelDescription::new(self.fingerprint(), Setup::Active, 8192);
        SessionDescription::write(self.credentials(), Some(&channel), candidates)
    }

    async fn gather(&self, cohort: &[StunServer]) -> Gathering {
        self.ice.gather(cohort).await
    }

    fn evidence(&self) -> Box<Evidence> {
        self.ice.evidence()
    }

    async fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> Result<RawPath, TransportError> {
        let conn = self.ice.connect(remote, deadline).await?;
        let config = Config {
            certificates: vec![self.certificate.clone()],
            client_auth: ClientAuthType::RequireAnyClientCert,
            extended_master_secret: ExtendedMasterSecretType::Request,
            insecure_skip_verify: true,
            server_name: "localhost".to_owned(),
            ..Config::default()
        };
        let dtls = DTLSConn::new(Arc::new(UnderDtls(conn)), config, true, None);
        let dtls = tokio::time::timeout(deadline, dtls)
            .await
            .map_err(|_| TransportError::Dtls)?;
        let dtls = dtls.map_err(|_| TransportError::Dtls)?;
        let mut wire = Wire {
            dtls,
            tag: 0,
            acknowledged: AtomicU32::new(FIRST),
        };
        let opened = tokio::time::timeout(deadline, wire.opens()).await;
        opened.ok().flatten().ok_or(TransportError::Channel)?;
        Ok(RawPath {
            wire,
            script: self.script,
            said: self.said.clone(),
        })
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.ice.selected_pair()
    }

    async fn close(self) {
        self.ice.close().await;
    }
}

impl Path for RawPath {
    async fn send(&self, _datagram: &[u8]) -> bool {
        false
    }

    async fn recv(&self, _buffer: &mut [u8]) -> Option<usize> {
        let says = async {
            (self.script)(&self.wire).await;
            self.said.send_replace(true);
            // repeated, because a datagram may be lost
            for number in 0.. {
                alive(&self.wire, number).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let hears = async { while self.wire.hears().await.is_some() {} };
        tokio::select! {
            () = says => {}
            () = hears => {}
        }
        let _ = self.wire.dtls.close().await;
        None
    }
}

/// Goes on as an honest peer: abandons the unacknowledged chunks, closes the other stream, and
/// sends a datagram.
async fn alive(wire: &Wire, number: u32) {
    let given_up = wire.next() + 4_000;
    wire.says(&[sctp::forward_tsn(given_up)]).await;
    // requests are numbered from the first TSN on (RFC 6525 section 4.1)
    wire.says(&[sctp::reset(FIRST + number, given_up, STREAM + 2)])
        .await;
    wire.says(&[data(WHOLE, given_up + 1, STREAM, b"alive")])
        .await;
}

/// ICE as DTLS sees it. It returns no error, because the library would try again at once.
struct UnderDtls(IceConn);

#[async_trait]
impl Conn for UnderDtls {
    async fn connect(&self, _addr: SocketAddr) -> Result<(), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.0.recv(buffer).await {
            Some(length) => Ok(length),
            None => std::future::pending().await,
        }
    }

    async fn recv_from(&self, _buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Err(Error::ErrNoRemAddr)
    }

    async fn send(&self, buffer: &[u8]) -> Result<usize, Error> {
        let _ = self.0.send(buffer).await;
        Ok(buffer.len())
    }

    async fn send_to(&self, _buffer: &[u8], _target: SocketAddr) -> Result<usize, Error> {
        Err(Error::ErrNoRemAddr)
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Err(Error::ErrNoRemAddr)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn core::any::Any + Send + Sync) {
        self
    }
}
