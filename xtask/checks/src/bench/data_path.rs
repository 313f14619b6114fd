//! Datagrams per second on the agent's reading end of a base, beside a bare tokio socket; and
//! through a connected pair of agents, beside stock webrtc-ice's own.

use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::{AgentConfig, Base, IceAgent, IceConn, Role};
use serde::Serialize;
use tokio::net::UdpSocket;
use webrtc_util::Conn;

use super::plot::{self, Plot, Scale};
use super::progress::Progress;
use super::{Good, Section, Spread, Target, allocations, times};
use crate::{Failure, bounds, peers, stock};

/// A full datagram of a data channel. Its first byte distinguishes it from STUN.
pub(super) const DATAGRAM: [u8; 1_200] = [0x80; 1_200];
/// Datagrams that wait in the kernel at once: its default buffer holds them all.
pub(super) const BURST: usize = 64;
const BURSTS_PER_ROUND: usize = 100;
pub(super) const ROUNDS: usize = 60;
const PAIR_BURSTS_PER_ROUND: usize = 20;
/// Connected pairs exchange a few more checks at first.
const SETTLED: Duration = Duration::from_millis(500);

#[derive(Debug, Serialize)]
struct DataPath {
    rows: Vec<Row>,
    /// The base's datagrams per second, as a part of a bare socket's.
    of_bare_socket: Spread,
    /// The same, both through the interface of the ICE library.
    of_stock_end: Spread,
    /// A pair of ours, of a stock pair's.
    of_stock_pair: Spread,
    /// Allocations per datagram beyond those of the other side.
    added_by_base: f64,
    added_by_end: f64,
    added_by_pair: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    path: &'static str,
    datagrams_per_second: Spread,
    allocations_per_datagram: f64,
}

/// Datagrams per second of each round. The median burst of a round counts, because a burst may lose
/// the processor in the middle.
#[derive(Default)]
pub(super) struct Run {
    rates: Vec<f64>,
    pub(super) round: Vec<Duration>,
    allocations: usize,
    datagrams: usize,
}

impl Run {
    fn end_round(&mut self) {
        let median = Spread::of(
            self.round
                .drain(..)
                .map(|burst| burst.as_secs_f64())
                .collect(),
        )
        .median;
        self.rates.push(BURST as f64 / median);
    }

    pub(super) fn datagrams_per_second(&self) -> Spread {
        Spread::of(self.rates.clone())
    }

    pub(super) fn allocations_per_datagram(&self) -> f64 {
        self.allocations as f64 / self.datagrams as f64
    }

    fn row(&self, path: &'static str) -> Row {
        Row {
            path,
            datagrams_per_second: self.datagrams_per_second(),
            allocations_per_datagram: self.allocations_per_datagram(),
        }
    }

    /// The ratio round by round, because other work of the machine then falls on both. Two rounds
    /// make one figure, because each round favours one place in the order.
    pub(super) fn relative_to(&self, other: &Self) -> Spread {
        let ratios: Vec<f64> = self
            .rates
            .iter()
            .zip(&other.rates)
            .map(|(a, b)| a / b)
            .collect();
        Spread::of(
            ratios
                .chunks_exact(2)
                .map(|two| (two[0] * two[1]).sqrt())
                .collect(),
        )
    }
}

pub(super) async fn run() -> Result<Section, Failure> {
    let data_path = measure().await?;
    let ratios = [
        (
            "data path: base, of a bare tokio socket",
            data_path.of_bare_socket,
        ),
        (
            "data path: base, of stock's reading end",
            data_path.of_stock_end,
        ),
        (
            "data path: our pair, of a stock pair",
            data_path.of_stock_pair,
        ),
    ];
    let added = |what, figure: f64| {
        Target::count(
            what,
            0,
            format!("{figure:.4}"),
            figure < bounds::ALLOCATIONS_ADDED,
        )
    };
    let (good, gate) = (
        Good::AtLeast(bounds::DATA_PATH),
        Good::AtLeast(bounds::DATA_PATH_GATE),
    );
    let mut targets: Vec<_> = ratios
        .map(|(what, spread)| Target::ratio(what, spread, good, gate))
        .into();
    targets.extend([
        added(
            "allocations added per datagram, base",
            data_path.added_by_base,
        ),
        added(
            "allocations added per datagram, reading end",
            data_path.added_by_end,
        ),
        added(
            "allocations added per datagram, pair",
            data_path.added_by_pair,
        ),
    ]);
    let heads = vec![
        "data path, 1,200 bytes",
        "datagrams/s p10",
        "median",
        "p90",
        "allocations/datagram",
    ];
    let cells = |row: &Row| {
        let mut cells = vec![row.path.to_owned()];
        cells.extend(rates(row.datagrams_per_second));
        cells.push(format!("{:.3}", row.allocations_per_datagram));
        cells
    };
    Ok(Section {
        figures: serde_json::json!(data_path),
        tables: vec![(heads, data_path.rows.iter().map(cells).collect())],
        plots: vec![plot_of_ratios(
            "Datagrams per second, as a part of the compared program's",
            &ratios,
            bounds::DATA_PATH,
        )],
        targets,
        ..Section::default()
    })
}

/// The rates as cells of the table.
pub(super) fn rates(
    Spread {
        p10, median, p90, ..
    }: Spread,
) -> [String; 3] {
    [p10, median, p90].map(|rate| format!("{rate:.0}"))
}

/// Each as a point, with a line where both would be equal and one where the bound lies.
pub(super) fn plot_of_ratios(
    title: &'static str,
    ratios: &[(&'static str, Spread)],
    bound: f64,
) -> Plot {
    let row = |(what, spread): &(&str, Spread)| {
        plot::Row::new(*what, *spread, true, times(spread.median))
    };
    Plot {
        title,
        axis: "ratio, with the middle 80 % of it; the lines: the bound, and 1 (both the same); more is better",
        scale: Scale::Ratio,
        rows: ratios.iter().map(row).collect(),
        lines: vec![bound, 1.0],
    }
}

async fn measure() -> Result<DataPath, Failure> {
    // on one thread: where a scheduler puts tasks is nothing of theirs
    let (ends, pairs) = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { Ok::<_, Failure>((reading_ends().await?, pairs().await?)) })
    })
    .await??;
    let ([bare, base, stock_end, end], [stock, ours]) = (ends, pairs);
    let added = |ours: &Run, other: &Run| {
        ours.allocations_per_datagram() - other.allocations_per_datagram()
    };
    Ok(DataPath {
        of_bare_socket: base.relative_to(&bare),
        of_stock_end: end.relative_to(&stock_end),
        of_stock_pair: ours.relative_to(&stock),
        added_by_base: added(&base, &bare),
        added_by_end: added(&end, &stock_end),
        added_by_pair: added(&ours, &stock),
        rows: vec![
            bare.row("received: bare tokio socket"),
            base.row("received: base"),
            stock_end.row("received through the ICE library's interface: bare socket"),
            end.row("received through the ICE library's interface: base"),
            stock.row("sent and received: stock pair"),
            ours.row("sent and received: our pair"),
        ],
    })
}

enum End {
    Bare(UdpSocket),
    Base(Base),
    Conn(Arc<dyn Conn + Send + Sync>),
}

impl End {
    fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(match self {
            Self::Bare(socket) => socket.local_addr()?,
            Self::Base(base) => base.local_addrs().next().ok_or("the base has no socket")?,
            Self::Conn(conn) => conn.local_addr()?,
        })
    }

    async fn drain(&self, buffer: &mut [u8]) -> Result<(), Failure> {
        match self {
            Self::Bare(socket) => {
                for _ in 0..BURST {
                    socket.recv_from(buffer).await?;
                }
            }
            Self::Base(base) => {
                for _ in 0..BURST {
                    base.recv_as_agent(buffer).await?;
                }
            }
            Self::Conn(conn) => {
                for _ in 0..BURST {
                    conn.recv_from(buffer).await?;
                }
            }
        }
        Ok(())
    }
}

/// Reads datagrams that already wait in the kernel, because the sender's time must not count.
async fn reading_ends() -> Result<[Run; 4], Failure> {
    let loopback = peers::loopback();
    let sender = StdUdpSocket::bind("127.0.0.1:0")?;
    let behind_interface = Base::bind(loopback.clone()).await?;
    let ends = [
        End::Bare(UdpSocket::bind("127.0.0.1:0").await?),
        End::Base(Base::bind(loopback).await?),
        End::Conn(Arc::new(UdpSocket::bind("127.0.0.1:0").await?)),
        End::Conn(
            behind_interface
                .agent_end()
                .ok_or("the base has no socket")?,
        ),
    ];
    let mut rounds = Rounds::<4>::default();
    let mut buffer = [0; 8_192];
    let mut progress = Progress::of("reading ends, rounds");
    for round in 0..=ROUNDS {
        progress.at(round, ROUNDS);
        for _ in 0..BURSTS_PER_ROUND {
            for place in in_turn::<4>(round) {
                let end = &ends[place];
                let address = end.address()?;
                for _ in 0..BURST {
                    sender.send_to(&DATAGRAM, address)?;
                }
                let drain = end.drain(&mut buffer);
                rounds.time(place, drain).await?;
            }
        }
        rounds.end();
    }
    Ok(rounds.runs)
}

/// Reverses the order in every other round, because each reader finds the caches as the one before
/// left them.
pub(super) fn in_turn<const N: usize>(round: usize) -> [usize; N] {
    std::array::from_fn(|place| {
        if round.is_multiple_of(2) {
            place
        } else {
            N - 1 - place
        }
    })
}

/// Runs side by side in bursts, so that whatever else the machine does falls on all of them.
pub(super) struct Rounds<const N: usize> {
    pub(super) runs: [Run; N],
    is_warm: bool,
}

impl<const N: usize> Default for Rounds<N> {
    fn default() -> Self {
        Self {
            runs: std::array::from_fn(|_| Run::default()),
            is_warm: false,
        }
    }
}

impl<const N: usize> Rounds<N> {
    pub(super) async fn time(
        &mut self,
        place: usize,
        burst: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let (started, before) = (Instant::now(), allocations());
        burst.await?;
        let (elapsed, allocated) = (started.elapsed(), allocations() - before);
        self.runs[place].round.push(elapsed);
        self.runs[place].allocations += allocated;
        self.runs[place].datagrams += BURST;
        Ok(())
    }

    /// Files a round; the first one warms up.
    pub(super) fn end(&mut self) {
        if !self.is_warm {
            *self = Self {
                is_warm: true,
                ..Self::default()
            };
            return;
        }
        self.runs.iter_mut().for_each(Run::end_round);
    }
}

/// A connected pair, one way.
enum Pair {
    Stock(Box<stock::Pair>),
    Ours {
        _agents: Box<[IceAgent; 2]>,
        sender: IceConn,
        receiver: IceConn,
    },
}

impl Pair {
    async fn ours() -> Result<Self, Failure> {
        let loopback = peers::loopback();
        let (left, right) = (
            Base::bind(loopback.clone()).await?,
            Base::bind(loopback).await?,
        );
        let config = AgentConfig::default()
            .with_check_interval(Duration::from_millis(20))
            .with_keepalive_interval(Duration::from_secs(60));
        let mut a = IceAgent::new(&left, Role::Controlling, config).await?;
        let mut b = IceAgent::new(&right, Role::Controlled, config).await?;
        let (to_a, to_b) = (peers::describe(&left, &a), peers::describe(&right, &b));
        let (sender, receiver) = tokio::try_join!(
            a.connect(to_b, bounds::CONNECTED_WITHIN),
            b.connect(to_a, bounds::CONNECTED_WITHIN)
        )?;
        Ok(Self::Ours {
            _agents: Box::new([a, b]),
            sender,
            receiver,
        })
    }

    async fn burst(&self, buffer: &mut [u8]) -> Result<(), Failure> {
        match self {
            Self::Stock(pair) => {
                for _ in 0..BURST {
                    pair.sender.send(&DATAGRAM).await?;
                }
                for _ in 0..BURST {
                    pair.receiver.recv(buffer).await?;
                }
            }
            Self::Ours {
                sender, receiver, ..
            } => {
                for _ in 0..BURST {
                    sender.send(&DATAGRAM).await?;
                }
                for _ in 0..BURST {
                    receiver.recv(buffer).await.ok_or("the connection ended")?;
                }
            }
        }
        Ok(())
    }
}

async fn pairs() -> Result<[Run; 2], Failure> {
    let pairs = [
        Pair::Stock(Box::new(stock::Pair::connect().await?)),
        Pair::ours().await?,
    ];
    // the last checks of both
    tokio::time::sleep(SETTLED).await;
    let mut rounds = Rounds::<2>::default();
    let mut buffer = [0; 8_192];
    let mut progress = Progress::of("connected pairs, rounds");
    for round in 0..=ROUNDS {
        progress.at(round, ROUNDS);
        for _ in 0..PAIR_BURSTS_PER_ROUND {
            for place in in_turn::<2>(round) {
                let pair = &pairs[place];
                let burst = async {
                    let burst =
                        tokio::time::timeout(bounds::CONNECTED_WITHIN, pair.burst(&mut buffer));
                    burst.await.map_err(|_| "a datagram was lost")?
                };
                rounds.time(place, burst).await?;
            }
        }
        rounds.end();
    }
    for pair in pairs {
        if let Pair::Stock(pair) = pair {
            pair.close().await?;
        }
    }
    Ok(rounds.runs)
}
