//! A signalling service that misbehaves on real sockets, as scripted for each of its three
//! requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::wire::{
    Description, Envelope, Genesis, IceCandidates, Kind, Offer, read, write,
};
use consumer_fsm::signalling::{GENESIS, MemorySignalling, Signalling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Running, ghost, host, service_timing};

/// The reply to a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// One byte each millisecond.
    Drip(Vec<u8>),
    /// The first, then the second again and again until the client stops reading.
    Endless(Vec<u8>, Vec<u8>),
    /// Silence for so long, then these bytes, and the end.
    Late(Duration, Vec<u8>),
    /// These bytes, then silence.
    Hang(Vec<u8>),
    /// A connection that is reset before the first byte.
    Reset,
}

/// How it answers: who listens, an offer, candidates.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) listen: Reply,
    pub(crate) offer: Reply,
    pub(crate) ice: Reply,
}

impl Default for Script {
    /// One producer that answers and takes candidates. No socket exists at its address.
    fn default() -> Self {
        Self {
            listen: ok(&(genesis() + "\n")),
            offer: ok(&answer(&ghost())),
            ice: ok(""),
        }
    }
}

/// A response with these headers and this body.
pub(crate) fn response(status: &str, headers: &str, body: &[u8]) -> Reply {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    Reply::Bytes(bytes)
}

pub(crate) fn status(status: &str) -> Reply {
    response(status, "", b"")
}

pub(crate) fn ok(body: &str) -> Reply {
    response("200 OK", "", body.as_bytes())
}

/// A genesis message as it stands in the stream, without its end.
pub(crate) fn genesis() -> String {
    write(&Envelope {
        reply_to: "p".into(),
        kind: Kind::Genesis,
        payload: write(&Genesis::everywhere()),
    })
}

/// The envelope of an answer with this description.
pub(crate) fn answer(sdp: &str) -> String {
    let payload = write(&Description {
        kind: "answer".into(),
        sdp: sdp.into(),
    });
    write(&Envelope {
        reply_to: "a".into(),
        kind: Kind::Answer,
        payload,
    })
}

/// A service that runs, and ends with this.
pub(crate) struct Service {
    requests: Arc<AtomicUsize>,
    _serving: Running,
}

impl Service {
    /// Connections so far: one for each request.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Such a service, and a client of it that gives up within half a second.
pub(crate) async fn serve(script: Script) -> (HttpSignalling, Service) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/signal", listener.local_addr().unwrap());
    let client = HttpSignalling::new(&url).unwrap();
    let client = client
        .with_timing(service_timing())
        .with_slack(Duration::from_millis(200));
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let serve = async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let script = script.clone();
            connections.spawn(async move {
                // a client that receives a bad reply hangs up, which is an error here
                let _ = respond(stream, &script).await;
            });
        }
    };
    (
        client,
        Service {
            requests,
            _serving: Running(tokio::spawn(serve)),
        },
    )
}

async fn respond(mut stream: TcpStream, script: &Script) -> std::io::Result<()> {
    // unread bytes turn a close into a reset
    let mut peeked = [0; 4];
    stream.peek(&mut peeked).await?;
    if peeked.starts_with(b"GET") && matches!(script.listen, Reply::Reset) {
        return Ok(());
    }
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let reply = if request.starts_with(b"GET") {
        &script.listen
    } else if request.ends_with(b"type=1") {
        &script.offer
    } else {
        &script.ice
    };
    match reply {
        Reply::Bytes(bytes) => stream.write_all(bytes).await?,
        Reply::Late(after, bytes) => {
            tokio::time::sleep(*after).await;
            stream.write_all(bytes).await?;
        }
        Reply::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Reply::Endless(first, again) => {
            stream.write_all(first).await?;
            loop {
                stream.write_all(again).await?;
            }
        }
        Reply::Hang(bytes) => {
            stream.write_all(bytes).await?;
            // until the client hangs up
            while stream.read(&mut [0; 64]).await? > 0 {}
        }
        Reply::Reset => reset(stream)?,
    }
    Ok(())
}

fn reset(stream: TcpStream) -> std::io::Result<()> {
    #[allow(deprecated, reason = "blocks for no time at all if it is zero")]
    stream.set_linger(Some(Duration::ZERO))
}

/// Whether header and body are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length:")
            .map(str::to_owned)
    });
    length
        .and_then(|length| length.trim().parse::<usize>().ok())
        .is_none_or(|length| body.len() >= length)
}

/// A peer that answers each offer with the offer's own credentials and the consumer's own
/// candidates.
pub(crate) fn mirror(signalling: MemorySignalling) -> Running {
    Running(tokio::spawn(async move {
        let genesis = write(&Genesis::everywhere());
        loop {
            let Ok(Some(offer)) = signalling.exchange(GENESIS, Kind::Genesis, &genesis).await
            else {
                continue;
            };
            let Ok(Offer { sdp, .. }) = read(&offer.payload) else {
                continue;
            };
            let ports = crate::peer::udp_ports();
            let own: String = ports
                .into_iter()
                .map(|port| host(([127, 0, 0, 1], port).into()))
                .collect();
            let answer = write(&Description {
                kind: "answer".into(),
                sdp: sdp.sdp + &own,
            });
            let ice = signalling
                .exchange(&offer.reply_to, Kind::Answer, &answer)
                .await;
            let Ok(Some(ice)) = ice else { continue };
            let ice: IceCandidates = read(&ice.payload).unwrap();
            assert!(
                ice.candidates
                    .iter()
                    .any(|own_one| own.contains(&own_one.port.to_string())),
                "it is its own"
            );
        }
    }))
}
