//! A peer with valid keys that abuses the path: real ICE and real DTLS, SCTP by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::transport::{IceSession, IceTransport, Path, Session, Transport, TransportError};
use consumer_fsm::{ChannelDescription, Fingerprint, Producer, SessionDescription, Setup};
use ice_gather::{Credentials, GatheredCandidate, Gathering, IceConn, Role, StunServer};
use nat_summary::{CandidateKind, Evidence};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use tokio_util::sync::CancellationToken;
use webrtc::dtls::cipher_suite::CipherSuiteId;
use webrtc::dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use webrtc::dtls::conn::DTLSConn;
use webrtc::dtls::crypto::Certificate;
use webrtc::peer_connection::certificate::RTCCertificate;
use webrtc_util::{Conn, Error};

use super::Counts;
use crate::Failure;
use crate::siege::classes::{ABUSES, Act, Association, STREAM};
use crate::siege::sctp::{self, FIRST, chunk, data, first, packet, sack};

/// Datagrams between two pauses: the abuser is no flood of the network.
const BURST: u64 = 32;
const PAUSE: Duration = Duration::from_millis(1);
/// The record numbers of the abuse: far from those that the library has used.
const FAR: u64 = 1 << 32;

/// Serves the victim once, with this class.
pub(super) async fn run(
    ice: IceTransport,
    url: &str,
    class: &str,
    within: Duration,
    counts: &Arc<Counts>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let abuse = ABUSES.iter().find(|abuse| abuse.name == class);
    let act = abuse.ok_or("no abuse has that name")?.act;
    let abuser = Abuser {
        ice,
        act,
        within,
        counts: Arc::clone(counts),
    };
    let producer = Producer::new(HttpSignalling::new(url)?, abuser, Vec::new());
    let once = async {
        match producer.serve().await {
            Ok(served) => drop(served.echo(cancel).await),
            Err(error) => counts.ended(error.to_string()),
        }
    };
    tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        () = once => {}
    }
    cancel.cancelled().await;
    Ok(())
}

/// Makes such a peer.
struct Abuser {
    ice: IceTransport,
    act: Act,
    within: Duration,
    counts: Arc<Counts>,
}

struct AbuserSession {
    ice: IceSession,
    certificate: Certificate,
    act: Act,
    within: Duration,
    counts: Arc<Counts>,
}

struct AbuserPath {
    conn: Arc<IceConn>,
    wire: Option<Wire>,
    act: Act,
    within: Duration,
    counts: Arc<Counts>,
}

/// The keys of this side.
struct Wire {
    dtls: DTLSConn,
    key: LessSafeKey,
    salt: [u8; 4],
    tag: u32,
    theirs: AtomicU32,
}

impl Transport for Abuser {
    type Session = AbuserSession;

    async fn open(&self, role: Role) -> Result<AbuserSession, TransportError> {
        let certificate =
            Certificate::generate_self_signed(Vec::new()).map_err(|_| TransportError::Local)?;
        Ok(AbuserSession {
            ice: self.ice.open(role).await?,
            certificate,
            act: self.act,
            within: self.within,
            counts: Arc::clone(&self.counts),
        })
    }
}

impl AbuserSession {
    fn fingerprint(&self) -> Fingerprint {
        let shown = RTCCertificate::from_existing(self.certificate.clone(), SystemTime::now())
            .get_fingerprints();
        let mut digest = [0; 32];
        let value = shown
            .first()
            .map(|shown| shown.value.clone())
            .unwrap_or_default();
        for (byte, hex) in digest.iter_mut().zip(value.split(':')) {
            *byte = u8::from_str_radix(hex, 16).unwrap_or_default();
        }
        Fingerprint(digest)
    }
}

impl Session for AbuserSession {
    type Path = AbuserPath;

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
    ) -> Result<AbuserPath, TransportError> {
        let conn = Arc::new(self.ice.connect(remote, deadline).await?);
        let wire = match self.act {
            Act::Instead(_) => None,
            _ => {
                let opened = Wire::open(Arc::clone(&conn), self.certificate.clone());
                let opened = tokio::time::timeout(deadline, opened).await;
                Some(opened.ok().flatten().ok_or(TransportError::Dtls)?)
            }
        };
        self.counts.up.store(1, Ordering::Relaxed);
        Ok(AbuserPath {
            conn,
            wire,
            act: self.act,
            within: self.within,
            counts: Arc::clone(&self.counts),
        })
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.ice.selected_pair()
    }

    async fn close(self) {
        self.counts.up.store(0, Ordering::Relaxed);
        self.ice.close().await;
    }
}

impl Path for AbuserPath {
    async fn send(&self, _datagram: &[u8]) -> bool {
        false
    }

    /// Ends once all was sent, or the victim has ended the path.
    async fn recv(&self, _buffer: &mut [u8]) -> Option<usize> {
        let hears = async {
            match &self.wire {
                Some(wire) => while wire.hears().await.is_some() {},
                None => while self.conn.recv(&mut [0; 2048]).await.is_some() {},
            }
        };
        tokio::select! {
            () = self.abuse() => {}
            () = hears => {}
        }
        None
    }
}

impl AbuserPath {
    async fn abuse(&self) {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut association = Association {
            tag: 0,
            tsn: FIRST + 1,
            theirs: 0,
        };
        let (began, mut number) = (Instant::now(), 0);
        while began.elapsed() < self.within {
            let datagram = match (self.act, &self.wire) {
                (Act::Instead(make) | Act::Clear(make), _) => make(&mut rng),
                (Act::Sealed(make), Some(wire)) => {
                    let (kind, content) = make(&mut rng);
                    wire.seal(kind, number, &content)
                }
                (Act::Sctp(_) | Act::Packet(_), Some(wire)) => {
                    association.tag = wire.tag;
                    association.theirs = wire.theirs.load(Ordering::Relaxed);
                    let packet = match self.act {
                        Act::Packet(make) => make(&mut rng, &mut association),
                        Act::Sctp(make) => packet(wire.tag, &make(&mut rng, &mut association)),
                        _ => return,
                    };
                    wire.seal(23, number, &packet)
                }
                _ => return,
            };
            // the socket may be full for a moment
            let _ = self.conn.send(&datagram).await;
            number += 1;
            self.counts.sent.fetch_add(1, Ordering::Relaxed);
            if number % BURST == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Wire {
    /// DTLS, SCTP and the channel, as an honest peer opens them.
    async fn open(conn: Arc<IceConn>, certificate: Certificate) -> Option<Self> {
        let config = Config {
            certificates: vec![certificate],
            cipher_suites: vec![CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256],
            client_auth: ClientAuthType::RequireAnyClientCert,
            extended_master_secret: ExtendedMasterSecretType::Request,
            insecure_skip_verify: true,
            server_name: "localhost".to_owned(),
            ..Config::default()
        };
        let dtls = DTLSConn::new(Arc::new(UnderDtls(conn)), config, true, None);
        let dtls = dtls.await.ok()?;
        let state = dtls.connection_state().await.key_log_data().ok()?;
        // RFC 5246 section 6.3: no MAC keys, two keys, two salts
        let seed = [
            b"key expansion",
            &state.remote_random[..],
            &state.local_random,
        ]
        .concat();
        let block = expand(&state.master_secret, &seed, 40);
        let key = UnboundKey::new(&AES_128_GCM, block.get(..16)?).ok()?;
        let mut wire = Self {
            dtls,
            key: LessSafeKey::new(key),
            salt: *block.get(32..)?.first_chunk()?,
            tag: 0,
            theirs: AtomicU32::new(0),
        };
        loop {
            match wire.hears().await? {
                (sctp::INIT, value) => {
                    wire.tag = u32::from_be_bytes(*value.first_chunk()?);
                    wire.writes(&[sctp::init(sctp::INIT_ACK, FIRST)]).await;
                }
                (sctp::COOKIE_ECHO, _) => {
                    wire.writes(&[chunk(sctp::COOKIE_ACK, 0, &[])]).await;
                }
                (sctp::DATA, value) => {
                    let tsn = u32::from_be_bytes(*value.first_chunk()?);
                    // DATA_CHANNEL_ACK (RFC 8832 section 5.2)
                    let accepted = data(0b011, FIRST, STREAM, sctp::DCEP, &[2]);
                    wire.writes(&[sack(tsn, &[]), accepted]).await;
                    return Some(wire);
                }
                _ => {}
            }
        }
    }

    async fn writes(&self, chunks: &[Vec<u8>]) {
        let _ = self.dtls.write(&packet(self.tag, chunks), None).await;
    }

    /// The next packet's first chunk.
    async fn hears(&self) -> Option<(u8, Vec<u8>)> {
        let mut buffer = vec![0; 8192];
        loop {
            let length = self.dtls.read(&mut buffer, None).await.ok()?;
            let Some((kind, value)) = first(&buffer[..length]) else {
                continue;
            };
            if let (sctp::DATA, Some(tsn)) = (kind, value.first_chunk()) {
                self.theirs
                    .store(u32::from_be_bytes(*tsn), Ordering::Relaxed);
            }
            return Some((kind, value.to_vec()));
        }
    }

    /// A record under the keys of this side (RFC 5288 section 3, RFC 6347 section 4.1).
    fn seal(&self, kind: u8, number: u64, content: &[u8]) -> Vec<u8> {
        let sequence = ((1 << 48) | (FAR + number)).to_be_bytes();
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&sequence);
        let length = (content.len() as u16).to_be_bytes();
        let additional = [&sequence[..], &[kind, 0xfe, 0xfd], &length].concat();
        let mut sealed = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        if self
            .key
            .seal_in_place_append_tag(nonce, Aad::from(additional), &mut sealed)
            .is_err()
        {
            sealed.clear();
        }
        let length = (8 + sealed.len() as u16).to_be_bytes();
        [
            &[kind, 0xfe, 0xfd][..],
            &sequence,
            &length,
            &sequence,
            &sealed,
        ]
        .concat()
    }
}

/// P_SHA256 (RFC 5246 section 5).
fn expand(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut block = Vec::new();
    let mut step = hmac::sign(&key, seed);
    while block.len() < length {
        let part = hmac::sign(&key, &[step.as_ref(), seed].concat());
        block.extend_from_slice(part.as_ref());
        step = hmac::sign(&key, step.as_ref());
    }
    block.truncate(length);
    block
}

/// ICE as DTLS sees it: without an error, because the library would try again at once.
struct UnderDtls(Arc<IceConn>);

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
