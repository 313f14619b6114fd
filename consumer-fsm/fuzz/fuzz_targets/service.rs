//! The signalling service in front of strangers: whole requests, damaged ones, half ones, and an honest
//! client behind each.

#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use consumer_fsm::signalling::http::{ServiceConfig, SignallingService};
use consumer_fsm::signalling::{Switchboard, SwitchboardTiming};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// The service's patience, short so that no run waits for long.
const PATIENCE: Duration = Duration::from_millis(5);
/// Longest wait for the answer to an honest client, on a busy machine.
const ANSWERED: Duration = Duration::from_secs(10);

const HEADS: [&str; 8] = [
    "GET /v1/signal HTTP/1.1\r\nHost: a\r\nX-BF-Version: v2.3.1\r\n\r\n",
    "OPTIONS /v1/signal HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /v1/signal HTTP/1.1\r\nHost: a\r\nX-BF-Version: v2.3.1\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 34\r\n\r\ndata=%7B%7D&send-to=genesis&type=0",
    "POST /v1/signal HTTP/1.1\r\nHost: a\r\nX-BF-Version: v2.3.1\r\nTransfer-Encoding: chunked\r\n\r\n22\r\ndata=%7B%7D&send-to=genesis&type=0\r\n0\r\n\r\n",
    "POST /v1/signal HTTP/1.1\r\nHost: a\r\nX-BF-Version: v2.3.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\ndata=",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST /v1/signal HTTP/1.0\r\nX-BF-Version: v2.3.1\r\nContent-Length: 32\r\n\r\ndata=%ff%00&send-to=nobody&type=3",
    "",
];

fn service() -> SocketAddr {
    static SERVICE: OnceLock<(Runtime, SignallingService)> = OnceLock::new();
    let (_, service) = SERVICE.get_or_init(|| {
        // a program in Rust begins without this signal, and libFuzzer's does not
        signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default())
            .expect("a handler");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let timing = SwitchboardTiming::default()
            .with_listen(PATIENCE)
            .with_genesis(PATIENCE)
            .with_exchange(PATIENCE);
        let config = ServiceConfig::default()
            .with_client_header("X-Forwarded-For")
            .expect("a header");
        let service = SignallingService::bind_with("127.0.0.1:0", Switchboard::new(timing), config);
        let service = runtime.block_on(service).expect("a socket");
        (runtime, service)
    });
    service.address()
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect(service()).expect("the service listens");
    stream.set_read_timeout(Some(ANSWERED)).expect("a timer");
    stream
}

/// Each request: a byte that names its beginning, a byte of how much of it comes, bytes of damage,
/// and any bytes behind it.
fn request<'a>(what: u8, part: u8, tail: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
    let head = HEADS[usize::from(what) % HEADS.len()].as_bytes();
    let mut request = head[..head.len() - usize::from(part) * head.len() / 512].to_vec();
    let [damages, length, tail @ ..] = tail else {
        return (request, &[]);
    };
    let (damage, tail) = tail.split_at((usize::from(damages % 8) * 2).min(tail.len()));
    for pair in damage.chunks_exact(2) {
        if let Some(byte) = request.get_mut(usize::from(pair[0])) {
            *byte = pair[1];
        }
    }
    let (behind, tail) = tail.split_at(usize::from(*length).min(tail.len()));
    request.extend_from_slice(behind);
    (request, tail)
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut open = Vec::new();
    while let [what, part, tail @ ..] = rest {
        let (request, behind) = request(*what, *part, tail);
        rest = behind;
        let mut stream = connect();
        // the service may have answered already, and closed
        let _ = stream.write_all(&request);
        if what & 64 != 0 {
            open.push(stream);
        }
        if open.len() == 8 {
            open.clear();
        }
    }
    let mut honest = connect();
    honest
        .write_all(b"OPTIONS /v1/signal HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("the service reads");
    let mut answer = Vec::new();
    honest
        .read_to_end(&mut answer)
        .expect("the service answers");
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
});
