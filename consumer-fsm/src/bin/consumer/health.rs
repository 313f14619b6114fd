//! `--health`: a small HTTP server for supervisors and Prometheus, off by default.

use core::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::tally::Counts;

/// Most connections at once.
const CONNECTIONS: usize = 16;
/// How long a connection may take in all. A supervisor needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves `/healthz` and `/metrics` on this address until it is dropped.
pub(crate) async fn serve(listener: TcpListener, counts: Counts) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // no descriptor is left at the moment
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let counts = counts.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = answer(&request, &counts);
                async { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            let connection = http
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(8 * 1024)
                .serve_connection(TokioIo::new(stream), answer);
            let _ = tokio::time::timeout(PATIENCE, connection).await;
            drop(permit);
        });
    }
}

fn answer<T>(request: &Request<T>, counts: &Counts) -> Response<Full<Bytes>> {
    let tally = counts.lock();
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => {
            (StatusCode::OK, "application/json", tally.json().to_string())
        }
        (&Method::GET, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4",
            tally.prometheus(),
        ),
        (&Method::GET, _) => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /healthz and /metrics\n".to_owned(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "GET only\n".to_owned(),
        ),
    };
    drop(tally);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
