//! A relayed candidate by TURN: to the end, given up at any point, from servers that refuse, lie,
//! say nothing or die.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ice_gather::stun::{Header, write_request};
use ice_gather::{
    Base, Credentials, GatheredCandidate, IceAgent, RelayConfig, RelayError, RemoteCandidate,
    RemoteDescription, Role, TurnServer,
};
use nat_summary::CandidateKind;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::{Measured, Meter, Path, path, standalone};
use crate::peers::Running;
use crate::{Failure, bounds, peers};

/// Runs with a scripted TURN server of our own.
pub(super) const PATHS: &[Path] = &[
    path("relay: allocated, closed", |meter| {
        Box::pin(allocated(meter, true))
    }),
    path("relay: allocated, dropped", |meter| {
        Box::pin(allocated(meter, false))
    }),
    path("relay: allocation dropped", |meter| {
        Box::pin(given_up(meter))
    }),
    path("relay: wrong credentials", |meter| {
        Box::pin(refused(meter, &[0, 0, 4, 1], RelayError::Unauthenticated))
    }),
    path("relay: an error that is not UTF-8", |meter| {
        Box::pin(refused(
            meter,
            &[0, 0, 4, 86, 0xff, 0xfe, 0xff, 0xfe],
            RelayError::Refused(486),
        ))
    }),
    path("relay: server silent", |meter| Box::pin(silent(meter))),
    path("relay: server dies", |meter| Box::pin(dies(meter))),
];

/// With coturn.
pub(super) const PATHS_WITH_COTURN: &[Path] = &[
    path("relay: connected through coturn, closed", |meter| {
        Box::pin(connected(meter, true))
    }),
    path("relay: connected through coturn, dropped", |meter| {
        Box::pin(connected(meter, false))
    }),
];

const SOON: Duration = Duration::from_millis(20);
const ALLOCATE: u8 = 3;
const ERROR_CODE: u16 = 0x0009;
/// For ten minutes, 192.0.2.1:9 as it goes over the wire.
const ALLOCATION: &[(u16, &[u8])] = &[
    (0x0016, &[0, 1, 0x21, 0x1b, 0xe1, 0x12, 0xa6, 0x43]),
    (0x000d, &[0, 0, 2, 0x58]),
];

fn message(typ: u16, id: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (attribute, value) in attributes {
        body.extend_from_slice(&attribute.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let head = [
        &typ.to_be_bytes()[..],
        &(body.len() as u16).to_be_bytes(),
        &[0x21, 0x12, 0xA4, 0x42],
        id,
    ]
    .concat();
    [head, body].concat()
}

/// A server that asks for credentials, as it should, and then answers an Allocate request with
/// this. Every other request succeeds, in name; nothing is relayed.
async fn server(
    typ: u16,
    attributes: &'static [(u16, &'static [u8])],
) -> Result<(TurnServer, Running), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let server = turn_server(socket.local_addr()?)?;
    let serve = async move {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
            let request = &buffer[..length];
            let Some(Header { id, .. }) = Header::peek(request) else {
                continue;
            };
            let has_credentials = request.windows(4).any(|window| window == b"user");
            let answer = match request[1] {
                ALLOCATE if !has_credentials => message(
                    0x0113,
                    &id,
                    &[
                        (ERROR_CODE, &[0, 0, 4, 1]),
                        (0x0014, b"lab!"),
                        (0x0015, b"nonce567"),
                    ],
                ),
                ALLOCATE => message(typ, &id, attributes),
                method => message(0x0100 | u16::from(method), &id, &[(0x000d, &[0; 4])]),
            };
            let _ = socket.send_to(&answer, source).await;
        }
    };
    Ok((server, Running::spawn(serve)))
}

fn turn_server(address: SocketAddr) -> Result<TurnServer, Failure> {
    Ok(TurnServer::new(
        &format!("turn:{address}?transport=udp"),
        "user",
        "secret",
    )?)
}

async fn base() -> Result<Base, Failure> {
    Ok(Base::bind(peers::loopback()).await?)
}

fn within(deadline: u64) -> RelayConfig {
    RelayConfig::default()
        .with_deadline(Duration::from_millis(deadline))
        .with_head_start(Duration::ZERO)
}

async fn allocated(meter: Meter, is_closed: bool) -> Result<Measured, Failure> {
    let (server, _server) = server(0x0103, ALLOCATION).await?;
    let measured = meter.measure(8, standalone, async |_, _| {
        let base = base().await?;
        let mut relay = base.add_relay(server.clone(), within(2_000))?;
        let agent = IceAgent::new(&base, Role::Controlling, peers::eager()).await?;
        let is_there = relay.allocated().await.is_ok();
        if is_closed {
            agent.close().await;
        }
        Ok(is_there)
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

/// After 0 to 1.9 ms, before, between and behind the two exchanges.
async fn given_up(meter: Meter) -> Result<Measured, Failure> {
    let (server, _server) = server(0x0103, ALLOCATION).await?;
    let measured = meter.measure(8, standalone, async |_, number| {
        let base = base().await?;
        let _relay = base.add_relay(server.clone(), within(2_000))?;
        let agent = if number.is_multiple_of(2) {
            Some(IceAgent::new(&base, Role::Controlling, peers::eager()).await?)
        } else {
            None
        };
        sleep(Duration::from_micros(100 * u64::from(number % 20))).await;
        drop(base);
        drop(agent);
        Ok(true)
    });
    measured.await
}

async fn refused(
    meter: Meter,
    code: &'static [u8],
    expected: RelayError,
) -> Result<Measured, Failure> {
    let attributes: &'static [(u16, &'static [u8])] = Vec::leak(vec![(ERROR_CODE, code)]);
    let (server, _server) = server(0x0113, attributes).await?;
    let measured = meter.measure(8, standalone, async |_, _| {
        let base = base().await?;
        let mut relay = base.add_relay(server.clone(), within(2_000))?;
        Ok(relay
            .allocated()
            .await
            .is_err_and(|error| error == expected))
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

async fn silent(meter: Meter) -> Result<Measured, Failure> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await?;
    let server = turn_server(nobody.local_addr()?)?;
    let measured = meter.measure(32, standalone, async |_, _| {
        let base = base().await?;
        let mut relay = base.add_relay(server.clone(), within(20))?;
        Ok(relay
            .allocated()
            .await
            .is_err_and(|error| error == RelayError::TimedOut))
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

/// Between the allocation and the end: nothing is freed, and permissions are asked for in vain.
async fn dies(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(64, standalone, async |_, _| {
        let (server, running) = server(0x0103, ALLOCATION).await?;
        let base = base().await?;
        let mut relay = base.add_relay(server, within(2_000))?;
        let mut agent = IceAgent::new(&base, Role::Controlling, peers::eager()).await?;
        let is_there = relay.allocated().await.is_ok();
        drop(running);
        let address = SocketAddr::from(([192, 0, 2, 2], 9));
        let remote = RemoteCandidate {
            address,
            kind: CandidateKind::Relayed,
            priority: 1,
        };
        let credentials = Credentials {
            ufrag: "nobody".into(),
            pwd: "x".repeat(32),
        };
        let remote = RemoteDescription {
            credentials,
            candidates: vec![remote],
        };
        let failed = agent
            .connect(remote, Duration::from_millis(30))
            .await
            .is_err();
        drop(agent);
        // its end takes seconds, because a server that is gone frees nothing
        let is_over = timeout(bounds::CONNECTED_WITHIN, async {
            while relay.allocated().await.is_ok() {
                sleep(SOON).await
            }
        })
        .await;
        Ok(is_there && failed && is_over.is_ok())
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

async fn connected(meter: Meter, is_closed: bool) -> Result<Measured, Failure> {
    let coturn = Coturn::start().await?;
    let measured = meter.measure(8, standalone, async |_, _| {
        let (left, right) = (base().await?, base().await?);
        let mut relays = [
            left.add_relay(coturn.server()?, within(4_000))?,
            right.add_relay(coturn.server()?, within(4_000))?,
        ];
        let mut a = IceAgent::new(&left, Role::Controlling, peers::eager()).await?;
        let mut b = IceAgent::new(&right, Role::Controlled, peers::eager()).await?;
        // where a port comes round again too soon, coturn still knows it: RFC 8656 section 7.2,
        // error 437
        let (Ok(from_a), Ok(from_b)) = (relays[0].allocated().await, relays[1].allocated().await)
        else {
            return Ok(false);
        };
        let (to_a, to_b) = (only(&a, &from_a), only(&b, &from_b));
        let (conn_a, conn_b) = tokio::join!(
            a.connect(to_b, bounds::CONNECTED_WITHIN),
            b.connect(to_a, bounds::CONNECTED_WITHIN)
        );
        let (Ok(conn_a), Ok(conn_b)) = (conn_a, conn_b) else {
            return Ok(false);
        };
        let pair = (CandidateKind::Relayed, CandidateKind::Relayed);
        let mut is_through = a.selected_pair() == Some(pair);
        let mut buffer = [0; 64];
        conn_a.send(b"through").await?;
        is_through &= timeout(bounds::CONNECTED_WITHIN, conn_b.recv(&mut buffer))
            .await
            .is_ok_and(|got| got == Some(7));
        if is_closed {
            tokio::join!(a.close(), b.close());
        }
        Ok(is_through)
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

fn only(agent: &IceAgent, candidate: &GatheredCandidate) -> RemoteDescription {
    let GatheredCandidate {
        address,
        kind,
        priority,
        ..
    } = *candidate;
    let candidates = vec![RemoteCandidate {
        address,
        kind,
        priority,
    }];
    RemoteDescription {
        credentials: agent.credentials().clone(),
        candidates,
    }
}

/// A running coturn on 127.0.0.5, ended when dropped.
struct Coturn {
    child: Child,
    address: SocketAddr,
}

impl Coturn {
    async fn start() -> Result<Self, Failure> {
        let free = UdpSocket::bind("127.0.0.5:0").await?;
        let address = free.local_addr()?;
        drop(free);
        // it gets a signal when the thread that started it ends, so it cannot outlive us
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "turnserver",
            "-n",
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-cli",
        ]);
        command.args([
            "--allow-loopback-peers",
            "--lt-cred-mech",
            "--user",
            "user:secret",
            "--realm",
            "lab",
        ]);
        command.args([
            "--listening-ip",
            "127.0.0.5",
            "--listening-port",
            &address.port().to_string(),
        ]);
        command.args([
            "--relay-ip",
            "127.0.0.5",
            "--relay-threads",
            "1",
            "--log-file",
            "stdout",
        ]);
        command.args(["--pidfile", "/dev/null"]);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let coturn = Self { child, address };
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        for _ in 0..500 {
            // refused by ICMP until coturn listens
            let _ = socket
                .send_to(&write_request(rand::random()), address)
                .await;
            if timeout(Duration::from_millis(20), socket.recv_from(&mut [0; 1500]))
                .await
                .is_ok_and(|got| got.is_ok())
            {
                return Ok(coturn);
            }
        }
        Err("coturn did not start".into())
    }

    fn server(&self) -> Result<TurnServer, Failure> {
        turn_server(self.address)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
