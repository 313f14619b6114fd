//! The service: a [`Switchboard`] behind HTTP, open to strangers.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::{JoinHandle, JoinSet};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::ReusableBoxFuture;

use super::config::ServiceConfig;
use super::{VERSION, VERSION_HEADER};
use crate::signalling::SignalError;
use crate::signalling::budget::{Budget, Client, Share};
use crate::signalling::switchboard::{Announcements, MAX_PAYLOAD, Switchboard, SwitchboardTiming};
use crate::signalling::wire::Kind;

/// Longest body read, in bytes: percent-encoding may triple a payload.
const MAX_BODY: usize = 3 * MAX_PAYLOAD + 1024;
/// First allocation for a body, in bytes; it doubles as the body grows.
const FIRST_ROOM: usize = 4 * 1024;
/// Longest wait for a request's header, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time without a read by the client.
const DEAF: Duration = Duration::from_secs(5);
/// Pause after an error of the listening socket, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most bytes of a header, and of a body that waits to be taken.
const BUFFER: usize = 16 * 1024;
/// Most bytes in each direction that the kernel keeps for a connection. The kernel's default is up
/// to megabytes, even if the client never reads.
const KERNEL_BUFFER: u32 = 128 * 1024;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1_024;

/// A running signalling service; it ends when dropped.
///
/// Its memory and its connections are bounded, because it is open to strangers: see
/// [`ServiceConfig`] and [`SwitchboardLimits`](crate::signalling::SwitchboardLimits). A connection
/// carries one request. The client has 10 s to send the header and 10 s to send the body, and the
/// connection ends if the client reads nothing for 5 s.
#[derive(Debug)]
pub struct SignallingService {
    address: SocketAddr,
    switchboard: Switchboard,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// Connections and requests that the service refused, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Refused {
    /// Connections beyond the limits of [`ServiceConfig`].
    pub connections: u64,
    /// Requests that had no room, answered with 503.
    pub requests: u64,
    /// Connections that ended because their client did not read.
    pub deaf: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    requests: AtomicU64,
    deaf: AtomicU64,
}

impl SignallingService {
    /// Serves on `address`, with the defaults of [`ServiceConfig`].
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind(address: impl ToSocketAddrs, switchboard: Switchboard) -> io::Result<Self> {
        Self::bind_with(address, switchboard, ServiceConfig::default()).await
    }

    /// Serves on `address`, within these limits.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub async fn bind_with(
        address: impl ToSocketAddrs,
        switchboard: Switchboard,
        config: ServiceConfig,
    ) -> io::Result<Self> {
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        let counts = Arc::default();
        let server = Server {
            switchboard: switchboard.clone(),
            client_header: config.client_header,
            counts: Arc::clone(&counts),
        };
        let connections = Budget::new(config.connections, config.connections_per_address);
        let task = tokio::spawn(serve(listener, Arc::new(server), connections));
        Ok(Self {
            address,
            switchboard,
            counts,
            task,
        })
    }

    /// The address that the service listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the service, as [`HttpSignalling::new`](super::HttpSignalling::new) takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, super::DEFAULT_PATH)
    }

    /// The switchboard behind the service.
    #[must_use]
    pub const fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    /// Connections and requests refused so far.
    #[must_use]
    pub fn refused(&self) -> Refused {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Refused {
            connections: read(&self.counts.connections),
            requests: read(&self.counts.requests),
            deaf: read(&self.counts.deaf),
        }
    }
}

impl Drop for SignallingService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first of the addresses that can be bound. Connections inherit the sizes of its buffers.
async fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut failure = io::ErrorKind::InvalidInput.into();
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let listener = socket.and_then(|socket| {
            #[cfg(not(windows))] // there it would let two services share a port
            socket.set_reuseaddr(true)?;
            socket.set_send_buffer_size(KERNEL_BUFFER)?;
            socket.set_recv_buffer_size(KERNEL_BUFFER)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The state that all connections share.
struct Server {
    switchboard: Switchboard,
    client_header: Option<HeaderName>,
    counts: Arc<Counts>,
}

async fn serve(listener: TcpListener, server: Arc<Server>, connections: Budget) {
    // ends with this task, and every connection with it
    let mut open = JoinSet::new();
    loop {
        // ended connections are removed first, because they make room
        while open.try_join_next().is_some() {}
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // behind a proxy all connections come from one address, so the client is known only once
        // its request has been read
        let is_direct = server.client_header.is_none();
        let client = is_direct.then(|| Client::from(from.ip()));
        match connections.take(client, 1) {
            Some(share) => {
                drop(open.spawn(Arc::clone(&server).connection(stream, from.ip(), share)))
            }
            None => drop(server.counts.connections.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, from: IpAddr, share: Share) {
        let SwitchboardTiming {
            listen,
            genesis,
            exchange,
        } = self.switchboard.timing();
        // The longest honest connection: a header, a body, and the service's own times. It is
        // bounded because a client that reads one byte at a time would keep its reply in memory for
        // ever.
        let longest = listen.max(genesis).max(exchange) + 2 * READ_TIMEOUT;
        let share = Mutex::new(share);
        let respond = service_fn(|request| {
            let (server, share) = (&self, &share);
            async move { Ok::<_, Infallible>(server.respond(request, from, share).await) }
        });
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(DEAF));
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .max_buf_size(BUFFER)
            // a request each: the time is that of one
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), respond);
        // a client that breaks off is no fault of the service
        if let Ok(Err(error)) = tokio::time::timeout(longest, served).await
            && is_deaf(&error)
        {
            self.counts.deaf.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        from: IpAddr,
        share: &Mutex<Share>,
    ) -> Reply {
        let reply = match self.client(&request, from, share) {
            Some(client) => self.answer(request, client).await,
            None => status(StatusCode::SERVICE_UNAVAILABLE),
        };
        if reply.status() == StatusCode::SERVICE_UNAVAILABLE {
            self.counts.requests.fetch_add(1, Ordering::Relaxed);
        }
        open_to_browsers(reply)
    }

    /// The client that sent this request; `None` if the client has too many connections.
    fn client(
        &self,
        request: &Request<Incoming>,
        from: IpAddr,
        share: &Mutex<Share>,
    ) -> Option<Client> {
        let Some(header) = &self.client_header else {
            return Some(from.into());
        };
        let client = forwarded(request.headers(), header).unwrap_or(from).into();
        let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
        share.assign(client).then_some(client)
    }

    async fn answer(&self, request: Request<Incoming>, client: Client) -> Reply {
        match *request.method() {
            Method::OPTIONS => status(StatusCode::OK),
            _ if !speaks_our_version(&request) => status(StatusCode::IM_A_TEAPOT),
            Method::GET => Response::new(Either::Right(Stream::new(self.switchboard.listen()))),
            Method::POST => match self.post(request.into_body(), client).await {
                Ok(reply) => Response::new(Either::Left(Full::new(reply))),
                Err(SignalError::Gone) => status(StatusCode::NOT_FOUND),
                Err(SignalError::NoRoom) => status(StatusCode::SERVICE_UNAVAILABLE),
                Err(_) => status(StatusCode::BAD_REQUEST),
            },
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// Posts the message in this body and returns the reply envelope, empty if there is none.
    async fn post(&self, body: Incoming, client: Client) -> Result<Bytes, SignalError> {
        let reading = self.read(body, client);
        let form = tokio::time::timeout(READ_TIMEOUT, reading).await;
        let Form { to, kind, data } = form.map_err(|_| SignalError::TimedOut)??;
        let reply = self.switchboard.post_from(Some(client), &to, kind, data);
        // a body ends without the line's break
        Ok(reply
            .await?
            .map_or_else(Bytes::new, |line| line.slice(..line.len() - 1)))
    }

    /// Reads a body, no byte of which is kept beyond the client's part of the budget.
    async fn read(&self, mut body: Incoming, client: Client) -> Result<Form, SignalError> {
        let mut room = self.switchboard.room(Some(client), 0)?;
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| SignalError::Unreachable)?;
            let data = frame.into_data().unwrap_or_default();
            let length = text.len() + data.len();
            if length > MAX_BODY {
                return Err(SignalError::TooLong);
            }
            if length > text.capacity() {
                let doubled = length.max(2 * text.capacity());
                let capacity = doubled.clamp(FIRST_ROOM, MAX_BODY);
                if !room.grow(capacity - text.capacity()) {
                    return Err(SignalError::NoRoom);
                }
                text.reserve_exact(capacity - text.len());
            }
            text.extend_from_slice(&data);
        }
        Form::parse(&text).ok_or(SignalError::Malformed)
    }
}

/// The fields of a post.
struct Form {
    to: String,
    kind: Kind,
    data: String,
}

impl Form {
    fn parse(body: &[u8]) -> Option<Self> {
        let (mut data, mut to, mut kind) = (None, None, None);
        for (key, value) in form_urlencoded::parse(body) {
            match &*key {
                "data" => data = Some(value),
                "send-to" => to = Some(value),
                "type" => {
                    kind = value
                        .parse()
                        .ok()
                        .and_then(|kind: u8| Kind::try_from(kind).ok())
                }
                _ => {}
            }
        }
        Some(Self {
            to: to?.into_owned(),
            kind: kind?,
            data: data?.into_owned(),
        })
    }
}

/// Whether a connection ended because its client did not read.
fn is_deaf(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    source.is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
}

/// The last address in the last header of this name, with or without a port.
fn forwarded(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let address = last.rsplit(',').next()?.trim();
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let with_port = || address.parse().map(|address: SocketAddr| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

type Reply = Response<Either<Full<Bytes>, Stream>>;

fn status(status: StatusCode) -> Reply {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// Browsers are clients too.
fn open_to_browsers(mut response: Reply) -> Reply {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "X-BF-Version, Content-Type",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The semver major alone counts.
fn speaks_our_version(request: &Request<Incoming>) -> bool {
    let major = |version: &str| {
        let version = version.trim_start_matches('v');
        version.split('.').next().map(str::to_owned)
    };
    let theirs = request.headers().get(VERSION_HEADER);
    theirs.and_then(|value| value.to_str().ok()).and_then(major) == major(VERSION)
}

/// Genesis messages, one JSON envelope a line, until the service's patience ends or the client
/// breaks off. Each is the text that all listeners share.
struct Stream {
    next: ReusableBoxFuture<'static, (Announcements, Option<Bytes>)>,
}

impl Stream {
    fn new(announcements: Announcements) -> Self {
        Self {
            next: ReusableBoxFuture::new(next(announcements)),
        }
    }
}

async fn next(mut announcements: Announcements) -> (Announcements, Option<Bytes>) {
    let line = announcements.next().await;
    (announcements, line)
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (announcements, line) = ready!(self.next.poll(cx));
        self.next.set(next(announcements));
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_behind_a_proxy_is_the_last_address_that_a_header_names() {
        let name = HeaderName::from_static("x-forwarded-for");
        let told = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_static(value));
            }
            forwarded(&headers, &name).map(|ip| ip.to_string())
        };
        for (values, ip) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["192.0.2.1, 203.0.113.7"], Some("203.0.113.7")),
            (
                &["192.0.2.1", "198.51.100.1,203.0.113.7"],
                Some("203.0.113.7"),
            ),
            (&["203.0.113.7:443"], Some("203.0.113.7")),
            (&["2001:db8::7"], Some("2001:db8::7")),
            (&["[2001:db8::7]"], Some("2001:db8::7")),
            (&["[2001:db8::7]:443"], Some("2001:db8::7")),
            (&["203.0.113.7, unknown"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(told(values).as_deref(), ip, "{values:?}");
        }
    }
}
