//! The attempts of a simulated fleet, emitted by `otel-nat` the way a consumer would.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU32;
use std::path::Path;

use nat_summary::Outlook;
use otel_nat::pipeline::{JsonLines, Pipeline};
use otel_nat::{ExternalIp, FailureCause, FailureReason, Telemetry};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::attempt::{Host, Network, Place, punch};
use super::planned::{Plan, Planned, Plans, today};
use super::published::Punching;
use super::truth::{Counted, Truth};
use crate::Failure;
use crate::front::Front;

/// The same fleet each time, but for its days.
const SEED: u64 = 0x05ca_1ab1e;
/// Releases of the consumer, and the share of the newer one.
const RELEASES: [&str; 2] = ["1.4.0", "1.5.0"];
const NEWER: f64 = 0.35;
/// Attempts between two flushes: fewer than a pipeline's queue holds.
const FLUSH: u64 = 1_000;
/// Days of the fleet, up to yesterday: within the 30 days that a store keeps attempts.
const DAYS: u32 = 28;
/// Attempts of one consumer with one peer, if none of them opens a path.
const TRIES: u32 = 3;

/// Days on which a network blocks UDP for some of its hosts, and their share.
const BLOCKED: (std::ops::Range<u32>, f64) = (11..14, 0.08);
/// From this day on a filter drops the handshake of the older release, for this share of its paths.
const FILTERED: (u32, f64) = (20, 0.12);
/// Paths that open and then receive nothing more.
const FROZEN: f64 = 0.008;
/// Pairs whose datagrams are lost on the way during one attempt, though their NATs would let them in.
const CLOSED: f64 = 0.04;
/// Attempts without a number.
const UNCOUNTED: f64 = 0.02;
/// Consumers that have a relay.
const RELAYED: f64 = 0.3;

/// How often each kind of NAT was given each verdict.
pub(crate) type Verdicts = BTreeMap<(String, &'static str), u64>;

/// Makes the attempts, and writes them to `file` as OTLP/JSON lines.
pub(crate) fn emit(file: &Path, attempts: u64) -> Result<(Truth, Verdicts, Punching), Failure> {
    File::create(file)?;
    let append = || OpenOptions::new().append(true).open(file);
    let mut random = SmallRng::seed_from_u64(SEED);
    let (mut truth, mut verdicts) = (Truth::default(), Verdicts::new());
    let mut pipelines = Vec::new();
    for release in RELEASES {
        let resource = opentelemetry_sdk::Resource::builder_empty()
            .with_attribute(opentelemetry::KeyValue::new("service.name", "consumer"))
            .with_attribute(opentelemetry::KeyValue::new("service.version", release))
            .build();
        let plans = Plans::default();
        let exporter = Planned {
            inner: JsonLines::new(append()?),
            plans: plans.clone(),
        };
        let pipeline = Pipeline::builder()
            .with_resource(resource)
            .export_to(exporter);
        let telemetry = pipeline.telemetry().with_external_ip(ExternalIp::Prefix);
        pipelines.push((release, pipeline, telemetry, plans));
    }
    let mut punching = Punching::default();
    let mut made = 0;
    while made < attempts {
        let (release, _, telemetry, plans) = &pipelines[usize::from(random.random_bool(NEWER))];
        let nth = u32::try_from(made * u64::from(DAYS) / attempts).unwrap_or_default();
        let mut consumer = Consumer::new(nth, release, &mut random);
        count_consumer(&mut punching, consumer.host.place);
        for number in 1..=TRIES.min(u32::try_from(attempts - made).unwrap_or(TRIES)) {
            let counted = consumer.attempt(telemetry, plans, number, &mut random);
            count_punching(&mut punching, &consumer, &counted, number);
            truth.count(counted);
            *verdicts
                .entry((consumer.host.place.name(), counted.nat_type))
                .or_default() += 1;
            made += 1;
            if made % FLUSH == 0 {
                pipelines
                    .iter()
                    .try_for_each(|(_, pipeline, ..)| pipeline.flush())?;
            }
            // a consumer goes on to another peer unless the checks alone failed
            if counted.failure != Some(FailureReason::Timeout.as_str()) {
                break;
            }
        }
    }
    let mut exported = 0;
    for (_, pipeline, ..) in &pipelines {
        pipeline.flush()?;
        exported += pipeline.delivery().exported;
    }
    if exported != attempts {
        return Err(format!("{exported} of {attempts} spans were exported").into());
    }
    Ok((truth, verdicts, punching))
}

fn count_consumer(punching: &mut Punching, place: Place) {
    punching.consumers += 1;
    punching.carrier += u64::from(matches!(place.network, Network::Carrier | Network::Clat));
    if let Some(is_independent) = place.is_independent() {
        punching.natted[0] += 1;
        punching.natted[1] += u64::from(is_independent);
    }
}

/// Counts an attempt between two hosts behind NATs, if it came as far as the checks.
fn count_punching(punching: &mut Punching, consumer: &Consumer, counted: &Counted, number: u32) {
    let places = [consumer.host.place, consumer.peer.place].map(Place::is_independent);
    let ([Some(ours), Some(theirs)], Some(_)) = (places, counted.outlook) else {
        return;
    };
    let has_met = matches!(counted.stage, "hello" | "open") && !counted.is_relayed;
    punching.sessions += u64::from(number == 1);
    punching.met += u64::from(has_met);
    punching.met_first += u64::from(has_met && number == 1);
    if ours && theirs {
        punching.independent[0] += 1;
        punching.independent[1] += u64::from(has_met);
    }
}

/// Writes the first line again, because a collector that retries delivers twice.
pub(crate) fn deliver_twice(file: &Path) -> Result<(), Failure> {
    let mut line = String::new();
    BufReader::new(File::open(file)?).read_line(&mut line)?;
    OpenOptions::new()
        .append(true)
        .open(file)?
        .write_all(line.as_bytes())?;
    Ok(())
}

/// A consumer, and the peer that it found.
struct Consumer {
    host: Host,
    peer: Host,
    has_relay: bool,
    /// Of the fleet.
    nth: u32,
    release: &'static str,
}

impl Consumer {
    fn new(nth: u32, release: &'static str, random: &mut impl Rng) -> Self {
        let mut host = Host::consumer(random);
        if BLOCKED.0.contains(&nth) && random.random_bool(BLOCKED.1) {
            let place = Place {
                front: Front::Blocked,
                network: Network::V4,
            };
            host = Host::new(place, random);
        }
        let peer = Host::peer_of(&host, random);
        Self {
            host,
            peer,
            has_relay: random.random_bool(RELAYED),
            nth,
            release,
        }
    }

    /// One attempt, from its first request to its span.
    fn attempt(
        &mut self,
        telemetry: &Telemetry,
        plans: &Plans,
        number: u32,
        random: &mut impl Rng,
    ) -> Counted {
        let place = self.host.place;
        let mut attempt = telemetry.attempt();
        // some programs do not count their attempts
        let number = (!random.random_bool(UNCOUNTED)).then_some(number);
        if let Some(number) = number.and_then(NonZeroU32::new) {
            attempt.set_number(number);
        }
        attempt.begin_gathering();
        let evidence = self.host.gather(random);
        // some stacks report their candidates only; no route then looks like a silent server
        let summary = if place.front != Front::NoRoute && random.random_bool(0.03) {
            self.host.candidates().summary()
        } else {
            evidence.summary()
        };
        attempt.end_gathering(&summary);
        let day = today() - DAYS + self.nth;
        let mut counted = Counted::new(day, self.release, &summary);
        counted.number = number;
        let gather = match place.front {
            Front::Blocked => 3.0,
            Front::NoRoute => 0.001,
            _ => 0.01 + 0.15 * random.random::<f64>() * random.random::<f64>(),
        };
        // before the span ends, because it is exported from then on
        let plan = |counted: &Counted| {
            plans.add(Plan {
                day,
                gather,
                stage: counted.stage,
                verdict: counted.stage_verdict,
            });
        };
        if random.random_bool(0.02) {
            counted.set_failure(FailureReason::Cancelled);
            plan(&counted);
            drop(attempt);
            return counted;
        }
        let failure = match place.front {
            Front::Blocked => Some(FailureReason::UdpBlocked),
            Front::NoRoute => Some(FailureReason::NoServerAnswered),
            _ if random.random_bool(0.04) => Some(FailureReason::Signalling),
            _ if random.random_bool(0.05) => Some(FailureReason::PeerGone),
            _ => None,
        };
        if let Some(reason) = failure {
            counted.set_failure(reason);
            plan(&counted);
            attempt.fail(&summary, reason);
            return counted;
        }
        self.peer.gather(random);
        let theirs = self.peer.candidates();
        let outlook = Outlook::between(&summary, &theirs.summary());
        counted.set_peer(&theirs.summary(), outlook);
        counted.stage = "checks";
        attempt.set_peer_summary(&theirs.summary());
        attempt.set_outlook(outlook);
        attempt.begin_checks();
        let is_closed = random.random_bool(CLOSED);
        let punched = punch(&mut self.host, &mut self.peer, is_closed, random);
        attempt.set_checks(punched.checks);
        attempt.set_mapping_toward_peer(punched.toward_peer);
        let relay = nat_summary::CandidateKind::Relayed;
        let relayed = (relay, nat_summary::CandidateKind::ServerReflexive);
        let pair = punched.pair.or_else(|| self.has_relay.then_some(relayed));
        counted.is_relayed = punched.pair.is_none() && self.has_relay;
        if let Some((local, remote)) = pair {
            attempt.set_selected_pair(local, remote);
            if self.is_filtered(random) {
                (counted.stage, counted.stage_verdict) = ("hello", Some("hello_unanswered"));
                counted.set_failure(FailureReason::ChannelFailed);
                plan(&counted);
                attempt.fail(&summary, FailureReason::ChannelFailed);
            } else {
                counted.stage = "open";
                counted.stage_verdict = random.random_bool(FROZEN).then_some("frozen_after_open");
                plan(&counted);
                attempt.succeed(&summary);
            }
        } else {
            counted.set_failure(FailureReason::Timeout);
            let cause = FailureCause::of(&summary, Some(&theirs), punched.checks, false);
            attempt.set_failure_cause(cause);
            plan(&counted);
            attempt.fail(&summary, FailureReason::Timeout);
        }
        counted
    }

    /// Whether a filter drops the handshake.
    fn is_filtered(&self, random: &mut impl Rng) -> bool {
        let share = if self.release == RELEASES[0] && self.nth >= FILTERED.0 {
            FILTERED.1
        } else {
            0.002
        };
        random.random_bool(share)
    }
}
