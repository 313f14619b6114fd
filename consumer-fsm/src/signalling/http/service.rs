//! The service: a [`Switchboard`] behind HTTP.

use core::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::{VERSION, VERSION_HEADER};
use crate::signalling::switchboard::{MAX_PAYLOAD, Posted, Switchboard};
use crate::signalling::wire::{Kind, write};
use crate::signalling::{Listener, MemorySignalling, SignalError, Signalling, SwitchboardTiming};

/// Most connections served at once; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 1024;
/// Longest wait for a request's header, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of the listening socket, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running signalling service; it ends when dropped.
#[derive(Debug)]
pub struct SignallingService {
    address: SocketAddr,
    switchboard: Switchboard,
    task: JoinHandle<()>,
}

impl SignallingService {
    /// Serves on `address`.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind(address: impl ToSocketAddrs, switchboard: Switchboard) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, switchboard.clone()));
        Ok(Self {
            address,
            switchboard,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give to a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, super::DEFAULT_PATH)
    }

    /// What is behind it.
    #[must_use]
    pub const fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }
}

impl Drop for SignallingService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, switchboard: Switchboard) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let SwitchboardTiming {
        listen,
        genesis,
        exchange,
    } = switchboard.timing();
    // a header, a body and the service's own patience: a client that does not read would hold what
    // is for it for ever
    let longest = listen.max(genesis).max(exchange) + 2 * READ_TIMEOUT;
    // ends with this task, and every connection with it
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let switchboard = switchboard.clone();
        connections.spawn(async move {
            let _permit = permit;
            let respond = service_fn(|request| {
                let switchboard = switchboard.clone();
                async move { Ok::<_, Infallible>(respond(request, &switchboard).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                // a request each: the time is that of one
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), respond);
            // a client that breaks off is no fault of the service
            let _ = tokio::time::timeout(longest, served).await;
        });
    }
}

type Reply = Response<Either<Full<Bytes>, Stream>>;

async fn respond(request: Request<Incoming>, switchboard: &Switchboard) -> Reply {
    let mut response = match *request.method() {
        Method::OPTIONS => status(StatusCode::OK),
        _ if !speaks_our_version(&request) => status(StatusCode::IM_A_TEAPOT),
        Method::GET => stream(switchboard.clone()).await,
        Method::POST => post(request, switchboard).await,
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    };
    // browsers are clients too
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::HeaderValue::from_static("X-BF-Version, Content-Type"),
    );
    response
}

/// The semver major alone counts.
fn speaks_our_version(request: &Request<Incoming>) -> bool {
    let major = |version: &str| {
        version
            .trim_start_matches('v')
            .split('.')
            .next()
            .map(str::to_owned)
    };
    let theirs = request
        .headers()
        .get(VERSION_HEADER)
        .and_then(|value| value.to_str().ok());
    theirs.and_then(major) == major(VERSION)
}

fn status(status: StatusCode) -> Reply {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

async fn post(request: Request<Incoming>, switchboard: &Switchboard) -> Reply {
    // percent-encoding may triple a payload
    let body = Limited::new(request.into_body(), 3 * MAX_PAYLOAD + 1024).collect();
    let Ok(Ok(body)) = tokio::time::timeout(READ_TIMEOUT, body).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    let (mut data, mut to, mut kind) = (None, None, None);
    for (key, value) in form_urlencoded::parse(&body) {
        match &*key {
            "data" => data = Some(value.into_owned()),
            "send-to" => to = Some(value.into_owned()),
            "type" => {
                kind = value
                    .parse::<u8>()
                    .ok()
                    .and_then(|number| Kind::try_from(number).ok())
            }
            _ => {}
        }
    }
    let (Some(data), Some(to), Some(kind)) = (data, to, kind) else {
        return status(StatusCode::BAD_REQUEST);
    };
    match switchboard.post(&to, kind, data).await {
        Ok(Posted::Reply(envelope)) => Response::new(Either::Left(Full::from(write(&envelope)))),
        Ok(Posted::Nothing) => status(StatusCode::OK),
        Err(SignalError::Gone) => status(StatusCode::NOT_FOUND),
        Err(_) => status(StatusCode::BAD_REQUEST),
    }
}

/// Genesis messages, one JSON envelope a line, until the service's patience ends or the client
/// breaks off.
async fn stream(switchboard: Switchboard) -> Reply {
    let Ok(mut listener) = MemorySignalling::new(switchboard).listen().await else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let (lines, body) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(Ok(envelope)) = listener.next().await {
            if lines
                .send(Bytes::from(write(&envelope) + "\n"))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    Response::new(Either::Right(Stream { lines: body, task }))
}

/// A body of lines; its source ends with it.
struct Stream {
    lines: mpsc::Receiver<Bytes>,
    task: JoinHandle<()>,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines
            .poll_recv(cx)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
