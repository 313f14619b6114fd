//! The STUN servers of a world: coturn beside our own responders, all in one namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ice_gather::responder::{Manner, Responder};
use ice_gather::stun::{Answer, read_answer, write_request};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use crate::Failure;
use crate::kernel::late::Late;
use crate::kernel::namespace::Namespace;

/// Our own responders.
pub const OWN: [u8; 3] = [11, 12, 13];
/// Servers that never answer.
pub const SILENT: [u8; 4] = [16, 17, 18, 19];
/// The two addresses of coturn, or of two more responders where it is not installed.
pub const COTURN: [u8; 2] = [21, 22];
/// The ports every server answers on. Our first responder has a third.
pub const PORTS: [u16; 2] = [3478, 3479];
/// The third port of our first responder.
pub const THIRD_PORT: u16 = 3480;

/// Longest start of coturn.
const START: Duration = Duration::from_secs(10);
/// OTHER-ADDRESS (RFC 5780 section 7.4).
const OTHER_ADDRESS: u16 = 0x802c;

/// The IPv4 address of server `number`.
pub const fn ipv4(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, number))
}

/// The IPv6 address of server `number`.
pub const fn ipv6(number: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        0x2001,
        0xdb8,
        0x53,
        0,
        0,
        0,
        0,
        number as u16,
    ))
}

/// Running servers; all end when dropped.
#[derive(Debug)]
pub struct Servers {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Starts them in `namespace`, which has their addresses; returns once all serve. Without coturn
    /// their answers may be late.
    pub fn start(
        namespace: &Namespace,
        with_coturn: bool,
        delay: Option<Duration>,
    ) -> Result<Self, Failure> {
        Self::run(namespace, move || serve(with_coturn, delay))
    }

    /// Starts one honest server at each of these addresses in `namespace`.
    pub fn start_inner(namespace: &Namespace, addresses: [IpAddr; 2]) -> Result<Self, Failure> {
        Self::run(namespace, move || async move {
            let mut responders = Vec::new();
            for address in addresses {
                responders.push(Responder::bind((address, PORTS[0])).await?);
            }
            Ok(responders)
        })
    }

    /// Runs the servers that `serve` starts, in a thread of its own.
    fn run<T, F>(
        namespace: &Namespace,
        serve: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Self, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let namespace = namespace.clone();
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        // coturn ends with the thread that started it, so this one stays
        let thread = thread::spawn(move || {
            let served = namespace.enter().and_then(|()| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let _running = serve().await?;
                    let _ = started.send(Ok(()));
                    let _ = stopped.await;
                    Ok(())
                })
            });
            if let Err(failure) = served {
                let _ = started.send(Err(failure));
            }
        });
        let servers = Self {
            stop: Some(stop),
            thread: Some(thread),
        };
        starting.recv()??;
        Ok(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}

async fn serve(
    with_coturn: bool,
    delay: Option<Duration>,
) -> Result<(Vec<Responder>, Option<Coturn>), Failure> {
    let coturn = if with_coturn {
        Some(Coturn::start()?)
    } else {
        None
    };
    let mut responders = Vec::new();
    for ip in [ipv4, ipv6] {
        let honest = OWN.iter().chain(COTURN.iter().filter(|_| !with_coturn));
        for (number, port) in honest.flat_map(|number| PORTS.map(|port| (*number, port))) {
            responders.push(honest_server((ip(number), port).into(), delay).await?);
        }
        responders.push(honest_server((ip(OWN[0]), THIRD_PORT).into(), delay).await?);
        for number in SILENT {
            responders.push(Responder::bind_with((ip(number), PORTS[0]), Manner::Silent).await?);
        }
        if with_coturn {
            until_ready(ip).await?;
        }
    }
    Ok((responders, coturn))
}

async fn honest_server(at: SocketAddr, delay: Option<Duration>) -> Result<Responder, Failure> {
    let Some(delay) = delay else {
        return Ok(Responder::bind(at).await?);
    };
    let socket = Arc::new(UdpSocket::bind(at).await?);
    Ok(Responder::on_carrier(
        Late::new(socket, delay),
        Manner::Honest,
    )?)
}

/// A running coturn. It gets a signal when the thread that started it ends, so it cannot outlive
/// us.
#[derive(Debug)]
struct Coturn(Child);

impl Coturn {
    fn start() -> Result<Self, Failure> {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "turnserver",
            "-n",
            "--stun-only",
            "--no-tls",
            "--no-dtls",
            "--no-cli",
        ]);
        command.args([
            "--relay-threads",
            "1",
            "--log-file",
            "stdout",
            "--pidfile",
            "/dev/null",
        ]);
        for number in COTURN {
            command.args(["--listening-ip", &ipv4(number).to_string()]);
        }
        for number in COTURN {
            command.args(["--listening-ip", &ipv6(number).to_string()]);
        }
        command.args([
            "--listening-port",
            &PORTS[0].to_string(),
            "--alt-listening-port",
            &PORTS[1].to_string(),
        ]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks all four sockets of coturn until each has answered, and has named its opposite (RFC 5780
/// section 6).
async fn until_ready(ip: fn(u8) -> IpAddr) -> Result<(), Failure> {
    let socket = UdpSocket::bind((ip(OWN[0]), 0)).await?;
    let asking = async {
        for server in COTURN
            .iter()
            .flat_map(|number| PORTS.map(|port| SocketAddr::new(ip(*number), port)))
        {
            let mut buffer = [0; 1500];
            let length = loop {
                // refused by ICMP until coturn listens
                let _ = socket.send_to(&write_request(rand::random()), server).await;
                match tokio::time::timeout(Duration::from_millis(20), socket.recv_from(&mut buffer))
                    .await
                {
                    Ok(Ok((length, source))) if source == server => break length,
                    _ => {}
                }
            };
            let answer = buffer.get(..length).unwrap_or_default();
            if !matches!(read_answer(answer), Ok((_, Answer::Mapped(_))))
                || !has_attribute(answer, OTHER_ADDRESS)
            {
                return Err(
                    format!("coturn at {server} does not answer as RFC 5780 has it").into(),
                );
            }
        }
        Ok(())
    };
    tokio::time::timeout(START, asking)
        .await
        .map_err(|_| "coturn did not start")?
}

fn has_attribute(message: &[u8], kind: u16) -> bool {
    let mut rest = message.get(20..).unwrap_or_default();
    while let [k0, k1, l0, l1, value @ ..] = rest {
        if u16::from_be_bytes([*k0, *k1]) == kind {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*l0, *l1])).next_multiple_of(4);
        rest = value.get(length..).unwrap_or_default();
    }
    false
}
