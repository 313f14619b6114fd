//! One gathering for a person who waits: its sockets, its progress line, and Ctrl-C.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ice_gather::{
    Base, Bind, BindConfig, BindError, Finding, LocalAddresses, Progress, ServerReport, StunServer,
    discover_filtering,
};
use nat_summary::{Filtering, NatSummary, Outcome};

use crate::options::Options;
use crate::outcome::{Problem, status};

/// Most servers asked to help with filtering.
const MAX_FILTERING_SERVERS: usize = 3;
/// Time between two changes of the progress line.
const TICK: Duration = Duration::from_millis(100);

/// The answers of the servers, and the verdict on them.
#[derive(Debug)]
pub(crate) struct Asked {
    /// One report per server, in the order given. After Ctrl-C, only the servers whose requests had ended.
    pub(crate) servers: Vec<ServerReport>,
    pub(crate) summary: NatSummary,
    /// How the NAT filters, where that was asked for.
    pub(crate) filtering: Option<Filtering>,
    /// Unknown after Ctrl-C.
    pub(crate) packets_sent: Option<u32>,
    pub(crate) elapsed: Duration,
    /// Ctrl-C came before the gathering ended.
    pub(crate) is_interrupted: bool,
}

/// Asks these servers once.
pub(crate) async fn ask(options: &Options, servers: &[StunServer]) -> Result<Asked, Problem> {
    let base = bind(options, servers).await?;
    let started = Instant::now();
    let ended = RefCell::new(Vec::new());
    let config = options.gather();
    let gathering = base.gather_with(servers, &config, |news| {
        if let Progress::Server(report) = news {
            ended.borrow_mut().push(report);
        }
    });
    let mut progress = ProgressLine::new(!options.json, servers.len());
    let gathering = tokio::select! {
        gathering = gathering => Some(gathering),
        () = progress.run(started, &ended) => None,
        _ = tokio::signal::ctrl_c() => None,
    };
    drop(progress);
    let Some(gathering) = gathering else {
        return Ok(Asked {
            servers: ended.take(),
            summary: base.summary(),
            filtering: None,
            packets_sent: None,
            elapsed: started.elapsed(),
            is_interrupted: true,
        });
    };
    let filtering = if options.filtering {
        Some(filtering(&gathering.servers).await)
    } else {
        None
    };
    Ok(Asked {
        summary: gathering
            .evidence
            .summary()
            .with_filtering(filtering.unwrap_or_default()),
        servers: gathering.servers,
        filtering,
        packets_sent: Some(gathering.packets_sent),
        elapsed: gathering.elapsed,
        is_interrupted: false,
    })
}

/// The sockets to ask from. A base on the loopback address reaches servers on this host only, and
/// they are reached from no other.
async fn bind(options: &Options, servers: &[StunServer]) -> Result<Base, Problem> {
    let mut bind = options.bind()?;
    let is_loopback =
        |server: &StunServer| matches!(server, StunServer::Address(a) if a.ip().is_loopback());
    if servers.iter().all(is_loopback) {
        for (bind, ip) in [
            (&mut bind.ipv4, IpAddr::from([127, 0, 0, 1])),
            (&mut bind.ipv6, [0, 0, 0, 0, 0, 0, 0, 1].into()),
        ] {
            if *bind == Bind::DefaultRoute {
                *bind = Bind::Address(ip);
            }
        }
    }
    let bound = match Base::bind(bind.clone()).await {
        // no IPv6 on this host is no reason not to ask over IPv4
        Err(_) if bind.ipv4 != Bind::Off && bind.ipv6 != Bind::Off => {
            bind.ipv6 = Bind::Off;
            Base::bind(bind).await
        }
        bound => bound,
    };
    bound.map_err(|error| no_socket(options, error))
}

fn no_socket(options: &Options, error: BindError) -> Problem {
    let family = options.family();
    match (error, &options.interface) {
        (BindError::NoAddress, Some(name)) => Problem::new(
            status::FAILED,
            format!("the interface {name} has no {family} address"),
        ),
        (BindError::NoAddress, None) => {
            let [v4, v6] = LocalAddresses::look().default_route;
            let other = match (v4, v6) {
                (Some(_), None) => "; IPv4 has one",
                (None, Some(_)) => "; IPv6 has one",
                _ => "",
            };
            let message =
                format!("this machine has no network: {family} has no default route{other}");
            Problem::new(status::NO_NETWORK, message)
        }
        (error, _) => Problem::new(
            status::FAILED,
            format!("no socket could be opened: {error}"),
        ),
    }
}

/// Asks a few of the servers that answered for help, each from a fresh socket beside the base.
async fn filtering(servers: &[ServerReport]) -> Filtering {
    let mut discoveries = tokio::task::JoinSet::new();
    for report in servers
        .iter()
        .filter(|report| report.outcome == Outcome::Answered)
    {
        if let (StunServer::Address(server), Some(base)) = (&report.server, report.base)
            && discoveries.len() < MAX_FILTERING_SERVERS
            && let Ok(extra) = Base::bind(BindConfig::address(base.ip())).await
        {
            discoveries.spawn(discover_filtering(extra, *server));
        }
    }
    Finding::agree(discoveries.join_all().await)
}

/// The progress line of a terminal. Each version is written over the one before, and the last is erased.
struct ProgressLine {
    is_shown: bool,
    servers: usize,
}

impl ProgressLine {
    fn new(is_wanted: bool, servers: usize) -> Self {
        Self {
            is_shown: is_wanted && std::io::stderr().is_terminal(),
            servers,
        }
    }

    /// Never ends.
    async fn run(&mut self, started: Instant, ended: &RefCell<Vec<ServerReport>>) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.is_shown {
                let ended = ended.borrow();
                let answered = ended
                    .iter()
                    .filter(|r| r.outcome == Outcome::Answered)
                    .count();
                let seconds = started.elapsed().as_secs_f64();
                write_line(&format!(
                    "{answered} of {} servers answered, {seconds:.1} s",
                    self.servers
                ));
            }
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_shown {
            write_line("");
        }
    }
}

/// Writes over the line that the cursor is in.
fn write_line(text: &str) {
    let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
}
