//! Gathering, and the agent: to the end, cancelled, dropped at every stage, under floods.

use std::net::SocketAddr;
use std::time::Duration;

use ice_gather::responder::{Responder, TwoAddresses, success};
use ice_gather::stun::Header;
use ice_gather::{
    AgentConfig, Base, Credentials, Finding, GatherConfig, IceAgent, IceConn, RemoteCandidate,
    RemoteDescription, Role, StunServer, discover_filtering,
};
use nat_summary::{CandidateKind, Filtering, Mapping, NatType, Outcome};
use stun::attributes::ATTR_USERNAME;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message, Setter};
use stun::textattrs::TextAttribute;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::{Measured, Meter, Path, path, standalone};
use crate::peers::{self, Running};
use crate::{Failure, bounds, stock};

pub(super) const PATHS: &[Path] = &[
    path("ice-gather: gathered", |meter| Box::pin(gathered(meter)))
        .beside("stock: gathered, closed"),
    path("ice-gather: gathered, a server silent", |meter| {
        Box::pin(one_silent(meter))
    }),
    path("ice-gather: gathering dropped", |meter| {
        Box::pin(dropped(meter))
    })
    .beside("stock: gathered, dropped"),
    path("ice-gather: answers too late", |meter| {
        Box::pin(late(meter))
    }),
    path("ice-gather: answers read by the agent", |meter| {
        Box::pin(late_to_agent(meter))
    }),
    path("ice-gather: flooded", |meter| Box::pin(flooded(meter))),
    path("ice-gather: filtering found out", |meter| {
        Box::pin(filtering(meter))
    }),
    path("ice-gather: finding out dropped", |meter| {
        Box::pin(filtering_dropped(meter))
    }),
    path("ice-gather: agent closed", |meter| {
        Box::pin(agent(meter, End::Closed))
    }),
    path("ice-gather: agent dropped", |meter| {
        Box::pin(agent(meter, End::Dropped))
    }),
    path("ice-gather: agent half-made, dropped", |meter| {
        Box::pin(half_made(meter))
    }),
    path("ice-gather: connected, closed", |meter| {
        Box::pin(connected(meter, End::Closed))
    })
    .beside("stock: connected, closed"),
    path("ice-gather: connected, dropped", |meter| {
        Box::pin(connected(meter, End::Dropped))
    })
    .beside("stock: connected, dropped"),
    path("ice-gather: connected, closing dropped", |meter| {
        Box::pin(connected(meter, End::CloseDropped))
    })
    .beside("stock: connected, closing dropped"),
    path("ice-gather: connected, peer vanished", |meter| {
        Box::pin(peer_vanished(meter))
    }),
    path("ice-gather: connecting dropped", |meter| {
        Box::pin(connecting_dropped(meter))
    }),
    path("ice-gather: connecting, closed", |meter| {
        Box::pin(pending(meter))
    })
    .beside("stock: connecting, closed"),
    path("ice-gather: closed while gathering", |meter| {
        Box::pin(while_gathering(meter, End::Closed))
    })
    .beside("stock: closed while gathering"),
    path("ice-gather: dropped while gathering", |meter| {
        Box::pin(while_gathering(meter, End::Dropped))
    }),
    path("ice-gather: checks from many ports", |meter| {
        Box::pin(many_ports(meter))
    }),
    path("ice-gather: under somebody else's agent", |meter| {
        Box::pin(foreign(meter))
    }),
];

/// Longest wait for an event that has to come.

#[derive(Clone, Copy)]
enum End {
    Closed,
    Dropped,
    /// Its closing is polled a few times and dropped.
    CloseDropped,
}

impl End {
    async fn of(self, agent: IceAgent, number: u32) {
        match self {
            Self::Closed => agent.close().await,
            Self::Dropped => drop(agent),
            Self::CloseDropped => drop(polled(number % 8, agent.close()).await),
        }
    }
}

async fn base() -> Result<Base, Failure> {
    Ok(Base::bind(peers::loopback()).await?)
}

fn nobody(candidates: Vec<RemoteCandidate>) -> RemoteDescription {
    RemoteDescription {
        credentials: Credentials {
            ufrag: "nobody".into(),
            pwd: "x".repeat(32),
        },
        candidates,
    }
}

fn host(address: SocketAddr) -> RemoteCandidate {
    RemoteCandidate {
        address,
        kind: CandidateKind::Host,
        priority: 2_130_706_431,
    }
}

fn in_milliseconds(deadline: u64) -> GatherConfig {
    GatherConfig::default().with_deadline(Duration::from_millis(deadline))
}

/// `future`, for as long as it takes the scheduler to come by so often; `None` if that was not
/// enough.
async fn polled<T>(times: u32, future: impl Future<Output = T>) -> Option<T> {
    let over = async {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = future => Some(done),
        () = over => None,
    }
}

/// A server that answers each request with the result of `reply`, after `delay`.
async fn server(
    delay: Duration,
    reply: impl Fn([u8; 12], SocketAddr) -> Vec<Vec<u8>> + Send + 'static,
) -> Result<(StunServer, Running), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let server = StunServer::Address(socket.local_addr()?);
    let serve = async move {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
            let Some(header) = Header::peek(&buffer[..length]) else {
                continue;
            };
            if !delay.is_zero() {
                sleep(delay).await;
            }
            for datagram in reply(header.id, source) {
                let _ = socket.send_to(&datagram, source).await;
            }
        }
    };
    Ok((server, Running::spawn(serve)))
}

async fn gathered(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 0).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let measured = meter.measure(4, standalone, async |_, _| {
        let gathering = base()
            .await?
            .gather(&servers, &GatherConfig::default())
            .await;
        Ok(gathering.evidence.summary().mapping() == Mapping::EndpointIndependent)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

async fn one_silent(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 1).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let measured = meter.measure(32, standalone, async |_, _| {
        let gathering = base()
            .await?
            .gather(&servers, &GatherConfig::default())
            .await;
        Ok(gathering
            .servers
            .iter()
            .filter(|server| server.outcome == Outcome::Answered)
            .count()
            == 2)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

/// With a silent server and one that is not there, after 0 to 59 ms.
async fn dropped(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 1).await?;
    let mut servers: Vec<_> = responders.iter().map(Responder::server).collect();
    // a closed port, which an ICMP error reports, by address and by name
    servers.extend(
        ["127.0.0.1:9", "localhost:9"]
            .into_iter()
            .filter_map(|server| server.parse().ok()),
    );
    let measured = meter.measure(32, standalone, async |_, number| {
        let moment = Duration::from_millis(u64::from(number % 60));
        Ok(timeout(
            moment,
            base().await?.gather(&servers, &GatherConfig::default()),
        )
        .await
        .is_err())
    });
    // a silent server is waited for 40 ms longer than those that answer: two of three moments come
    // before
    Ok(measured.await?.intended(bounds::INTENDED_BEFORE_THE_END))
}

/// The first gathering gives up before the answers are here, the second finds them in front of its
/// own.
async fn late(meter: Meter) -> Result<Measured, Failure> {
    let (slow, _slow) = server(Duration::from_millis(3), |id, source| {
        vec![success(id, source)]
    })
    .await?;
    let measured = meter.measure(2, standalone, async |_, _| {
        let base = base().await?;
        let first = base
            .gather(std::slice::from_ref(&slow), &in_milliseconds(1))
            .await;
        sleep(Duration::from_millis(8)).await;
        let second = base
            .gather(std::slice::from_ref(&slow), &GatherConfig::default())
            .await;
        let is_late = first
            .servers
            .first()
            .is_some_and(|server| server.outcome == Outcome::GivenUp);
        Ok(is_late && second.evidence.summary().counts().answered == 1)
    });
    Ok(measured.await?.intended(bounds::INTENDED_IN_A_RACE))
}

async fn late_to_agent(meter: Meter) -> Result<Measured, Failure> {
    let (slow, _slow) = server(Duration::from_millis(3), |id, source| {
        vec![success(id, source)]
    })
    .await?;
    let measured = meter.measure(2, standalone, async |_, number| {
        let base = base().await?;
        base.gather(std::slice::from_ref(&slow), &in_milliseconds(1))
            .await;
        let mut agent = IceAgent::new(&base, Role::Controlling, peers::eager()).await?;
        let _ = agent
            .connect(nobody(vec![]), Duration::from_millis(12))
            .await;
        let is_read = base.summary().counts().answered == 1;
        if number.is_multiple_of(2) {
            agent.close().await;
        }
        Ok(is_read)
    });
    Ok(measured.await?.intended(bounds::INTENDED_IN_A_RACE))
}

/// Forged answers, garbage, and datagrams too long, in front of the true one.
async fn flooded(meter: Meter) -> Result<Measured, Failure> {
    let (flooding, _flooding) = server(Duration::ZERO, |id, source| {
        let forged = (0..40_u8).map(|n| {
            let mut wrong = id;
            wrong[0] ^= n | 1;
            match n % 4 {
                0 => b"\x80 no STUN at all".to_vec(),
                1 => [&success(id, source)[..], &[0; 1_000]].concat(),
                2 => success(id, source)[..22].to_vec(),
                _ => success(wrong, source),
            }
        });
        forged.chain([success(id, source)]).collect()
    })
    .await?;
    let measured = meter.measure(4, standalone, async |_, _| {
        let base = base().await?;
        let gathering = base
            .gather(std::slice::from_ref(&flooding), &GatherConfig::default())
            .await;
        let dropped = base.dropped();
        Ok(gathering.evidence.summary().nat_type() != NatType::Cone
            && dropped.garbage + dropped.malformed > bounds::FLOOD_TOLD_APART)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

async fn two_addresses() -> Result<TwoAddresses, Failure> {
    let port = UdpSocket::bind("127.0.0.61:0").await?.local_addr()?.port();
    let bind =
        async |ip: u8, port: u16| UdpSocket::bind(SocketAddr::from(([127, 0, 0, ip], port))).await;
    let first = [bind(61, port).await?, bind(61, 0).await?];
    let other_port = first[1].local_addr()?.port();
    let second = [bind(62, port).await?, bind(62, other_port).await?];
    Ok(TwoAddresses::on_carriers([first, second])?)
}

async fn filtering(meter: Meter) -> Result<Measured, Failure> {
    let server = two_addresses().await?;
    let measured = meter.measure(64, standalone, async |_, _| {
        let found = discover_filtering(base().await?, server.address()).await;
        Ok(found == Finding::Known(Filtering::EndpointIndependent))
    });
    Ok(measured.await?.intended(bounds::INTENDED_BY_TIMERS))
}

async fn filtering_dropped(meter: Meter) -> Result<Measured, Failure> {
    let server = two_addresses().await?;
    let measured = meter.measure(32, standalone, async |_, number| {
        let moment = Duration::from_millis(u64::from(number % 100));
        Ok(
            timeout(moment, discover_filtering(base().await?, server.address()))
                .await
                .is_err(),
        )
    });
    Ok(measured.await?.intended(bounds::INTENDED_IN_A_RACE))
}

async fn agent(meter: Meter, end: End) -> Result<Measured, Failure> {
    let measured = meter.measure(4, standalone, async |_, number| {
        let agent = IceAgent::new(&base().await?, Role::Controlling, peers::eager()).await?;
        end.of(agent, number).await;
        Ok(true)
    });
    measured.await
}

async fn half_made(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(4, standalone, async |_, number| {
        let base = base().await?;
        Ok(polled(
            number % 60,
            IceAgent::new(&base, Role::Controlling, peers::eager()),
        )
        .await
        .is_none())
    });
    Ok(measured.await?.intended(bounds::INTENDED_BEFORE_THE_END))
}

/// Two agents that know each other.
struct Two {
    agents: [IceAgent; 2],
    remotes: [RemoteDescription; 2],
}

impl Two {
    async fn new(config: AgentConfig) -> Result<Self, Failure> {
        let (left, right) = (base().await?, base().await?);
        let a = IceAgent::new(&left, Role::Controlling, config).await?;
        let b = IceAgent::new(&right, Role::Controlled, config).await?;
        let remotes = [peers::describe(&right, &b), peers::describe(&left, &a)];
        Ok(Self {
            agents: [a, b],
            remotes,
        })
    }

    async fn connect(&mut self) -> Result<(IceConn, IceConn), Failure> {
        let [a, b] = &mut self.agents;
        let [to_a, to_b] = self.remotes.clone();
        Ok(tokio::try_join!(
            a.connect(to_a, bounds::CONNECTED_WITHIN),
            b.connect(to_b, bounds::CONNECTED_WITHIN)
        )?)
    }
}

async fn connected(meter: Meter, end: End) -> Result<Measured, Failure> {
    let measured = meter.measure(4, standalone, async |_, number| {
        let mut two = Two::new(peers::eager()).await?;
        let (sender, receiver) = two.connect().await?;
        let mut buffer = [0; 32];
        sender.send(b"\x80 over the path").await?;
        let arrived = timeout(bounds::CONNECTED_WITHIN, receiver.recv(&mut buffer))
            .await?
            .is_some();
        let [a, b] = two.agents;
        tokio::join!(end.of(a, number), end.of(b, number + 1));
        Ok(arrived)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

/// The other side goes without a word, and consent expires.
async fn peer_vanished(meter: Meter) -> Result<Measured, Failure> {
    let config = peers::eager()
        .with_keepalive_interval(Duration::from_millis(10))
        .with_disconnected_timeout(Duration::from_millis(30))
        .with_failed_timeout(Duration::from_millis(30));
    let measured = meter.measure(32, standalone, async |_, number| {
        let mut two = Two::new(config).await?;
        let Ok((_sender, receiver)) = two.connect().await else {
            return Ok(false);
        };
        let [a, b] = two.agents;
        drop(a);
        let ended = timeout(bounds::CONNECTED_WITHIN, receiver.recv(&mut [0; 32]))
            .await?
            .is_none();
        if number.is_multiple_of(2) {
            b.close().await;
        }
        Ok(ended)
    });
    Ok(measured.await?.intended(bounds::INTENDED_BY_TIMERS))
}

async fn connecting_dropped(meter: Meter) -> Result<Measured, Failure> {
    let config = peers::eager().with_check_interval(Duration::from_millis(20));
    let measured = meter.measure(8, standalone, async |_, number| {
        let mut two = Two::new(config).await?;
        let stages = number % 60;
        Ok(polled(stages, two.connect()).await.is_none())
    });
    Ok(measured.await?.intended(bounds::INTENDED_BEFORE_THE_END))
}

/// No peer answers, and the agent is closed with its checks under way.
async fn pending(meter: Meter) -> Result<Measured, Failure> {
    let silent = UdpSocket::bind("127.0.0.1:0").await?;
    let remote = host(silent.local_addr()?);
    let measured = meter.measure(8, standalone, async |_, number| {
        let mut agent = IceAgent::new(&base().await?, Role::Controlling, peers::eager()).await?;
        let moment = Duration::from_millis(u64::from(number % 15));
        let is_pending = timeout(
            moment,
            agent.connect(nobody(vec![remote]), bounds::CONNECTED_WITHIN),
        )
        .await
        .is_err();
        agent.close().await;
        Ok(is_pending)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

async fn while_gathering(meter: Meter, end: End) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 1).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let measured = meter.measure(16, standalone, async |_, number| {
        let base = base().await?;
        let agent = IceAgent::new(&base, Role::Controlling, peers::eager()).await?;
        let close = async {
            sleep(Duration::from_millis(u64::from(number % 10))).await;
            end.of(agent, number).await;
        };
        let config = in_milliseconds(60);
        let (gathering, ()) = tokio::join!(base.gather(&servers, &config), close);
        Ok(gathering.servers.len() == servers.len())
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

/// A peer with the password checks from port after port, beyond the limit of ports.
async fn many_ports(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(8, standalone, async |_, _| {
        let base = base().await?;
        let mut agent = IceAgent::new(&base, Role::Controlled, peers::eager()).await?;
        let target = base.local_addrs().next().ok_or("no socket")?;
        let credentials = agent.credentials().clone();
        let until_one_is_too_many = async {
            while base.dropped().too_many_peers == 0 {
                let socket = UdpSocket::bind("127.0.0.1:0").await?;
                socket
                    .send_to(&check(&credentials, "nobody")?, target)
                    .await?;
                sleep(Duration::from_micros(100)).await;
            }
            Ok::<_, Failure>(())
        };
        let is_refused = tokio::select! {
            _ = agent.connect(nobody(vec![]), bounds::CONNECTED_WITHIN) => false,
            sent = until_one_is_too_many => sent.is_ok(),
        };
        agent.close().await;
        Ok(is_refused)
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}

/// A check that passes: a Binding request under our password (RFC 8445 section 7.1.2).
fn check(ours: &Credentials, theirs: &str) -> Result<Vec<u8>, Failure> {
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.new_transaction_id()?;
    message.write_header();
    TextAttribute::new(ATTR_USERNAME, format!("{}:{theirs}", ours.ufrag)).add_to(&mut message)?;
    MessageIntegrity::new_short_term_integrity(ours.pwd.clone()).add_to(&mut message)?;
    Ok(message.raw)
}

/// An agent that is not ours, closed as its documentation says.
async fn foreign(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(2, 0).await?;
    let servers: Vec<_> = responders.iter().map(Responder::server).collect();
    let measured = meter.measure(4, standalone, async |_, _| {
        let base = base().await?;
        let gathering = base.gather(&servers, &GatherConfig::default()).await;
        stock::on_base(&base).await?.close().await?;
        Ok(gathering.evidence.summary().is_natted() == Some(false))
    });
    Ok(measured.await?.intended(bounds::INTENDED))
}
