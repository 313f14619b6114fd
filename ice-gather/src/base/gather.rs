//! Servers are asked: the loop around a [`Plan`], the names it looks up, and what came of it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nat_summary::{Evidence, Outcome};
use tokio::task::JoinSet;

use super::line::Line;
use super::report::{Dropped, Gathering, Progress, ServerReport};
use super::trickle::Told;
use super::{Base, ERROR_PAUSE, Inner, lock};
use crate::config::GatherConfig;
use crate::local;
use crate::names;
use crate::peer::{bump, canonical};
use crate::plan::{Plan, Request};
use crate::unreachable::{Watch, passes};
use crate::uri::StunServer;

/// Addresses of one name that are asked, of each family.
const ADDRESSES_OF_A_NAME: usize = 2;
/// Longest datagram read while gathering: only STUN is expected then.
pub(super) const GATHER_MTU: usize = 1500;

/// What was heard: by the plan that runs now, and by those before it.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) evidence: Box<Evidence>,
    pub(super) plan: Option<Plan>,
    pub(super) names: Vec<(StunServer, Outcome)>,
    /// Addresses asked, with the name each was found by.
    found_by: Vec<(SocketAddr, StunServer)>,
    pub(super) dropped: Dropped,
    next_sequence: u32,
}

impl Base {
    /// Asks every server from the base of its family, in parallel, until it is enough: see
    /// [`GatherConfig`]. May be repeated, to ask again for mappings that may have expired.
    ///
    /// While an agent checks or is connected on this base, it reads the sockets and files the
    /// answers, and gathering only asks. Servers that cannot be reached are silent ones then.
    ///
    /// Cancel safe: a dropped gathering sends nothing more, what it observed stays in
    /// [`evidence`](Self::evidence).
    pub async fn gather(&self, servers: &[StunServer], config: &GatherConfig) -> Gathering {
        self.gather_with(servers, config, |_| ()).await
    }

    /// The same, and tells what is found as it is found (trickle ICE, RFC 8838).
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use ice_gather::{Base, BindConfig, GatherConfig, Progress};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), ice_gather::BindError> {
    /// let base = Base::bind(BindConfig::address(Ipv4Addr::LOCALHOST.into())).await?;
    /// let servers = []; // without any, there is the host candidate
    /// let mut lines = Vec::new();
    /// base.gather_with(&servers, &GatherConfig::default(), |progress| {
    ///     if let Progress::Candidate(found) = progress {
    ///         lines.push(found.as_candidate().to_string());
    ///     }
    /// })
    /// .await;
    /// assert!(lines.len() == 1 && lines[0].contains("127.0.0.1"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn gather_with(
        &self,
        servers: &[StunServer],
        config: &GatherConfig,
        mut progress: impl FnMut(Progress),
    ) -> Gathering {
        let inner = &*self.inner;
        let started = Instant::now();
        inner.start_plan(servers, config, started);
        let mut lookups = resolve(servers);
        let (first, second) = (inner.lines.first(), inner.lines.get(1));
        let mut watches: Vec<Watch<'_>> = inner.lines.iter().filter_map(Line::watch).collect();
        let mut first_buffer = vec![0_u8; GATHER_MTU];
        let mut second_buffer = vec![0_u8; if second.is_some() { GATHER_MTU } else { 0 }];

        let mut told = Told::default();
        while !inner.is_gathered() {
            // an error about a server would fail the agent's own datagrams
            if inner.lines.iter().any(Line::is_taken) {
                watches.clear();
            }
            inner.send_due(&watches).await;
            inner.news(&mut told).into_iter().for_each(&mut progress);
            // a request that could not be sent has ended as well, and may have been the last
            if inner.is_gathered() {
                break;
            }
            let wake_at = inner.next_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                // timers first: a flood of datagrams must not outlast the deadline
                biased;
                () = tokio::time::sleep_until(wake_at.into()) => inner.read_before_silence(&watches),
                Some(resolved) = lookups.join_next() => inner.resolved(resolved.ok()),
                () = inner.answered.notified() => {}
                (line, received) = receive(first, &mut first_buffer) => if let Some(received) = received {
                    inner.sort(line, received.map(|(n, source)| (&first_buffer[..n], source)), &watches).await;
                },
                (line, received) = receive(second, &mut second_buffer) => if let Some(received) = received {
                    inner.sort(line, received.map(|(n, source)| (&second_buffer[..n], source)), &watches).await;
                },
            }
        }
        inner.give_up_names();
        inner.news(&mut told).into_iter().for_each(progress);
        inner.gathering(servers, started.elapsed())
    }
}

type Lookup = (StunServer, Vec<SocketAddr>);

/// Looks every name up in a task of its own; all end with the returned set.
fn resolve(servers: &[StunServer]) -> JoinSet<Lookup> {
    let mut lookups = JoinSet::new();
    for server in servers {
        if let StunServer::Name(host, port) = server {
            let (server, host, port) = (server.clone(), host.clone(), *port);
            lookups.spawn(async move {
                let addresses = names::lookup(&host, port).await;
                (server, addresses)
            });
        }
    }
    lookups
}

type Received = Option<io::Result<(usize, SocketAddr)>>;

/// Receives on `line`; never, if there is none.
async fn receive<'a>(line: Option<&'a Line>, buffer: &mut [u8]) -> (&'a Line, Received) {
    match line {
        Some(line) => (line, line.recv_for_base(buffer).await),
        None => core::future::pending().await,
    }
}

impl Inner {
    /// Starts a plan and files the one before it.
    fn start_plan(&self, servers: &[StunServer], config: &GatherConfig, now: Instant) {
        let mut heard = self.heard();
        heard.retire_plan();
        let sockets = self.lines.iter().map(|line| line.bound).collect();
        let mut plan = Plan::new(*config, sockets, now).with_first_sequence(heard.next_sequence);
        heard.names.clear();
        heard.found_by.clear();
        for server in servers {
            match server {
                StunServer::Address(address) => self.ask(&mut plan, *address, now),
                StunServer::Name(..) => {
                    plan.name_started();
                    heard.names.push((server.clone(), Outcome::Pending));
                }
            }
        }
        heard.plan = Some(plan);
    }

    fn ask(&self, plan: &mut Plan, server: SocketAddr, now: Instant) {
        let server = canonical(server);
        let wildcard = |line: &&Line| {
            line.bound.ip().is_unspecified() && line.bound.is_ipv4() == server.is_ipv4()
        };
        let leaves_from = self
            .lines
            .iter()
            .find(wildcard)
            .and_then(|_| local::toward(server));
        plan.ask(server, leaves_from, rand::random(), now);
    }

    /// A name resolved, or its lookup died. Each address is a server of its own to the evidence;
    /// two of each family are asked, for a third cannot prove what two do not.
    fn resolved(&self, lookup: Option<Lookup>) {
        let mut heard = self.heard();
        let Heard {
            plan: Some(plan),
            names,
            found_by,
            ..
        } = &mut *heard
        else {
            return;
        };
        plan.name_ended();
        let Some((server, addresses)) = lookup else {
            return;
        };
        let mut asked: Vec<SocketAddr> = Vec::new();
        for address in addresses.iter().map(|address| canonical(*address)) {
            let is_of_family = |other: SocketAddr| other.is_ipv4() == address.is_ipv4();
            let room =
                asked.iter().filter(|other| is_of_family(**other)).count() < ADDRESSES_OF_A_NAME;
            if room
                && !asked.contains(&address)
                && self.lines.iter().any(|line| is_of_family(line.local))
            {
                asked.push(address);
            }
        }
        // no socket of its family: then that is what has to be told of it
        if asked.is_empty() {
            asked.extend(addresses.first().map(|address| canonical(*address)));
        }
        for address in asked {
            // merged with one that was given by its address, or that another name led to
            if !plan
                .requests()
                .iter()
                .any(|request| request.server == address)
            {
                found_by.push((address, server.clone()));
            }
            self.ask(plan, address, Instant::now());
        }
        if addresses.is_empty() {
            if let Some((_, outcome)) = names.iter_mut().find(|(name, _)| *name == server) {
                *outcome = Outcome::Unresolved;
            }
        } else {
            names.retain(|(name, _)| *name != server);
        }
    }

    fn is_gathered(&self) -> bool {
        self.heard()
            .plan
            .as_mut()
            .is_none_or(|plan| plan.is_complete(Instant::now()))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.heard().plan.as_ref().and_then(Plan::poll_timeout)
    }

    async fn send_due(&self, watches: &[Watch<'_>]) {
        loop {
            let due = self
                .heard()
                .plan
                .as_mut()
                .and_then(|plan| plan.poll_transmit(Instant::now()));
            let Some(transmit) = due else { return };
            let Some(line) = self.lines.iter().find(|line| line.bound == transmit.socket) else {
                return;
            };
            let send = || line.socket.send_to(&transmit.bytes, transmit.server);
            lock(&self.peer).contact(transmit.server, Instant::now());
            let mut sent = send().await;
            // an error may be about a server asked before
            if sent.is_err() && self.file_unreachable(watches) {
                sent = send().await;
            }
            let Err(error) = sent else { continue };
            let Some(plan) = &mut self.heard().plan else {
                continue;
            };
            if passes(&error) {
                plan.handle_send_lost(transmit.request);
            } else {
                plan.handle_send_error(transmit.request);
            }
        }
    }

    /// Files what ICMP said of single servers; whether it said anything.
    fn file_unreachable(&self, watches: &[Watch<'_>]) -> bool {
        let unreachable: Vec<_> = watches.iter().flat_map(Watch::take).collect();
        if let Some(plan) = &mut self.heard().plan {
            unreachable
                .iter()
                .for_each(|(server, error)| plan.handle_unreachable(canonical(*server), *error));
        }
        !unreachable.is_empty()
    }

    /// Sorts what came in while gathering: our answers are filed, the peer's checks kept, the rest
    /// dropped and counted.
    async fn sort(
        &self,
        line: &Line,
        received: io::Result<(&[u8], SocketAddr)>,
        watches: &[Watch<'_>],
    ) {
        let Ok((datagram, source)) = received else {
            if self.file_unreachable(watches) {
                return;
            }
            bump(&mut self.heard().dropped.socket_errors);
            tokio::time::sleep(ERROR_PAUSE).await;
            return;
        };
        self.sort_datagram(line, source, datagram);
    }

    /// Before anybody is called silent, what came in meanwhile is read: this process may have stood
    /// still for longer than the servers.
    fn read_before_silence(&self, watches: &[Watch<'_>]) {
        let mut has_failed = false;
        for line in self.lines.iter().filter(|line| !line.is_taken()) {
            has_failed |= self.sort_waiting(line);
        }
        if has_failed {
            self.file_unreachable(watches);
        }
    }

    /// A name that is still being looked up at the deadline counts as unresolved.
    fn give_up_names(&self) {
        let mut heard = self.heard();
        if heard
            .plan
            .as_ref()
            .is_some_and(|plan| plan.is_past_deadline(Instant::now()))
        {
            for (_, outcome) in &mut heard.names {
                *outcome = Outcome::Unresolved;
            }
        }
    }

    fn gathering(&self, servers: &[StunServer], elapsed: Duration) -> Gathering {
        let mut heard = self.heard();
        let over_cap = heard.plan.as_ref().map_or(0, Plan::over_cap);
        heard.dropped.servers = heard.dropped.servers.saturating_add(over_cap);
        let mut reports: Vec<ServerReport> = heard.reports().collect();
        reports.sort_by_cached_key(|report| {
            let given = report.name.as_ref().unwrap_or(&report.server);
            servers
                .iter()
                .position(|server| server == given)
                .unwrap_or(usize::MAX)
        });

        let candidates = self.candidates(&heard);
        let packets_sent = heard.plan.as_ref().map_or(0, Plan::packets_sent);
        Gathering {
            candidates,
            evidence: heard.evidence(),
            servers: reports,
            packets_sent,
            elapsed,
        }
    }
}

impl Heard {
    /// One report per server asked, and per name that led to none.
    fn reports(&self) -> impl Iterator<Item = ServerReport> {
        let requests = self.plan.as_ref().map_or(&[][..], Plan::requests);
        let names = self
            .names
            .iter()
            .map(|(name, outcome)| ServerReport::of_name(name, *outcome));
        requests
            .iter()
            .map(|request| self.report(request))
            .chain(names)
    }

    pub(super) fn report(&self, request: &Request) -> ServerReport {
        let found = self
            .found_by
            .iter()
            .find(|(address, _)| *address == request.server);
        ServerReport {
            server: StunServer::Address(request.server),
            name: found.map(|(_, name)| name.clone()),
            outcome: request.outcome,
            base: Some(request.base).filter(|_| request.sends > 0),
            mapped: request.mapped,
            error_code: request.error_code,
            round_trip: request.round_trip,
            sends: request.sends,
        }
    }

    /// What the current plan knows goes into the evidence, until a later one contradicts it.
    fn retire_plan(&mut self) {
        self.evidence = self.evidence();
        if let Some(plan) = self.plan.take() {
            self.next_sequence = plan.next_sequence();
        }
    }

    pub(super) fn evidence(&self) -> Box<Evidence> {
        let mut evidence = self.evidence.clone();
        if let Some(plan) = &self.plan {
            plan.record(&mut evidence);
        }
        for (server, outcome) in &self.names {
            evidence.asked(server.id(), *outcome);
        }
        evidence
    }
}

#[cfg(test)]
mod tests;
