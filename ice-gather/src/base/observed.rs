//! The observations of a base: by the plan that runs now, and by those before it. No socket, no clock.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use nat_summary::{CandidateKind, Evidence, MAX_LOCALS, Observation, Outcome};

use super::report::{Dropped, Gathering, ServerReport};
use crate::candidate::{GatheredCandidate, candidate};
use crate::common::{bump, canonical};
use crate::config::GatherConfig;
use crate::plan::{ADDRESSES_OF_A_NAME, Plan, Request, Transmit, Unreachable};
use crate::stun::{Reject, StunServer, TransactionId};

/// The observations of one base.
#[derive(Default)]
pub(super) struct Observed {
    /// Addresses of the host, as many as evidence has room for.
    locals: Vec<IpAddr>,
    /// The facts of earlier plans, and local addresses that had no room. Most bases have one plan, and
    /// evidence has its full size from the start.
    earlier: Option<Box<Evidence>>,
    plan: Option<Plan>,
    names: Vec<(StunServer, Outcome)>,
    /// Addresses asked, with the name each was found by.
    found_by: Vec<(SocketAddr, StunServer)>,
    pub(super) dropped: Dropped,
    next_sequence: u32,
}

/// The parts of a request to one server, beside its address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// The local address that packets toward it leave from, if its socket is bound to the wildcard
    /// address.
    pub(super) leaves_from: Option<IpAddr>,
    /// An unguessable transaction id.
    pub(super) id: TransactionId,
}

/// Where a response belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It answers a request of ours, and is evidence.
    Answer,
    /// It claims to be an answer of ours and is none: dropped and counted.
    Dropped,
    /// It belongs to a transaction of another reader.
    NotOurs,
}

/// A name, and the addresses it led to.
pub(super) type Lookup = (StunServer, Vec<SocketAddr>);

impl Observed {
    /// Nothing yet but the addresses of the host.
    pub(super) fn new(hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut observed = Self::default();
        hosts.into_iter().for_each(|ip| observed.add_local(ip));
        observed
    }

    pub(super) fn add_local(&mut self, ip: IpAddr) {
        if self.locals.contains(&ip) {
            return;
        }
        if self.locals.len() < MAX_LOCALS {
            self.locals.push(ip);
        } else {
            let mut evidence = self.known();
            evidence.add_local(ip);
            self.earlier = Some(evidence);
        }
    }

    /// The facts of earlier plans, and the local addresses.
    fn known(&self) -> Box<Evidence> {
        let mut evidence = self.earlier.clone().unwrap_or_default();
        for ip in &self.locals {
            evidence.add_local(*ip);
        }
        evidence
    }

    /// Whether a request has left for any server, or a name was looked up for one.
    pub(super) fn has_asked(&self) -> bool {
        let sent = self.plan.as_ref().is_some_and(Plan::has_sent);
        let earlier = self.earlier.as_ref();
        let asked = earlier.is_some_and(|evidence| !evidence.servers().is_empty());
        sent || !self.names.is_empty() || asked
    }

    /// Everything observed so far, by every plan.
    pub(super) fn evidence(&self) -> Box<Evidence> {
        let mut evidence = self.known();
        if let Some(plan) = &self.plan {
            plan.record(&mut evidence);
        }
        for (server, outcome) in &self.names {
            evidence.record_outcome(server.id(), *outcome);
        }
        if self.dropped.is_alive() {
            evidence.add_sign_of_life();
        }
        evidence
    }

    /// Starts a plan that asks `servers` from `sockets`, and files the plan before it.
    pub(super) fn start_plan(
        &mut self,
        servers: &[StunServer],
        config: &GatherConfig,
        sockets: Vec<SocketAddr>,
        now: Instant,
        asking: impl Fn(SocketAddr) -> Asking,
    ) {
        self.retire_plan();
        let mut plan = Plan::new(*config, sockets, now).with_first_sequence(self.next_sequence);
        self.names.clear();
        self.found_by.clear();
        for server in servers {
            match server {
                StunServer::Address(address) => ask(&mut plan, canonical(*address), now, &asking),
                StunServer::Name(..) => {
                    plan.name_started();
                    self.names.push((server.clone(), Outcome::Pending));
                }
            }
        }
        self.plan = Some(plan);
    }

    /// Files the observations of the current plan as evidence, until a later plan contradicts them.
    fn retire_plan(&mut self) {
        if self.plan.is_some() {
            self.earlier = Some(self.evidence());
        }
        if let Some(plan) = self.plan.take() {
            self.next_sequence = plan.next_sequence();
        }
    }

    /// A name resolved, or its lookup died. Each address is a server of its own to the evidence;
    /// two of each family are asked, because a third cannot prove more than two do.
    pub(super) fn resolved(
        &mut self,
        lookup: Option<Lookup>,
        now: Instant,
        asking: impl Fn(SocketAddr) -> Asking,
    ) {
        let Some(plan) = &mut self.plan else { return };
        plan.name_ended();
        let Some((server, addresses)) = lookup else {
            return;
        };
        let is_local = server.is_localhost();
        let addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .map(canonical)
            .filter(|address| is_local || plan.can_be_asked(address.ip()))
            .collect();
        let mut asked: Vec<SocketAddr> = Vec::new();
        for address in addresses.iter().copied() {
            let of_family = |other: &&SocketAddr| other.is_ipv4() == address.is_ipv4();
            let has_room = asked.iter().filter(of_family).count() < ADDRESSES_OF_A_NAME;
            if has_room && !asked.contains(&address) && plan.can_reach(address) {
                asked.push(address);
            }
        }
        // no socket of its family: then the report has to show that
        if asked.is_empty() {
            asked.extend(addresses.first());
        }
        for address in asked {
            // a server that was given by its address, or that another name led to, is asked once
            if !plan.requests().iter().any(|r| r.server == address) {
                self.found_by.push((address, server.clone()));
            }
            ask(plan, address, now, &asking);
        }
        if addresses.is_empty() {
            if let Some((_, outcome)) = self.names.iter_mut().find(|(name, _)| *name == server) {
                *outcome = Outcome::Unresolved;
            }
        } else {
            self.names.retain(|(name, _)| *name != server);
        }
    }

    /// A name that is still being looked up at the deadline counts as unresolved.
    pub(super) fn give_up_names(&mut self, now: Instant) {
        let plan = self.plan.as_ref();
        if plan.is_some_and(|plan| plan.is_past_deadline(now)) {
            for (_, outcome) in &mut self.names {
                *outcome = Outcome::Unresolved;
            }
        }
    }

    /// Whether the plan that runs has seen enough; true if none runs.
    pub(super) fn is_complete(&mut self, now: Instant) -> bool {
        self.plan.as_mut().is_none_or(|plan| plan.is_complete(now))
    }

    /// When to look at the plan again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.plan.as_ref().and_then(Plan::poll_timeout)
    }

    /// The next request that is due, if any.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        self.plan.as_mut()?.poll_transmit(now)
    }

    /// The socket had no room for this request: the next copy may find some.
    pub(super) fn handle_send_lost(&mut self, request: usize) {
        if let Some(plan) = &mut self.plan {
            plan.handle_send_lost(request);
        }
    }

    /// The socket refused this request.
    pub(super) fn handle_send_error(&mut self, request: usize) {
        if let Some(plan) = &mut self.plan {
            plan.handle_send_error(request);
        }
    }

    /// ICMP errors about these servers came back.
    pub(super) fn handle_unreachable(&mut self, errors: &[Unreachable]) {
        if let Some(plan) = &mut self.plan {
            for error in errors {
                plan.handle_unreachable(canonical(error.server), error.error);
                if error.is_of_server {
                    plan.handle_sign_of_life();
                }
            }
        }
    }

    /// Files a response that came in on `socket` from `source`.
    pub(super) fn file_answer(
        &mut self,
        now: Instant,
        socket: SocketAddr,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Filed {
        let Some(plan) = &mut self.plan else {
            return Filed::NotOurs;
        };
        let dropped = &mut self.dropped;
        match plan.handle_datagram(now, socket, canonical(source), datagram) {
            Ok(_) => return Filed::Answer,
            Err(Reject::UnknownId) => return Filed::NotOurs,
            Err(Reject::WrongSource) => bump(&mut dropped.wrong_source),
            Err(Reject::NotABindingResponse) => bump(&mut dropped.unexpected),
            Err(Reject::NotStun | Reject::TooLong | Reject::Malformed) => {
                bump(&mut dropped.malformed)
            }
        }
        Filed::Dropped
    }

    /// Host candidates, then reflexive ones in the order of asking, then the relayed one; each
    /// address once.
    pub(super) fn candidates(
        &self,
        hosts: impl Iterator<Item = SocketAddr>,
        relayed: Option<GatheredCandidate>,
    ) -> Vec<GatheredCandidate> {
        let mut candidates: Vec<GatheredCandidate> = Vec::new();
        for (number, host) in (1..).zip(hosts) {
            candidates.push(candidate(CandidateKind::Host, host, host, number));
        }
        let reflexive = self.plan.iter().flat_map(Plan::possible);
        for (number, Observation { base, mapped, .. }) in (100..).zip(reflexive) {
            if !candidates.iter().any(|c| c.address == mapped) {
                let kind = CandidateKind::ServerReflexive;
                candidates.push(candidate(kind, mapped, base, number));
            }
        }
        candidates.extend(relayed);
        candidates
    }

    /// The requests of the plan that runs.
    pub(super) fn requests(&self) -> &[Request] {
        self.plan.as_ref().map_or(&[][..], Plan::requests)
    }

    /// Names that led to no server, or not yet.
    pub(super) fn names(&self) -> &[(StunServer, Outcome)] {
        &self.names
    }

    /// The report of one request.
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

    /// One report per server asked, and per name that led to none.
    fn reports(&self) -> impl Iterator<Item = ServerReport> {
        let names = self.names.iter();
        let names = names.map(|(name, outcome)| ServerReport::of_name(name, *outcome));
        let requests = self.requests().iter();
        requests.map(|request| self.report(request)).chain(names)
    }

    /// The result of the plan that ran, its servers in the order given.
    pub(super) fn gathering(
        &mut self,
        servers: &[StunServer],
        candidates: Vec<GatheredCandidate>,
        elapsed: Duration,
    ) -> Gathering {
        let over_cap = self.plan.as_ref().map_or(0, Plan::over_cap);
        self.dropped.servers = self.dropped.servers.saturating_add(over_cap);
        let mut reports: Vec<ServerReport> = self.reports().collect();
        reports.sort_by_cached_key(|report| {
            let given = report.name.as_ref().unwrap_or(&report.server);
            servers
                .iter()
                .position(|server| server == given)
                .unwrap_or(usize::MAX)
        });
        Gathering {
            candidates,
            evidence: self.evidence(),
            servers: reports,
            packets_sent: self.plan.as_ref().map_or(0, Plan::packets_sent),
            elapsed,
        }
    }
}

/// Asks a server, by its canonical address.
fn ask(plan: &mut Plan, server: SocketAddr, now: Instant, asking: &impl Fn(SocketAddr) -> Asking) {
    let Asking { leaves_from, id } = asking(server);
    plan.ask(server, leaves_from, id, now);
}

#[cfg(test)]
mod tests;
