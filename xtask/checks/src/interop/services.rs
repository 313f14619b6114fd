//! The services for both sides: our signalling service, and the pages that a browser loads.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::SignallingService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::Failure;
use crate::kernel::namespace::Namespace;
use crate::kernel::servers::{OWN, PORTS, ipv4};

/// Longest request for a page.
const MAX_REQUEST: usize = 8 * 1024;

/// Running services; all end when dropped.
pub(crate) struct Services {
    pub(crate) url: String,
    pub(crate) pages: String,
    /// URLs, with commas between them.
    pub(crate) stun: String,
    switchboard: Switchboard,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Starts them beside the STUN servers, for peers that ask those of `stun`.
    pub(crate) fn start(namespace: &Namespace, root: &Path, stun: &[u8]) -> Result<Self, Failure> {
        let namespace = namespace.clone();
        let folder = root.join("xtask/checks/interop");
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let pages = vec![
            ("/producer.js", "text/javascript", read("producer.js")?),
            ("/", "text/html", read("chromium.html")?),
        ];
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || {
            let served = namespace.enter().and_then(|()| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let ip = ipv4(OWN[0]);
                    let service =
                        SignallingService::bind(SocketAddr::new(ip, 0), Switchboard::default())
                            .await?;
                    let listener = TcpListener::bind((ip, 0)).await?;
                    let told = (
                        service.url(),
                        service.switchboard().clone(),
                        listener.local_addr()?,
                    );
                    let _ = started.send(Ok(told));
                    tokio::select! {
                        () = serve(listener, pages) => {}
                        _ = stopped => {}
                    }
                    Ok(())
                })
            });
            if let Err(failure) = served {
                let _ = started.send(Err(failure));
            }
        });
        let (url, switchboard, pages) = starting.recv()??;
        Ok(Self {
            url,
            pages: format!("http://{pages}/"),
            stun: stun
                .iter()
                .map(|number| format!("stun:{}:{}", ipv4(*number), PORTS[0]))
                .collect::<Vec<_>>()
                .join(","),
            switchboard,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the signalling service listens.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        let after = self
            .url
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        Ok(after.ok_or("a URL")?.parse()?)
    }

    /// Waits until a producer waits for an offer; whether one does.
    pub(crate) fn until_announced(&self, patience: Duration) -> bool {
        let started = Instant::now();
        while self.switchboard.waiting() == 0 {
            if started.elapsed() > patience {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}

/// Serves pages by name until dropped: for one browser, and so one request after the other.
async fn serve(listener: TcpListener, pages: Vec<(&'static str, &'static str, String)>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            // a browser that went away needs no answer
            let _ = tokio::time::timeout(Duration::from_secs(2), answer(stream, &pages)).await;
        }
    }
}

async fn answer(mut stream: TcpStream, pages: &[(&str, &str, String)]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request
        .split(' ')
        .nth(1)
        .and_then(|target| target.split('?').next())
        .unwrap_or_default();
    let response = match pages.iter().find(|(name, ..)| *name == path) {
        Some((_, kind, page)) => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
            page.len()
        ),
        None => {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        }
    };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}
