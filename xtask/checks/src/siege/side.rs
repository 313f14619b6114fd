//! One side of the siege as a process of its own: it uses the libraries as an application does, and
//! reports its state whenever the siege asks.

mod abuser;
mod bare;
mod consumer;
mod producer;
mod relay;
mod service;

use std::io::BufRead;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use consumer_fsm::transport::{DataChannel, DtlsVersion, IceTransport, Network};
use ice_gather::BindConfig;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::alive::Alive;
use crate::{Failure, panics, runtime};

/// Causes kept of paths that ended.
const MOST_CAUSES: usize = 8;

/// What such a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Orders {
    /// Keeps a path, or makes one after the other.
    Consumer {
        over: Over,
        stage: Stage,
        url: String,
        stun: SocketAddr,
        local: SocketAddrV4,
        /// Beside it, one attempt after the other that meets an abuser.
        beside: Option<Meeting>,
    },
    /// Abuses its own path with valid keys, by the class of that name.
    Abuser {
        class: String,
        url: String,
        local: SocketAddrV4,
        within: Duration,
    },
    /// Sends everything back.
    Producer {
        over: Over,
        url: String,
        local: SocketAddrV4,
    },
    /// Serves signalling.
    Service { listen: SocketAddr },
    /// Receives on a bare socket, and discards.
    Bare { local: SocketAddrV4 },
}

/// Whom attempts meet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Meeting {
    /// A peer, by this service and with these STUN servers. One of them, or the peer, is an abuser.
    Peer {
        url: String,
        stun: Vec<SocketAddr>,
        /// Of the attempts.
        port: u16,
        /// Longest attempt; one of these ends soon after it has a path.
        within: Option<Duration>,
    },
    /// A TURN server that abuses those who ask for a relay.
    Relay {
        turn: SocketAddr,
        /// Of the attempts.
        port: u16,
    },
}

/// The transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Over {
    Ice,
    DataChannel,
    /// A data channel that settles on DTLS 1.2.
    DataChannel12,
}

impl Over {
    fn channel(self, ice: IceTransport) -> DataChannel {
        let channel = DataChannel::new(ice);
        match self {
            Self::DataChannel12 => channel.with_newest_dtls(DtlsVersion::Dtls12),
            Self::Ice | Self::DataChannel => channel,
        }
    }
}

/// The stage of an attempt that is under siege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// One attempt after the other: each ends with the first echo.
    Connecting,
    /// One path, with an echo every 10 ms.
    Connected,
}

/// The state of such a process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Live heap, in bytes.
    pub(crate) heap: i64,
    /// Memory lent by the system, in bytes.
    pub(crate) resident: i64,
    pub(crate) tasks: i64,
    pub(crate) descriptors: i64,
    /// Of all threads, user and system, in microseconds.
    pub(crate) cpu: i64,
    pub(crate) panics: u64,
    /// Datagrams sent to be sent back; attempts in [`Stage::Connecting`].
    pub(crate) sent: u64,
    /// Those that came back.
    pub(crate) echoed: u64,
    /// Whether there is a path.
    pub(crate) up: u64,
    /// Paths and attempts that ended before their time.
    pub(crate) ended: u64,
    /// Their causes: the first few.
    pub(crate) causes: Vec<String>,
    /// The attempts beside it that met the abuser.
    pub(crate) beside: Beside,
}

/// Attempts that met an abuser.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// Whether there is a path.
    pub(crate) up: u64,
    /// Paths so far.
    pub(crate) paths: u64,
    /// Attempts that ended.
    pub(crate) ended: u64,
    /// The cause of the last end.
    pub(crate) cause: String,
}

/// What a role counts.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    echoed: AtomicU64,
    up: AtomicU64,
    ended: AtomicU64,
    causes: Mutex<Vec<String>>,
    beside: Mutex<Beside>,
}

impl Counts {
    fn beside(&self, change: impl FnOnce(&mut Beside)) {
        if let Ok(mut beside) = self.beside.lock() {
            change(&mut beside);
        }
    }

    fn ended(&self, cause: String) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut causes) = self.causes.lock()
            && causes.len() < MOST_CAUSES
        {
            causes.push(cause);
        }
    }

    fn look(&self) -> Look {
        let alive = Alive::now();
        let cpu = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
            usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
        });
        Look {
            heap: alive.bytes,
            resident: alive.resident,
            tasks: alive.tasks,
            descriptors: alive.descriptors,
            cpu,
            panics: panics::so_far(),
            sent: self.sent.load(Ordering::Relaxed),
            echoed: self.echoed.load(Ordering::Relaxed),
            up: self.up.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
            causes: self
                .causes
                .lock()
                .map(|causes| causes.clone())
                .unwrap_or_default(),
            beside: self
                .beside
                .lock()
                .map(|beside| beside.clone())
                .unwrap_or_default(),
        }
    }
}

/// Follows the orders until the standard input ends.
pub(crate) fn run(orders: &str) -> Result<bool, Failure> {
    let orders: Orders = serde_json::from_str(orders)?;
    let (counts, cancel) = (Arc::new(Counts::default()), CancellationToken::new());
    let runtime = runtime()?;
    answer(
        runtime.handle().clone(),
        Arc::clone(&counts),
        cancel.clone(),
    );
    runtime.block_on(async {
        match orders {
            Orders::Consumer {
                over,
                stage,
                url,
                stun,
                local,
                beside,
            } => {
                let besides = async {
                    match beside {
                        Some(Meeting::Peer {
                            url,
                            stun,
                            port,
                            within,
                        }) => {
                            let ice = ice(SocketAddrV4::new(*local.ip(), port));
                            let met = consumer::Met { url, stun, within };
                            met.run(DataChannel::new(ice), &counts, &cancel).await
                        }
                        Some(Meeting::Relay { turn, port }) => {
                            let local = SocketAddrV4::new(*local.ip(), port);
                            relay::run(turn, local, &counts, &cancel).await
                        }
                        None => Ok(()),
                    }
                };
                let ice = ice(local);
                let errand = consumer::Errand { stage, url, stun };
                let honest = async {
                    match over {
                        Over::Ice => errand.run(ice, &counts, &cancel).await,
                        over => errand.run(over.channel(ice), &counts, &cancel).await,
                    }
                };
                tokio::try_join!(honest, besides).map(drop)
            }
            Orders::Abuser {
                class,
                url,
                local,
                within,
            } => abuser::run(ice(local), &url, &class, within, &counts, &cancel).await,
            Orders::Producer { over, url, local } => {
                let ice = ice(local);
                match over {
                    Over::Ice => producer::run(ice, &url, &counts, &cancel).await,
                    over => producer::run(over.channel(ice), &url, &counts, &cancel).await,
                }
            }
            Orders::Service { listen } => service::run(listen, &counts, &cancel).await,
            Orders::Bare { local } => bare::run(local, &counts, &cancel).await,
        }
    })?;
    Ok(panics::so_far() == 0)
}

/// On a fixed port, so that the attacker need not look for it.
fn ice(local: SocketAddrV4) -> IceTransport {
    IceTransport::new(Network::System(bind(local)))
}

fn bind(local: SocketAddrV4) -> BindConfig {
    BindConfig::address((*local.ip()).into()).with_ports(local.port()..=local.port())
}

/// Writes a look for each line of the standard input, on a thread of its own; its end cancels.
fn answer(runtime: Handle, counts: Arc<Counts>, cancel: CancellationToken) {
    thread::spawn(move || {
        let _inside = runtime.enter();
        for line in std::io::stdin().lock().lines() {
            let (Ok(_), Ok(look)) = (line, serde_json::to_string(&counts.look())) else {
                break;
            };
            println!("{look}");
        }
        cancel.cancel();
    });
}
