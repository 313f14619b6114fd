//! A client of the service. Each request has its own connection, which ends with the request.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

#[cfg(feature = "tls")]
use super::tls::Tls;
use super::{VERSION, VERSION_HEADER, connect};
use crate::signalling::wire::{Envelope, Kind, read};
use crate::signalling::{Listener, SignalError, Signalling, SwitchboardTiming};
use crate::wait::bounded;

/// Longest reply read, in bytes.
const MAX_REPLY: usize = 256 * 1024;
/// Longest wait for a connection. Also added to the service's own time for a reply.
const SLACK: Duration = Duration::from_secs(5);

/// A client of the signalling service over plain HTTP, or over TLS with the feature `tls`.
///
/// A redirect is an error and never followed, because an offer must only reach the service that the
/// user named.
#[derive(Debug, Clone)]
pub struct HttpSignalling {
    authority: String,
    path: String,
    timing: SwitchboardTiming,
    slack: Duration,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl HttpSignalling {
    /// A client of the service at `url`, such as `http://localhost:9000/v1/signal`.
    ///
    /// # Errors
    /// [`SignalError::Url`] if it is no `http` URL with a host. For `https`, use `secure` (feature
    /// `tls`), because the user has to choose the trusted certificates.
    pub fn new(url: &str) -> Result<Self, SignalError> {
        Self::of(&url.parse().map_err(|_| SignalError::Url)?, "http", 80)
    }

    /// A client of the service at an `https` URL, over TLS. The configuration sets the trusted
    /// certificates, the versions and the cipher suites.
    ///
    /// # Errors
    /// [`SignalError::Url`] if it is no `https` URL with a host.
    #[cfg(feature = "tls")]
    pub fn secure(
        url: &str,
        config: Arc<tokio_rustls::rustls::ClientConfig>,
    ) -> Result<Self, SignalError> {
        let uri: Uri = url.parse().map_err(|_| SignalError::Url)?;
        let mut client = Self::of(&uri, "https", 443)?;
        client.tls = Some(Tls::new(uri.host().unwrap_or_default(), config)?);
        Ok(client)
    }

    fn of(uri: &Uri, scheme: &str, port: u16) -> Result<Self, SignalError> {
        let host = uri
            .host()
            .filter(|_| uri.scheme_str() == Some(scheme))
            .ok_or(SignalError::Url)?;
        let path = uri
            .path_and_query()
            .map_or(super::DEFAULT_PATH, |path| path.as_str());
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(port)),
            path: path.to_owned(),
            timing: SwitchboardTiming::default(),
            slack: SLACK,
            #[cfg(feature = "tls")]
            tls: None,
        })
    }

    /// Sets the times of the service, if they differ from the default ones.
    #[must_use]
    pub const fn with_timing(mut self, timing: SwitchboardTiming) -> Self {
        self.timing = timing.bounded();
        self
    }

    /// Sets the longest wait for a connection, TLS included; 5 s by default. A reply may take as
    /// long on top of the service's own times, during which the service may send nothing, not even
    /// the head of its response. A reply that is incomplete by then is dropped, even if it is still
    /// arriving.
    #[must_use]
    pub const fn with_slack(mut self, slack: Duration) -> Self {
        self.slack = bounded(slack);
        self
    }

    /// Sends a request and returns the head of the response. Only the connection has a time-out
    /// here, because each caller waits a different time for the response.
    async fn send(
        &self,
        method: Method,
        body: String,
    ) -> Result<(Response<Incoming>, Connection), SignalError> {
        let connected_by = Instant::now() + self.slack;
        let connecting = timeout_at(connected_by, connect::to(&self.authority));
        let stream = connecting
            .await
            .map_err(|_| SignalError::TimedOut)?
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => SignalError::NoSuchName,
                io::ErrorKind::ConnectionRefused => SignalError::Refused,
                _ => SignalError::Unreachable,
            })?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = timeout_at(connected_by, tls.connect(stream))
                .await
                .map_err(|_| SignalError::TimedOut)??;
            return self.request(stream, method, body).await;
        }
        self.request(stream, method, body).await
    }

    async fn request(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: Method,
        body: String,
    ) -> Result<(Response<Incoming>, Connection), SignalError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| SignalError::Unreachable)?;
        let connection = Connection(tokio::spawn(async move {
            // its errors also reach the caller, which waits for the response
            let _ = connection.await;
        }));
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header(header::HOST, &self.authority)
            .header(VERSION_HEADER, VERSION);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| SignalError::Rejected)?;
        let response = sender.send_request(request).await.map_err(|error| {
            if error.is_parse() {
                SignalError::NotHttp
            } else {
                SignalError::Unreachable
            }
        })?;
        match response.status() {
            StatusCode::OK => Ok((response, connection)),
            StatusCode::NOT_FOUND => Err(SignalError::Gone),
            StatusCode::IM_A_TEAPOT => Err(SignalError::Version),
            StatusCode::SERVICE_UNAVAILABLE => Err(SignalError::NoRoom),
            StatusCode::BAD_REQUEST => Err(SignalError::Rejected),
            other => Err(SignalError::Status(other.as_u16())),
        }
    }
}

/// A stream that ends earlier than this without a message is not the service's, because the service
/// holds its streams open for seconds.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The task that drives a connection. Dropping this ends the task.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Signalling for HttpSignalling {
    type Listener = HttpListener;

    async fn listen(&self) -> Result<HttpListener, SignalError> {
        let asked = Instant::now();
        let until = asked + self.timing.listen + self.slack;
        // a service may keep even the head back until the first producer comes, or its time is over
        let sent = timeout_at(until, self.send(Method::GET, String::new()));
        let sent = sent.await.map_err(|_| SignalError::TimedOut)?;
        let (response, connection) = sent.map_err(|error| match error {
            // a listener asks for no recipient
            SignalError::Gone => SignalError::Status(StatusCode::NOT_FOUND.as_u16()),
            error => error,
        })?;
        Ok(HttpListener {
            body: response.into_body(),
            lines: Lines::default(),
            until,
            empty_until: Some(asked + self.timing.listen.min(2 * AT_ONCE) / 2),
            _connection: connection,
        })
    }

    async fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> Result<Option<Envelope>, SignalError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("data", payload)
            .append_pair("send-to", to)
            .append_pair("type", &u8::from(kind).to_string())
            .finish();
        let exchange = async {
            let (response, _connection) = self.send(Method::POST, form).await?;
            let body = Limited::new(response.into_body(), MAX_REPLY)
                .collect()
                .await;
            let body = body.map_err(|error| {
                let is_limit = error
                    .downcast_ref::<http_body_util::LengthLimitError>()
                    .is_some();
                if is_limit {
                    SignalError::TooLong
                } else {
                    SignalError::Unreachable
                }
            })?;
            let body = body.to_bytes();
            if body.is_empty() {
                return Ok(None);
            }
            read(core::str::from_utf8(&body).map_err(|_| SignalError::Malformed)?).map(Some)
        };
        timeout(
            self.timing.genesis.max(self.timing.exchange) + self.slack,
            exchange,
        )
        .await
        .map_err(|_| SignalError::TimedOut)?
    }
}

/// The genesis messages of the service, in the order of their arrival.
#[derive(Debug)]
pub struct HttpListener {
    body: Incoming,
    lines: Lines,
    until: Instant,
    /// A stream that ends before this instant without any data is reported as an error. `None` once
    /// data has arrived.
    empty_until: Option<Instant>,
    _connection: Connection,
}

impl Listener for HttpListener {
    async fn next(&mut self) -> Option<Result<Envelope, SignalError>> {
        // The time is compared here as well, because the time-out below never fires for a service
        // that floods: its next frame is always ready.
        while Instant::now() < self.until {
            if let Some(line) = self.lines.next() {
                return Some(line.and_then(|line| read(&line)));
            }
            // yields now and then, because a loop that never waits could not be cancelled
            tokio::task::consume_budget().await;
            let Some(frame) = timeout_at(self.until, self.body.frame()).await.ok()? else {
                let is_empty = self
                    .empty_until
                    .take()
                    .is_some_and(|end| Instant::now() < end);
                return is_empty.then_some(Err(SignalError::Empty));
            };
            self.empty_until = None;
            self.lines.push(frame.ok()?.into_data().unwrap_or_default());
        }
        None
    }
}

/// Cuts a stream into lines of at most [`MAX_REPLY`] bytes. Lines are cut one at a time, because a
/// chunk may hold 100,000 of them.
#[derive(Debug, Default)]
struct Lines {
    chunk: Bytes,
    partial: Vec<u8>,
    overlong: bool,
}

impl Lines {
    /// Takes the next chunk of the stream. All lines of the chunk before must have been taken.
    fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    fn next(&mut self) -> Option<Result<String, SignalError>> {
        while !self.chunk.is_empty() {
            let end = self.chunk.iter().position(|byte| *byte == b'\n');
            let piece = self.chunk.split_to(end.unwrap_or(self.chunk.len()));
            self.chunk.advance(end.map_or(0, |_| 1));
            if self.overlong {
                self.overlong = end.is_none();
            } else if self.partial.len() + piece.len() > MAX_REPLY {
                // reported at once, because such a line may never end
                self.partial = Vec::new();
                self.overlong = end.is_none();
                return Some(Err(SignalError::TooLong));
            } else {
                self.partial.extend_from_slice(&piece);
                if end.is_some() {
                    let line = core::mem::take(&mut self.partial);
                    if !line.trim_ascii().is_empty() {
                        return Some(String::from_utf8(line).map_err(|_| SignalError::Malformed));
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines in these chunks.
    fn cut<'a>(
        lines: &mut Lines,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Result<String, SignalError>> {
        let mut taken = Vec::new();
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk));
            taken.extend(core::iter::from_fn(|| lines.next()));
        }
        taken
    }

    #[test]
    fn a_stream_is_cut_into_lines_wherever_its_chunks_end() {
        let mut lines = Lines::default();
        let taken = cut(
            &mut lines,
            ["one\ntw", "o", "\n\n", "three"].map(str::as_bytes),
        );
        assert_eq!(taken, [Ok("one".into()), Ok("two".into())]);
        assert_eq!(
            cut(&mut lines, [&b"\nfour\nfive"[..]]),
            [Ok("three".into()), Ok("four".into())]
        );
    }

    #[test]
    fn a_line_without_end_is_told_once_and_dropped_and_the_next_one_read() {
        let mut lines = Lines::default();
        assert_eq!(
            cut(&mut lines, [&[b'x'; 10_000][..]; 100]),
            [Err(SignalError::TooLong)]
        );
        assert!(lines.partial.capacity() <= MAX_REPLY);
        let taken = cut(&mut lines, [&b"\nnext\n\xff\n"[..]]);
        assert_eq!(taken, [Ok("next".into()), Err(SignalError::Malformed)]);
        let within_a_chunk = [&[b'x'; MAX_REPLY + 1][..], b"\nnext\n"].concat();
        assert_eq!(
            cut(&mut lines, [&within_a_chunk[..]]),
            [Err(SignalError::TooLong), Ok("next".into())]
        );
    }

    #[test]
    fn only_http_urls_with_a_host_are_taken() {
        assert!(HttpSignalling::new("http://localhost:9000/v1/signal").is_ok());
        for url in [
            "",
            "localhost",
            "https://localhost/",
            "ftp://localhost/",
            "http://",
        ] {
            assert_eq!(
                HttpSignalling::new(url).err(),
                Some(SignalError::Url),
                "{url}"
            );
        }
    }
}
