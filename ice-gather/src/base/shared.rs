//! The state that the clones of a base share: its sockets, its observations, and whose agent it
//! serves.

#[cfg(feature = "relay")]
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
#[cfg(feature = "agent")]
use std::time::{Duration, Instant};

use nat_summary::Evidence;
#[cfg(feature = "webrtc")]
use nat_summary::stage::{Above, StageReport};
use tokio::runtime::Handle;
use tokio::sync::Notify;
#[cfg(feature = "agent")]
use tokio::sync::mpsc;

#[cfg(feature = "agent")]
use super::events::EventSink;
use super::observed::Observed;
#[cfg(feature = "relay")]
use super::relayed::Relayed;
#[cfg(feature = "agent")]
use super::serving::{AgentOf, Serving};
use crate::candidate::GatheredCandidate;
#[cfg(feature = "agent")]
use crate::checks::{Consent, PairChecks, PeerReader, RemoteKey};
use crate::common::{ERROR_PAUSE, bump, canonical, lock};
#[cfg(feature = "agent")]
use crate::config::AgentConfig;
#[cfg(feature = "agent")]
use crate::event::IceEvent;
#[cfg(feature = "agent")]
use crate::pace::{Admission, Pace};
#[cfg(feature = "agent")]
use crate::socket::agent_end::Admitted;
use crate::socket::{Carrier, Socket, recent_ports};
#[cfg(feature = "agent")]
use crate::stun::Header;

pub(crate) struct Shared {
    pub(super) sockets: Vec<Socket>,
    observed: Mutex<Observed>,
    /// An answer was filed by another reader.
    pub(super) answered: Notify,
    /// True if another socket may have used the port recently, because a NAT may then still let in packets
    /// that were meant for that socket.
    is_port_old: AtomicBool,
    runtime: Option<Handle>,
    #[cfg(feature = "agent")]
    pub(super) serving: Serving,
}

impl Shared {
    pub(super) fn new(sockets: Vec<Socket>) -> Self {
        for socket in &sockets {
            recent_ports::note(socket.bound().port());
        }
        let hosts = sockets.iter().flat_map(Socket::hosts);
        let observed = Observed::new(hosts.map(SocketAddr::ip));
        Self {
            sockets,
            observed: Mutex::new(observed),
            answered: Notify::new(),
            is_port_old: AtomicBool::new(false),
            runtime: Handle::try_current().ok(),
            #[cfg(feature = "agent")]
            serving: Serving::default(),
        }
    }

    pub(super) fn observed(&self) -> MutexGuard<'_, Observed> {
        lock(&self.observed)
    }

    /// Everything observed so far. A packet of the peer, or of a relay, shows that UDP passes.
    pub(super) fn evidence(&self) -> Box<Evidence> {
        let is_heard = self.is_heard();
        let mut evidence = self.observed().evidence();
        if is_heard {
            evidence.add_sign_of_life();
        }
        evidence
    }

    /// Whether a packet of the peer or of a relay came in.
    pub(super) fn is_heard(&self) -> bool {
        #[cfg(feature = "agent")]
        return self.checks().has_heard() || self.has_relayed();
        #[cfg(not(feature = "agent"))]
        false
    }

    /// The candidates to signal, by these observations.
    pub(super) fn candidates(&self, observed: &Observed) -> Vec<GatheredCandidate> {
        #[cfg(feature = "relay")]
        let relayed = self.serving.relay.get().and_then(Relayed::candidate);
        #[cfg(not(feature = "relay"))]
        let relayed = None;
        let hosts = self.sockets.iter().flat_map(Socket::hosts);
        observed.candidates(hosts.copied(), relayed)
    }

    /// The candidates to signal, by everything observed so far.
    #[cfg(feature = "webrtc")]
    pub(crate) fn known_candidates(&self) -> Vec<GatheredCandidate> {
        self.candidates(&self.observed())
    }

    /// Whether there is a socket of each family.
    #[cfg(feature = "webrtc")]
    pub(crate) const fn has_second_socket(&self) -> bool {
        self.sockets.len() > 1
    }

    /// Receives on the first socket of a base that serves no agent; `None` after an error, which
    /// has been waited out.
    pub(crate) async fn recv_extra(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self.sockets.first()?.recv_from(buffer).await {
            Ok((length, source)) => Some((length, canonical(source))),
            Err(_) => {
                tokio::time::sleep(ERROR_PAUSE).await;
                None
            }
        }
    }

    /// Sends from the first socket. True if the system took the datagram.
    pub(crate) async fn send_extra(&self, datagram: &[u8], target: SocketAddr) -> bool {
        match self.sockets.first() {
            Some(socket) => socket.send_for_base(datagram, target).await.is_ok(),
            None => false,
        }
    }

    /// True if another socket may have used the port recently.
    pub(crate) fn is_port_old(&self) -> bool {
        self.is_port_old.load(Ordering::Relaxed)
    }

    /// Its port may have been another socket's a short while ago.
    pub(super) fn distrust_port(&self) {
        self.is_port_old.store(true, Ordering::Relaxed);
        #[cfg(feature = "agent")]
        self.checks().distrust_port();
    }

    /// The base sends a request of its own: a check from there is no longer unsolicited.
    pub(super) fn on_asked(&self, server: SocketAddr) {
        #[cfg(feature = "agent")]
        self.checks().on_other_sent(server, Instant::now());
        #[cfg(not(feature = "agent"))]
        let _ = server;
    }

    /// Keeps a check of the peer until the agent reads.
    pub(super) fn keep_check(&self, socket: &Socket, source: SocketAddr, datagram: &[u8]) {
        #[cfg(feature = "agent")]
        if self.admits(socket, source, datagram) && !socket.agent_end().keep_early(datagram, source)
        {
            bump(&mut self.observed().dropped.early);
        }
        #[cfg(not(feature = "agent"))]
        {
            let _ = (socket, source, datagram);
            bump(&mut self.observed().dropped.unauthenticated);
        }
    }
}

#[cfg(feature = "agent")]
impl Shared {
    /// Every socket the agent has: those of the base, and the relay's if there is one.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().chain(self.relay_socket())
    }

    /// The socket of this number, in the same order.
    #[inline]
    pub(crate) fn socket(&self, number: usize) -> Option<&Socket> {
        self.sockets
            .get(number)
            .or_else(|| self.relay_socket().filter(|_| number == self.sockets.len()))
    }

    fn relay_socket(&self) -> Option<&Socket> {
        #[cfg(feature = "relay")]
        return self.serving.relay.get().map(Relayed::socket);
        #[cfg(not(feature = "relay"))]
        None
    }

    pub(super) fn checks(&self) -> MutexGuard<'_, PeerReader> {
        lock(&self.serving.checks)
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.serving.pace)
    }

    /// Whether a relay's server gave an address, over UDP.
    fn has_relayed(&self) -> bool {
        #[cfg(feature = "relay")]
        return self
            .serving
            .relay
            .get()
            .and_then(Relayed::candidate)
            .is_some();
        #[cfg(not(feature = "relay"))]
        false
    }

    pub(super) fn agent(&self) -> Option<AgentOf> {
        self.serving.agent.get().copied()
    }

    /// Nothing goes over any socket any more, whichever reader still holds an end of it.
    pub(crate) fn close_sockets(&self) {
        self.sockets().for_each(Socket::close);
        self.end_relay();
    }

    /// The relay, if there is one, frees what its server holds for it.
    pub(crate) fn end_relay(&self) {
        #[cfg(feature = "relay")]
        if let Some(relay) = self.relay() {
            relay.end();
        }
    }

    /// A datagram of the peer did not fit into its reader's buffer.
    pub(crate) fn datagram_overlong(&self) {
        bump(&mut self.observed().dropped.overlong);
    }

    /// A datagram beside STUN that the reader does not want, or that came before it reads and had no room.
    #[cold]
    pub(super) fn datagram_unwanted(&self) {
        bump(&mut self.observed().dropped.unwanted);
    }

    /// Datagrams of that kind so far.
    pub(crate) fn unwanted(&self) -> u32 {
        self.observed().dropped.unwanted
    }

    /// Nothing reads the agent's connection yet: datagrams beside STUN are bounded.
    pub(crate) fn bound_unread(&self) {
        self.sockets()
            .for_each(|socket| socket.agent_end().bound_unread());
    }

    /// The agent's connection is read from now on.
    pub(crate) fn is_read(&self) {
        self.sockets()
            .for_each(|socket| socket.agent_end().is_read());
    }

    /// From now on datagrams beside STUN pass only if the reader wants them.
    pub(crate) fn set_wanted(&self, is_wanted: fn(&[u8]) -> bool) {
        self.sockets()
            .for_each(|socket| socket.agent_end().set_wanted(is_wanted));
    }

    /// Nothing reads the agent's connection any more.
    pub(crate) fn shut(&self) {
        self.sockets().for_each(|socket| socket.agent_end().shut());
    }

    /// From now on checks that carry this password are for the agent. False if there is an agent
    /// already.
    pub(crate) fn serve(&self, password: &str, config: &AgentConfig) -> bool {
        if self.serving.agent.set(AgentOf::Us).is_err() {
            return false;
        }
        for socket in self.sockets() {
            socket
                .agent_end()
                .set_max_senders(config.max_remote_candidates);
        }
        self.pace().set_interval(config.check_interval);
        self.checks().set_local_password(password);
        true
    }

    /// From now on checks are for the agent of another library.
    pub(crate) fn serve_foreign(&self) {
        // a second one would get nothing to read, because the first one's socket is closed with it
        let _ = self.serving.agent.set(AgentOf::Others);
    }

    /// From now on answers that carry this password are the peer's.
    pub(crate) fn expect_answers(&self, password: &str) -> Option<RemoteKey> {
        self.checks().replace_remote_password(password)
    }

    /// Undoes [`expect_answers`](Self::expect_answers), which returned this.
    #[cfg(feature = "webrtc")]
    pub(crate) fn expect_former_answers(&self, before: Option<RemoteKey>) {
        self.checks().restore_remote_key(before);
    }

    /// A candidate of the peer was not taken, because there are too many.
    pub(crate) fn remote_dropped(&self) {
        bump(&mut self.observed().dropped.remote_candidates);
    }

    /// A signalled remote candidate: its checks take no room.
    pub(crate) fn expect_peer(&self, remote: SocketAddr) {
        self.sockets()
            .for_each(|socket| socket.agent_end().expect_sender(remote));
    }

    /// The agent sends STUN; whether it may leave. Call this before it does, because checks that come
    /// back are no longer unsolicited.
    pub(crate) fn on_sent(&self, socket: &Socket, target: SocketAddr, header: Header) -> bool {
        if socket.is_relay() && !self.is_relay_open() {
            return false;
        }
        if self.agent() != Some(AgentOf::Us) {
            return true;
        }
        if !self.may_leave(socket, target, header) {
            return false;
        }
        let (mut checks, target) = (self.checks(), canonical(target));
        if socket.is_relay() {
            checks.on_relayed_sent(socket.bound(), target, header, Instant::now());
        } else {
            checks.on_sent(socket.bound(), target, header, Instant::now());
        }
        true
    }

    /// Whether an address that never answered may get another check or answer now.
    fn may_leave(&self, socket: &Socket, target: SocketAddr, header: Header) -> bool {
        let is_relayed = socket.is_relay();
        let admission = if header.is_binding_request() {
            self.pace().check(target, is_relayed, Instant::now())
        } else if header.is_response() {
            self.pace().answer(target, is_relayed)
        } else {
            Admission::Leaves
        };
        match admission {
            Admission::Leaves => {}
            Admission::Waits => bump(&mut self.observed().dropped.paced),
            Admission::Spent => bump(&mut self.observed().dropped.unanswered),
        }
        admission == Admission::Leaves
    }

    /// Whether the relay has an allocation, and direct pairs had their head start.
    fn is_relay_open(&self) -> bool {
        #[cfg(feature = "relay")]
        return self.serving.relay.get().is_some_and(Relayed::is_open);
        #[cfg(not(feature = "relay"))]
        false
    }

    /// STUN of the agent that was announced as sent did not leave after all.
    pub(crate) fn on_not_sent(&self, header: Header) {
        self.checks().on_not_sent(header);
    }

    /// Whether the peer consents to be sent to on this pair, the one in use.
    pub(crate) fn consent(&self, local: SocketAddr, remote: SocketAddr) -> Consent {
        let socket = self
            .sockets()
            .find(|socket| canonical(socket.local()) == canonical(local));
        socket
            .map(|socket| self.checks().consent(socket.bound(), canonical(remote)))
            .unwrap_or_default()
    }

    /// From now on every pair is followed.
    #[cfg(feature = "webrtc")]
    pub(crate) fn follow_paths(&self) {
        self.checks().follow_paths();
    }

    /// A datagram that is not STUN left from the socket of this number.
    #[cfg(feature = "webrtc")]
    pub(crate) fn on_datagram_sent(&self, number: usize, target: SocketAddr, datagram: &[u8]) {
        if let Some(socket) = self.socket(number) {
            let (bound, now) = (socket.bound(), Instant::now());
            self.checks()
                .on_datagram_sent(bound, canonical(target), datagram, now);
        }
    }

    /// A datagram that is not STUN came in on the socket of this number.
    #[cfg(feature = "webrtc")]
    pub(crate) fn on_datagram_received(&self, number: usize, source: SocketAddr, datagram: &[u8]) {
        if let Some(socket) = self.socket(number) {
            let (bound, now) = (socket.bound(), Instant::now());
            self.checks()
                .on_datagram_received(bound, canonical(source), datagram, now);
        }
    }

    /// How far the pair in use came, and what stopped it; `None` before a pair worked.
    #[cfg(feature = "webrtc")]
    pub(crate) fn stage(&self, above: &Above) -> Option<StageReport> {
        self.checks().stage(Instant::now(), above)
    }

    /// The checks of the pair in use.
    pub(crate) fn pair_checks(&self) -> Option<PairChecks> {
        self.checks().pair_checks()
    }

    /// Returns once the peer has left, by its own word.
    pub(crate) async fn peer_left(&self) {
        self.serving.left.notified().await;
    }

    /// The process runs, and calls again after `period`.
    pub(crate) fn heartbeat(&self, period: Duration) {
        self.checks().heartbeat(Instant::now(), period);
    }

    /// From now on events go there.
    pub(crate) fn listen(&self, events: mpsc::Sender<IceEvent>) {
        // this lock first, so that candidates that are filed meanwhile wait for the new sink
        let mut sink = lock(&self.serving.events);
        let known = self.candidates(&self.observed());
        *sink = Some(EventSink::new(events, &known));
    }

    /// No event goes anywhere any longer.
    pub(crate) fn end_events(&self) {
        *lock(&self.serving.events) = None;
    }

    /// Emits `event`, if there is a receiver that keeps up.
    pub(crate) fn emit(&self, event: IceEvent) {
        if let Some(sink) = &*lock(&self.serving.events) {
            sink.emit(event);
        }
    }

    /// Emits candidates that came after gathering had ended, or from the relay.
    pub(super) fn emit_candidates(&self) {
        if let Some(sink) = &mut *lock(&self.serving.events) {
            let candidates = self.candidates(&self.observed());
            sink.emit_candidates(candidates);
        }
    }

    /// Whether a Binding request may go on to the agent.
    pub(super) fn admits(&self, socket: &Socket, source: SocketAddr, datagram: &[u8]) -> bool {
        let is_authentic = match self.agent() {
            Some(AgentOf::Others) => return true,
            Some(AgentOf::Us) if socket.is_relay() => {
                let mut checks = self.checks();
                checks.on_relayed_request(socket.bound(), canonical(source), datagram)
            }
            Some(AgentOf::Us) => {
                let is_quiet = socket.agent_end().was_quiet();
                let (bound, source) = (socket.bound(), canonical(source));
                let mut checks = self.checks();
                checks.on_request(bound, source, datagram, is_quiet, Instant::now())
            }
            None => false,
        };
        let admitted = socket.agent_end().admit_sender(source, is_authentic);
        match admitted {
            Admitted::Yes => {
                self.pace()
                    .on_request(source, socket.is_relay(), Instant::now());
            }
            Admitted::Unauthenticated => bump(&mut self.observed().dropped.unauthenticated),
            Admitted::TooMany => bump(&mut self.observed().dropped.too_many_peers),
        }
        admitted == Admitted::Yes
    }
}

#[cfg(feature = "relay")]
impl Shared {
    /// The addresses its sockets are bound to; none, if it is on another carrier.
    pub(crate) fn bound_ips(&self) -> Vec<IpAddr> {
        let sockets = self.sockets.iter().filter(|socket| socket.is_udp());
        sockets.map(|socket| socket.bound().ip()).collect()
    }

    pub(crate) const fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(crate) fn relay(&self) -> Option<&Relayed> {
        self.serving.relay.get()
    }

    /// Keeps the relay, unless there is one, or an agent that would not see it.
    pub(crate) fn keep_relay(&self, relay: Relayed) -> Option<&Relayed> {
        if self.serving.agent.get().is_some() {
            return None;
        }
        self.serving.relay.set(relay).ok()?;
        self.serving.relay.get()
    }

    /// Something came from the relay's server that its client cannot take.
    pub(crate) fn relay_dropped(&self) {
        bump(&mut self.observed().dropped.relay);
    }

    /// The relayed candidate is there: a gathering that runs reports it, and so do the events.
    pub(crate) fn relay_allocated(&self) {
        self.answered.notify_one();
        self.emit_candidates();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for socket in self.sockets.drain(..) {
            // before it closes, because the next socket on this port has to know
            recent_ports::note(socket.bound().port());
            // a carrier may need the runtime to close, because a virtual network does
            if let Carrier::Other(carrier) = socket.into_carrier() {
                let _entered = self.runtime.as_ref().map(Handle::enter);
                carrier.close();
            }
        }
    }
}

#[cfg(all(test, feature = "agent"))]
mod tests {
    use super::super::observed::Asking;
    use super::*;
    use crate::config::GatherConfig;
    use crate::socket::bind_in;
    use crate::stun::{StunServer, write_success};

    #[tokio::test]
    async fn a_candidate_that_is_filed_as_events_begin_is_not_lost_between() {
        let (socket, bound) = bind_in([127, 0, 0, 1].into(), None).await.unwrap();
        let socket = Socket::new(Carrier::Udp(socket), bound, vec![bound.ip()]);
        let shared = Shared::new(vec![socket]);
        let (server, now) = (SocketAddr::from(([192, 0, 2, 1], 3478)), Instant::now());
        let asking = |_| Asking {
            leaves_from: None,
            id: [7; 12],
        };
        shared.observed().start_plan(
            &[StunServer::Address(server)],
            &GatherConfig::default(),
            vec![bound],
            now,
            asking,
        );
        shared.observed().poll_transmit(now).unwrap();
        let answer = write_success([7; 12], SocketAddr::from(([203, 0, 113, 7], 9)));
        std::thread::scope(|scope| {
            // the reader that files the answer emits no event, because there is no sink yet
            let sink = lock(&shared.serving.events);
            scope.spawn(|| shared.listen(mpsc::channel(1).0));
            std::thread::sleep(Duration::from_millis(20));
            let mut observed = shared.observed();
            observed.file_answer(now, bound, server, &answer);
            drop((observed, sink));
        });
        let sink = lock(&shared.serving.events);
        let known = sink.as_ref().unwrap().known();
        assert_eq!(known, 2, "host and reflexive");
    }
}
