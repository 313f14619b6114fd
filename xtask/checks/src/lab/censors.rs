//! `lab censors`: our consumer and a producer, with the kernel's nftables as a censor between them: the
//! verdict on the stage, against what was built.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::signalling::{MemorySignalling, Signalling, Switchboard};
use consumer_fsm::transport::{
    DataChannel, DataChannelSession, IceTransport, Network, Session, Transport, TransportError,
};
use consumer_fsm::{
    AttemptReport, Consumer, Datagrams, NoticeKind, Producer, SessionDescription, StunCache, Timing,
};
use ice_gather::capture::{Capture, CapturedPath};
use ice_gather::{
    Base, BindConfig, BindError, Credentials, DatagramCarrier, GatheredCandidate, Gathering, Role,
    StunServer,
};
use nat_summary::stage::{StageReport, StageVerdict};
use nat_summary::{CandidateKind, Evidence};
use otel_nat::keys;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Choice;
use super::cases::Cohort;
use super::meeting::MASQUERADE;
use super::meeting::only;
use crate::interop::{self, Startable};
use crate::kernel::namespace::Namespace;
use crate::kernel::recorder::Recorder;
use crate::kernel::world::{Site, World};
use crate::spans::{Spans, attribute};
use crate::{Failure, needs, table};

/// Which packets a rule sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the consumer.
    Out,
    /// To the consumer.
    In,
}

/// The censor, or a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// This nftables match drops from the beginning.
    Drop(&'static str, Direction),
    /// Three of ten packets vanish, each way.
    Loss,
    /// Every packet vanishes once the path has carried data.
    Dead,
    /// The certificate is not the one announced.
    Certificate,
    /// DTLS of the peer leaves so much later.
    Slow(Duration),
}

/// One line of the lab.
struct Case {
    name: &'static str,
    fault: Fault,
    /// The verdict that the proofs allow, and why there is none.
    expected: &'static [StageVerdict],
    why: &'static str,
    slow: bool,
}

impl Case {
    fn named(&self, peer: Option<&Startable>) -> String {
        let peer = peer.map_or("ours", |peer| peer.name);
        format!("{}, peer {peer}", self.name)
    }
}

const UNKNOWN: &[StageVerdict] = &[StageVerdict::Unknown];
const NEVER_CAME: &[StageVerdict] = &[StageVerdict::HelloNeverCame];
const STALLED: &[StageVerdict] = &[StageVerdict::HandshakeStalled];
const FROZEN: &[StageVerdict] = &[StageVerdict::FrozenAfterOpen];

/// Payload byte n is at bit 64 + 8 n from the header of UDP.
const HELLO: &str = "@th,64,8 0x16 @th,168,8 0x01";
const HANDSHAKE: &str = "@th,64,8 0x16";
const DTLS: &str = "@th,64,8 20-63";
const LARGE: &str = "udp length > 900";
const BYTES: &str = "@th,64,8 20-63 quota over 20000 bytes";
const RATE: &str = "@th,64,8 20-63 limit rate over 20/second burst 5 packets";

const CASES: &[Case] = &[
    Case {
        name: "none",
        fault: Fault::None,
        expected: UNKNOWN,
        why: "nothing is stopped",
        slow: false,
    },
    Case {
        name: "hello in",
        fault: Fault::Drop(HELLO, Direction::In),
        expected: NEVER_CAME,
        why: "",
        slow: false,
    },
    Case {
        name: "hello out",
        fault: Fault::Drop(HELLO, Direction::Out),
        expected: UNKNOWN,
        why: "the peer is the DTLS client: no hello leaves",
        slow: true,
    },
    Case {
        name: "handshake in",
        fault: Fault::Drop(HANDSHAKE, Direction::In),
        expected: NEVER_CAME,
        why: "",
        slow: true,
    },
    Case {
        name: "handshake out",
        fault: Fault::Drop(HANDSHAKE, Direction::Out),
        expected: STALLED,
        why: "",
        slow: false,
    },
    Case {
        name: "DTLS in",
        fault: Fault::Drop(DTLS, Direction::In),
        expected: NEVER_CAME,
        why: "",
        slow: true,
    },
    Case {
        name: "DTLS out",
        fault: Fault::Drop(DTLS, Direction::Out),
        expected: STALLED,
        why: "",
        slow: true,
    },
    Case {
        name: "large out",
        fault: Fault::Drop(LARGE, Direction::Out),
        expected: &[StageVerdict::LargePacketsVanish],
        why: "",
        slow: false,
    },
    Case {
        name: "large in",
        fault: Fault::Drop(LARGE, Direction::In),
        expected: &[StageVerdict::Unknown, StageVerdict::HelloNeverCame],
        why: "what the peer sends again is encrypted; a hello of more than 900 bytes never comes",
        slow: true,
    },
    Case {
        name: "after 20 kB out",
        fault: Fault::Drop(BYTES, Direction::Out),
        expected: FROZEN,
        why: "",
        slow: true,
    },
    Case {
        name: "after 20 kB in",
        fault: Fault::Drop(BYTES, Direction::In),
        expected: FROZEN,
        why: "",
        slow: true,
    },
    Case {
        name: "20 packets a second in",
        fault: Fault::Drop(RATE, Direction::In),
        expected: UNKNOWN,
        why: "loss alone proves nothing",
        slow: true,
    },
    Case {
        name: "30 % loss",
        fault: Fault::Loss,
        expected: UNKNOWN,
        why: "loss alone proves nothing",
        slow: true,
    },
    Case {
        name: "peer dies",
        fault: Fault::Dead,
        expected: &[StageVerdict::PathLost],
        why: "",
        slow: true,
    },
    Case {
        name: "another certificate",
        fault: Fault::Certificate,
        expected: &[StageVerdict::HandshakeRefused],
        why: "",
        slow: false,
    },
    Case {
        name: "peer slow by 300 ms",
        fault: Fault::Slow(Duration::from_millis(300)),
        expected: UNKNOWN,
        why: "nothing is stopped",
        slow: true,
    },
    Case {
        name: "peer slow by 8 s",
        fault: Fault::Slow(Duration::from_secs(8)),
        expected: NEVER_CAME,
        why: "",
        slow: true,
    },
];

/// An open path carries data for so long, and one that is stopped has longer.
const CARRIES: Duration = Duration::from_secs(8);
const WATCHED: Duration = Duration::from_secs(45);
/// Between two datagrams of each size.
const PAUSE: Duration = Duration::from_millis(100);

/// One line of the result.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    verdict: &'static str,
    expected: Vec<&'static str>,
    why: &'static str,
    stage: &'static str,
    role: &'static str,
    version: &'static str,
    last_in: &'static str,
    last_out: &'static str,
    flights: u32,
    asked: u32,
    answered: u32,
    sent: u32,
    received: u32,
    vanish_above: Option<u16>,
    /// By a capture on the consumer's host, which holds no keys.
    capture: &'static str,
    /// The name of the span, `error.type`, and the verdict in it.
    span: Vec<String>,
    seconds: f64,
    wrong: Vec<String>,
}

/// Whether every verdict is the truth, and none is missing whose proof exists.
pub(super) fn judge_all(choice: &Choice) -> Result<bool, Failure> {
    needs::lab().map_or(Ok(()), Err)?;
    let (strangers, skipped) = if choice.quick {
        (Vec::new(), Vec::new())
    } else {
        interop::startable()?
    };
    if let Some(folder) = &choice.keep {
        std::fs::create_dir_all(folder)?;
    }
    let mut rows = Vec::new();
    for peer in core::iter::once(None).chain(strangers.iter().map(Some)) {
        for case in CASES {
            let is_ours = matches!(case.fault, Fault::Certificate | Fault::Slow(_));
            let name = case.named(peer);
            let is_named = |part: &str| name.contains(part);
            if (choice.quick && case.slow)
                || (is_ours && peer.is_some())
                || !choice.only.as_deref().is_none_or(is_named)
            {
                continue;
            }
            let again = |failure| format!("{name}: {failure}");
            let keep = choice.keep.as_deref();
            let mut row = self::row(case, peer, keep).map_err(again)?;
            // five seconds hold three answered checks, and the proof takes three: one that is late leaves
            // none
            if !row.wrong.is_empty() && row.verdict == StageVerdict::Unknown.as_str() {
                row = self::row(case, peer, keep).map_err(again)?;
            }
            if !choice.json {
                println!(
                    "{:<40} {:<22} {:>5.1} s",
                    row.case, row.verdict, row.seconds
                );
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err("no case has that in its name".into());
    }
    let passed = rows.iter().all(|row| row.wrong.is_empty());
    if choice.json {
        println!(
            "{:#}",
            serde_json::json!({ "passed": passed, "skipped": skipped, "cases": rows })
        );
        return Ok(passed);
    }
    let cells = |row: &Row| {
        vec![
            row.case.clone(),
            row.verdict.to_owned(),
            row.capture.to_owned(),
            row.stage.to_owned(),
            format!("{} {}", row.role, row.version),
            row.last_in.to_owned(),
            row.last_out.to_owned(),
            row.flights.to_string(),
            format!("{}/{}", row.answered, row.asked),
            format!("{}/{}", row.sent, row.received),
            row.span.join(" "),
            format!("{:.1} s", row.seconds),
            if row.wrong.is_empty() {
                row.why
            } else {
                "WRONG"
            }
            .to_owned(),
        ]
    };
    let heads = [
        "censor",
        "verdict",
        "by the capture",
        "stage",
        "DTLS",
        "last in",
        "last out",
        "flights",
        "checks",
        "datagrams",
        "span",
        "time",
        "",
    ];
    let lines: Vec<_> = rows.iter().map(cells).collect();
    println!("\n{}", table::render(&heads, &lines));
    for row in &rows {
        for fault in &row.wrong {
            println!("WRONG  {}: {fault}", row.case);
        }
    }
    skipped.iter().for_each(|why| println!("skipped: {why}"));
    let wrong = rows.iter().filter(|row| !row.wrong.is_empty()).count();
    println!("{} censors and faults, {wrong} wrong", rows.len());
    Ok(passed)
}

fn row(case: &Case, peer: Option<&Startable>, keep: Option<&Path>) -> Result<Row, Failure> {
    let world = World::build(Site::behind(only(MASQUERADE)), false)?;
    let router = world.routers.last().ok_or("a site has a router")?;
    match case.fault {
        Fault::Drop(rule, direction) => censor(router, rule, &[direction])?,
        Fault::Loss => censor(
            router,
            "numgen random mod 100 < 30",
            &[Direction::Out, Direction::In],
        )?,
        _ => {}
    }
    let recorder = Recorder::start(&world.client)?;
    // the peer is the DTLS client: its ClientHello is seen to leave there alone
    let at_peer = keep.map(|_| Recorder::start(&world.peer)).transpose()?;
    let spans = Spans::default();
    let begun = Instant::now();
    let found = match peer {
        None => meet_ours(case.fault, &world, &spans, router),
        Some(peer) => peer.meet(&world, |url| {
            let signalling = HttpSignalling::new(url)?;
            let here = || consume(signalling, &spans, world.client_ipv4, case.fault, router);
            world.client.block_on(here)
        }),
    }?;
    let seconds = begun.elapsed().as_secs_f64();
    let capture = recorder.finish()?;
    if let (Some(folder), Some(at_peer)) = (keep, at_peer) {
        let name = case.named(peer).replace([' ', ','], "_");
        std::fs::write(folder.join(format!("{name}.pcap")), &capture)?;
        let at_peer = at_peer.finish()?;
        std::fs::write(folder.join(format!("{name}_at_the_peer.pcap")), at_peer)?;
    }
    let captured = by_capture(&capture, world.client_ipv4)?;
    let spans = spans.take();
    let [span] = &spans[..] else {
        return Err(format!("{} spans of one attempt", spans.len()).into());
    };
    let (report, stage) = found;
    let verdict = stage.verdict;
    let mut wrong = Vec::new();
    if !case.expected.contains(&verdict) {
        wrong.push(format!("the verdict is {verdict}, not {:?}", case.expected));
    }
    if captured != StageVerdict::Unknown && !case.expected.contains(&captured) {
        wrong.push(format!("the verdict of the capture is {captured}"));
    }
    let exported = attribute(span, keys::STAGE_VERDICT);
    let has_failed = span.name != keys::SPAN_SUCCESS;
    if has_failed && exported.as_deref() != Some(verdict.as_str()) {
        wrong.push(format!("the span has the verdict {exported:?}"));
    }
    if attribute(span, keys::STAGE).is_none() {
        wrong.push("the span has no stage".to_owned());
    }
    if report.ending.is_none() {
        wrong.push("the attempt has no ending".to_owned());
    }
    let exported = [keys::ERROR_TYPE, keys::FAILURE_CAUSE, keys::STAGE_VERDICT];
    let exported = exported.iter().filter_map(|key| attribute(span, key));
    Ok(Row {
        case: case.named(peer),
        verdict: verdict.as_str(),
        expected: case
            .expected
            .iter()
            .map(|verdict| verdict.as_str())
            .collect(),
        why: case.why,
        stage: stage.stage.as_str(),
        role: stage.role.as_str(),
        version: stage.version.as_str(),
        last_in: stage.last_in.as_str(),
        last_out: stage.last_out.as_str(),
        flights: stage.flights,
        asked: stage.asked,
        answered: stage.answers,
        sent: stage.sent.datagrams,
        received: stage.received.datagrams,
        vanish_above: stage.vanish_above,
        capture: captured.as_str(),
        span: core::iter::once(span.name.to_string())
            .chain(exported)
            .collect(),
        seconds,
        wrong,
    })
}

/// The verdict from a capture: of the pair that carried most.
fn by_capture(capture: &[u8], client: IpAddr) -> Result<StageVerdict, Failure> {
    let capture = Capture::read(capture)?;
    let hosts = capture.hosts.iter().filter(|host| host.host == client);
    let paths = hosts.flat_map(|host| &host.paths);
    let carried = |path: &&CapturedPath| {
        u64::from(path.report.sent.datagrams) + u64::from(path.report.received.datagrams)
    };
    let path = paths.max_by_key(carried);
    Ok(path.map_or(StageVerdict::Unknown, |path| path.report.verdict))
}

/// Our producer, and our consumer.
fn meet_ours(
    fault: Fault,
    world: &World,
    spans: &Spans,
    router: &Namespace,
) -> Result<(AttemptReport, StageReport), Failure> {
    let (switchboard, over) = (Switchboard::default(), CancellationToken::new());
    std::thread::scope(|scope| {
        let (signalling, ending) = (MemorySignalling::new(switchboard.clone()), over.clone());
        let there = scope.spawn(|| world.peer.block_on(|| produce(signalling, fault, ending)));
        let signalling = MemorySignalling::new(switchboard.clone());
        let here = || consume(signalling, spans, world.client_ipv4, fault, router);
        let found = world.client.block_on(here);
        over.cancel();
        there
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        found
    })
}

/// Has the router drop the packets that match, in these directions.
fn censor(router: &Namespace, rule: &str, directions: &[Direction]) -> Result<(), Failure> {
    let rules: String = directions
        .iter()
        .map(|direction| {
            let interface = match direction {
                Direction::Out => "lan",
                Direction::In => "wan*",
            };
            // the servers answer as ever
            format!("iifname \"{interface}\" ip saddr != 203.0.113.0/24 ip daddr != 203.0.113.0/24 meta l4proto udp {rule} drop\n")
        })
        .collect();
    let table = format!(
        "table inet censor {{\nchain forward {{\ntype filter hook forward priority -10;\n{rules}}}\n}}\n"
    );
    router.run("nft", &["-f", "-"], &table)
}

/// One attempt, and a path that carries data of two sizes while it is there.
async fn consume(
    signalling: impl Signalling,
    spans: &Spans,
    local: IpAddr,
    fault: Fault,
    router: &Namespace,
) -> Result<(AttemptReport, StageReport), Failure> {
    let network = Network::System(BindConfig::address(local));
    let transport = DataChannel::new(IceTransport::new(network));
    let servers = Cohort::Five.servers().into_iter();
    let servers = servers.take(3).map(StunServer::Address).collect();
    let (to_path, outbound) = mpsc::channel(64);
    let (inbound, mut from_path) = mpsc::channel(64);
    let timing = Timing::default().with_patience(Duration::from_millis(50));
    let cancel = CancellationToken::new();
    let mut consumer = Consumer::new(
        signalling,
        transport,
        spans.telemetry(),
        StunCache::new(servers),
    )
    .with_timing(timing)
    .with_datagrams(Datagrams { outbound, inbound });
    let mut notices = consumer.notices();
    let traffic = async {
        loop {
            // the path may be full, or not there yet
            let _ = to_path.try_send(Bytes::from(vec![1; 100]));
            let _ = to_path.try_send(Bytes::from(vec![2; 1_100]));
            tokio::time::sleep(PAUSE).await;
        }
    };
    let drain = async {
        while from_path.recv().await.is_some() {}
        core::future::pending::<()>().await;
    };
    // until the path is stopped, or has carried data for long enough
    let ends = async {
        let mut stopped = None;
        while let Some(notice) = notices.next().await {
            match notice.kind {
                NoticeKind::PathUp => break,
                NoticeKind::Failed(_) => core::future::pending::<()>().await,
                _ => {}
            }
        }
        if fault == Fault::Dead {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let everything = "";
            // the sockets of this thread stay where they are
            let _ = censor(router, everything, &[Direction::Out, Direction::In]);
        }
        let is_stopped = matches!(fault, Fault::Dead | Fault::Drop(BYTES | LARGE, _));
        let watched = if is_stopped { WATCHED } else { CARRIES };
        let until = tokio::time::Instant::now() + watched;
        while let Ok(Some(notice)) = tokio::time::timeout_at(until, notices.next()).await {
            if let NoticeKind::Stopping(report) = notice.kind {
                stopped = Some(*report);
                break;
            }
        }
        cancel.cancel();
        stopped
    };
    let mut stopped = None;
    let report = {
        let mut attempt = core::pin::pin!(consumer.attempt(&cancel));
        let mut ends = core::pin::pin!(ends);
        let mut others = core::pin::pin!(async { tokio::join!(traffic, drain) });
        loop {
            tokio::select! {
                report = &mut attempt => break report,
                report = &mut ends, if !cancel.is_cancelled() => stopped = report,
                _ = &mut others => {}
            }
        }
    };
    let stage = stopped.or(report.stage).ok_or("no stage")?;
    Ok((report, stage))
}

/// A producer that echoes until it is over.
async fn produce(
    signalling: MemorySignalling,
    fault: Fault,
    over: CancellationToken,
) -> Result<(), Failure> {
    let address = World::peer_ip(true);
    let network = match fault {
        Fault::Slow(delay) => Network::custom(move || slow(address, delay)),
        _ => Network::System(BindConfig::address(address)),
    };
    let transport = Announces {
        channel: DataChannel::new(IceTransport::new(network)),
        is_false: fault == Fault::Certificate,
    };
    let producer = Producer::new(signalling, transport, Vec::new());
    let serving = async {
        loop {
            if let Ok(served) = producer.serve().await {
                served.echo(&over).await;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = over.cancelled() => {}
    }
    Ok(())
}

/// A socket whose DTLS leaves late.
async fn slow(address: IpAddr, delay: Duration) -> Result<Base, BindError> {
    let refused = |error: io::Error| BindError::Socket(error.kind());
    let socket = UdpSocket::bind((address, 0)).await.map_err(refused)?;
    Base::from_carrier(Slow {
        socket: std::sync::Arc::new(socket),
        delay,
    })
}

struct Slow {
    socket: std::sync::Arc<UdpSocket>,
    delay: Duration,
}

impl DatagramCarrier for Slow {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> io::Result<usize> {
        if !matches!(buffer.first(), Some(20..64)) {
            return self.socket.send_to(buffer, target).await;
        }
        let (socket, datagram, delay) = (self.socket.clone(), buffer.to_vec(), self.delay);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&datagram, target).await;
        });
        Ok(buffer.len())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A data channel whose description may name another certificate.
struct Announces {
    channel: DataChannel,
    is_false: bool,
}

struct AnnouncesSession {
    session: DataChannelSession,
    is_false: bool,
}

impl Transport for Announces {
    type Session = AnnouncesSession;

    async fn open(&self, role: Role) -> Result<AnnouncesSession, TransportError> {
        Ok(AnnouncesSession {
            session: self.channel.open(role).await?,
            is_false: self.is_false,
        })
    }
}

impl Session for AnnouncesSession {
    type Path = <DataChannelSession as Session>::Path;

    fn credentials(&self) -> &Credentials {
        self.session.credentials()
    }

    fn describe(
        &self,
        offer: Option<&SessionDescription>,
        candidates: &[GatheredCandidate],
    ) -> String {
        let description = self.session.describe(offer, candidates);
        let name = "a=fingerprint:sha-256 ";
        match description.split_once(name) {
            Some((before, digest)) if self.is_false => {
                let other = if digest.starts_with("00") { "01" } else { "00" };
                let rest = digest.get(2..).unwrap_or_default();
                format!("{before}{name}{other}{rest}")
            }
            _ => description,
        }
    }

    async fn gather(&self, cohort: &[StunServer]) -> Gathering {
        self.session.gather(cohort).await
    }

    fn evidence(&self) -> Box<Evidence> {
        self.session.evidence()
    }

    async fn connect(
        &mut self,
        remote: SessionDescription,
        deadline: Duration,
    ) -> Result<Self::Path, TransportError> {
        self.session.connect(remote, deadline).await
    }

    fn selected_pair(&self) -> Option<(CandidateKind, CandidateKind)> {
        self.session.selected_pair()
    }

    async fn close(self) {
        self.session.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::stands_in_short;
    use super::judge_all;

    #[test]
    fn each_censor_has_the_verdict_whose_proof_exists() {
        stands_in_short(judge_all);
    }
}
