//! DTLS, SCTP and the channel: built from below, watched, and taken down from above, in one task
//! that owns them.
//!
//! With `conn` and `certificate`, the one place that names these libraries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dtls::cipher_suite::CipherSuiteId;
use dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use ice_gather::{IceConn, IceState};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webrtc_data::data_channel::DataChannel;
use webrtc_data::message::message_channel_open::ChannelType;
use webrtc_sctp::association::Association;
use webrtc_sctp::chunk::chunk_payload_data::PayloadProtocolIdentifier;
use webrtc_sctp::stream::ReliabilityType;
pub(super) use webrtc_sctp::stream::Stream;

use super::TransportError;
use super::admission::{Admission, WINDOW};
use super::certificate::{Identity, fingerprint};
use super::conn::{Between, Seam, UnderDtls, UnderSctp};
use crate::sdp::ChannelDescription;

/// The channel's name.
const LABEL: &str = "data";
/// Channels that are refused before the peer is given up: of other names, and then of any.
const MAX_REFUSED: usize = 16;
/// Until a flight of the handshake is sent again. RFC 6347 section 4.2.4.1 has 1 s and a doubling;
/// the library knows no doubling, and the whole channel has five seconds.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait for the last word of DTLS to leave.
const LAST_WORD: Duration = Duration::from_millis(250);
/// Longest wait for the libraries' tasks to end; they do within milliseconds.
const TASKS_TIMEOUT: Duration = Duration::from_secs(5);

/// All there is to know before the first record.
pub(super) struct Opening {
    pub(super) identity: Identity,
    pub(super) peer: ChannelDescription,
    pub(super) is_dtls_client: bool,
    pub(super) opens_channel: bool,
    pub(super) max_message: u32,
    pub(super) admission: Arc<Admission>,
    pub(super) until: Instant,
}

/// Builds the layers on `conn`, hands the channel over, and takes all down once `cancel` says so or
/// a layer has ended.
pub(super) async fn run(
    conn: IceConn,
    opening: Opening,
    cancel: CancellationToken,
    ended: CancellationToken,
    opened: oneshot::Sender<Result<Arc<Stream>, TransportError>>,
) {
    let mut state = conn.state();
    let at_the_end = state.clone();
    let mut layers = Layers {
        ice: UnderDtls::new(conn, ended.clone()),
        dtls: None,
        sctp: None,
    };
    let until = opening.until;
    let ice_ended = async {
        // without a sender the agent is gone
        let _ = state
            .wait_for(|state| matches!(state, IceState::Failed | IceState::Closed))
            .await;
    };
    let built_and_ended = async {
        let built = tokio::time::timeout_at(until, layers.build(&opening, &ended)).await;
        let built = built.unwrap_or_else(|_| {
            Err(if layers.dtls.is_none() {
                TransportError::Dtls
            } else {
                TransportError::Channel
            })
        });
        // a pair that died takes every layer above with it, and their failure means nothing
        let built = match built {
            Err(_) if *at_the_end.borrow() != IceState::Connected => Err(TransportError::Failed),
            built => built,
        };
        let is_open = built.is_ok();
        // whoever waited may be gone
        if opened.send(built).is_ok() && is_open {
            tokio::select! {
                () = ended.cancelled() => {}
                () = layers.are_lost() => {}
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = ice_ended => {}
        () = built_and_ended => {}
    }
    ended.cancel();
    layers.tear_down().await;
}

/// What was built so far.
struct Layers {
    ice: Arc<Between<UnderDtls>>,
    dtls: Option<Arc<DTLSConn>>,
    sctp: Option<Sctp>,
}

struct Sctp {
    seam: Arc<Between<UnderSctp>>,
    association: Option<Arc<Association>>,
}

impl Layers {
    async fn build(
        &mut self,
        opening: &Opening,
        ended: &CancellationToken,
    ) -> Result<Arc<Stream>, TransportError> {
        let dtls = Arc::new(handshake(&self.ice, opening).await?);
        self.dtls = Some(Arc::clone(&dtls));
        self.ice.0.handshake_is_done();
        // the library asked us during the handshake; this does not depend on when it does
        let certificates = dtls.connection_state().await.peer_certificates;
        if !certificates
            .first()
            .is_some_and(|der| opening.peer.fingerprints.contains(&fingerprint(der)))
        {
            return Err(TransportError::Fingerprint);
        }

        let seam = UnderSctp::new(dtls, ended.clone(), Arc::clone(&opening.admission));
        let sctp = self.sctp.insert(Sctp {
            seam: Arc::clone(&seam),
            association: None,
        });
        let config = webrtc_sctp::association::Config {
            net_conn: seam,
            max_receive_buffer_size: WINDOW,
            max_message_size: opening.max_message,
            mtu: 0,
            name: String::new(),
            remote_port: opening.peer.sctp_port,
            local_port: 5000,
        };
        // both sides do: RFC 8841 section 9.3
        let association = Association::client(config)
            .await
            .map_err(|_| TransportError::Channel)?;
        let association = Arc::clone(sctp.association.insert(Arc::new(association)));
        if opening.opens_channel {
            // even numbers are the DTLS client's, odd ones the server's (RFC 8832 section 6)
            open(&association, u16::from(!opening.is_dtls_client)).await
        } else {
            accept(&association).await
        }
    }

    /// Until there is no use in them any more, though none has ended.
    async fn are_lost(&self) {
        let Some(Sctp {
            seam,
            association: Some(association),
        }) = &self.sctp
        else {
            return;
        };
        tokio::select! {
            () = seam.0.is_lost() => {}
            () = refuse_all(association) => {}
        }
    }

    /// The order matters: each layer says its last word through the one below.
    async fn tear_down(self) {
        let Self { ice, dtls, sctp } = self;
        if let Some(Sctp { seam, association }) = sctp {
            seam.0.end();
            if let Some(association) = association {
                let _ = tokio::time::timeout(TASKS_TIMEOUT, association.close()).await;
            }
            alone(&seam).await;
        }
        if let Some(dtls) = dtls {
            let _ = tokio::time::timeout(LAST_WORD, dtls.close()).await;
        }
        alone(&ice).await;
    }
}

/// Waits until the library's tasks have let go of a seam.
async fn alone<T>(seam: &Arc<T>) {
    let gone = async {
        while Arc::strong_count(seam) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(TASKS_TIMEOUT, gone).await;
}

async fn handshake(
    ice: &Arc<Between<UnderDtls>>,
    opening: &Opening,
) -> Result<DTLSConn, TransportError> {
    let is_other = Arc::new(AtomicBool::new(false));
    let (expected, found_other) = (opening.peer.fingerprints.clone(), Arc::clone(&is_other));
    let config = Config {
        certificates: vec![opening.identity.certificate()],
        cipher_suites: vec![
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
            CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
        ],
        // nobody sends media here, but every stack of WebRTC offers it, and some insist on an
        // answer (RFC 8827 section 6.5)
        srtp_protection_profiles: vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ],
        client_auth: ClientAuthType::RequireAnyClientCert,
        extended_master_secret: ExtendedMasterSecretType::Request,
        flight_interval: FLIGHT_INTERVAL,
        // no authority stands behind a certificate of WebRTC: its digest came with the signalling
        insecure_skip_verify: true,
        verify_peer_certificate: Some(Arc::new(move |certificates, _| {
            if certificates
                .first()
                .is_some_and(|der| expected.contains(&fingerprint(der)))
            {
                return Ok(());
            }
            found_other.store(true, Ordering::Relaxed);
            Err(dtls::Error::ErrVerifyDataMismatch)
        })),
        // the library wants a name, and puts the peer's address there if it has none
        server_name: "localhost".to_owned(),
        ..Config::default()
    };
    DTLSConn::new(Arc::clone(ice) as _, config, opening.is_dtls_client, None)
        .await
        .map_err(|_| {
            if is_other.load(Ordering::Relaxed) {
                TransportError::Fingerprint
            } else {
                TransportError::Dtls
            }
        })
}

/// Opens the channel. Messages may follow at once; until the peer's acknowledgement they are
/// ordered (RFC 8832 section 6).
async fn open(association: &Arc<Association>, id: u16) -> Result<Arc<Stream>, TransportError> {
    let stream = association
        .open_stream(id, PayloadProtocolIdentifier::Binary)
        .await
        .map_err(|_| TransportError::Channel)?;
    let config = webrtc_data::data_channel::Config {
        channel_type: ChannelType::PartialReliableRexmitUnordered,
        label: LABEL.to_owned(),
        ..Default::default()
    };
    DataChannel::client(Arc::clone(&stream), config)
        .await
        .map_err(|_| TransportError::Channel)?;
    Ok(stream)
}

/// Takes the first channel of our name; others are refused by a reset (RFC 8831 section 6.7).
async fn accept(association: &Arc<Association>) -> Result<Arc<Stream>, TransportError> {
    for _ in 0..MAX_REFUSED {
        let stream = association
            .accept_stream()
            .await
            .ok_or(TransportError::Channel)?;
        stream.set_default_payload_type(PayloadProtocolIdentifier::Binary);
        let config = webrtc_data::data_channel::Config::default();
        match DataChannel::server(Arc::clone(&stream), config).await {
            Ok(channel) if channel.config.label == LABEL => return Ok(stream),
            _ => refuse(&stream).await,
        }
    }
    Err(TransportError::Channel)
}

async fn refuse(stream: &Stream) {
    let _ = stream.shutdown(std::net::Shutdown::Both).await;
}

/// Refuses whatever the peer opens beside our channel; nobody would read it. Ends once that is
/// enough.
async fn refuse_all(association: &Association) {
    for _ in 0..MAX_REFUSED {
        let Some(stream) = association.accept_stream().await else {
            return;
        };
        refuse(&stream).await;
    }
    let _ = association.accept_stream().await;
}

/// A message that came in.
pub(super) enum Message {
    /// Binary, of this length.
    Binary(usize),
    /// Text, or of an unknown kind.
    Other,
    /// Longer than the buffer.
    TooLong,
}

/// Bytes that the peer has not acknowledged yet.
pub(super) fn buffered(stream: &Stream) -> usize {
    stream.buffered_amount()
}

/// Sends one message; never waits while [`buffered`] is below the library's limit.
pub(super) async fn send(stream: &Stream, datagram: Bytes) -> bool {
    // SCTP has no empty messages: RFC 8831 section 6.6
    let (datagram, kind) = if datagram.is_empty() {
        (
            Bytes::from_static(&[0]),
            PayloadProtocolIdentifier::BinaryEmpty,
        )
    } else {
        (datagram, PayloadProtocolIdentifier::Binary)
    };
    stream.write_sctp(&datagram, kind).await.is_ok()
}

/// The next message; none once the channel was closed. Cancel safe.
pub(super) async fn recv(
    stream: &Stream,
    admission: &Admission,
    buffer: &mut [u8],
) -> Option<Message> {
    use PayloadProtocolIdentifier as Kind;
    loop {
        let read = stream.read_sctp(buffer).await;
        match &read {
            Ok((length, _)) => admission.read(*length),
            // at least
            Err(webrtc_sctp::Error::ErrShortBuffer { size }) => admission.read(*size),
            Err(_) => {}
        }
        return match read {
            Ok((0, Kind::Unknown)) => None,
            Ok((_, Kind::Dcep)) => {
                // the peer's acknowledgement: from now on as the channel was opened
                stream.set_reliability_params(true, ReliabilityType::Rexmit, 0);
                continue;
            }
            Ok((length, Kind::Binary)) => Some(Message::Binary(length)),
            Ok((_, Kind::BinaryEmpty)) => Some(Message::Binary(0)),
            Ok(_) => Some(Message::Other),
            Err(webrtc_sctp::Error::ErrShortBuffer { .. }) => Some(Message::TooLong),
            Err(_) => None,
        };
    }
}
