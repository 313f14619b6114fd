//! How far a channel came: its datagrams as they pass, beside what the endpoint knows. Pure.

use std::time::{Duration, Instant};

use ice_gather::PairChecks;
use nat_summary::stage::{
    Above, CheckLog, DtlsRole, DtlsVersion as Version, PathWatch, SIZES, SizeClass, StageReport,
    judge,
};

use super::endpoint::{
    ChannelEnd, ChannelView, Counts, DtlsRefusal, DtlsVersion, Endpoint, SizeCounts,
};

/// The datagrams of a channel, counted.
#[derive(Debug)]
pub(super) struct StageWatch {
    origin: Instant,
    watch: PathWatch,
    /// The counts of SCTP that were noted: in DTLS 1.3 records do not show what they hold, and none shows an
    /// acknowledgement.
    noted: Counts,
    is_13: bool,
}

impl StageWatch {
    /// Times count from `origin`.
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            watch: PathWatch::new(),
            noted: Counts::default(),
            is_13: false,
        }
    }

    fn time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }

    /// A datagram left, or is about to.
    pub(super) fn sent(&mut self, datagram: &[u8], endpoint: &Endpoint, now: Instant) {
        let now = self.time(now);
        self.watch.sent(now, datagram);
        let counts = endpoint.counts();
        if self.is_13 && counts.sent > self.noted.sent {
            self.watch.data_sent(now);
        }
        if counts.due > self.noted.due {
            self.watch.acknowledgement_due(now);
        }
        (self.noted.sent, self.noted.due) = (counts.sent, counts.due);
    }

    /// A datagram came in, and the endpoint has read it.
    pub(super) fn received(&mut self, datagram: &[u8], endpoint: &Endpoint, now: Instant) {
        let now = self.time(now);
        self.watch.received(now, datagram);
        if !self.watch.is_secured() && endpoint.is_secured() {
            self.watch.secure(now);
            self.is_13 = endpoint.view().dtls.version == Some(DtlsVersion::Dtls13);
        }
        let counts = endpoint.counts();
        if self.is_13 && counts.received > self.noted.received {
            self.watch.data_received(now);
        }
        if counts.acknowledgements > self.noted.acknowledgements {
            self.watch.acknowledged();
        }
        self.noted.received = counts.received;
        self.noted.acknowledgements = counts.acknowledgements;
    }

    /// The judgement at `now`.
    pub(super) fn report(
        &self,
        checks: Option<PairChecks>,
        view: &ChannelView,
        now: Instant,
    ) -> StageReport {
        let log = checks.map_or_else(CheckLog::new, |checks| checks.log);
        let mut above = above(view);
        // a goodbye of ICE is the peer's signed word as well, and may be read first
        above.is_closed_by_peer |= checks.is_some_and(|checks| checks.has_left);
        judge(self.time(now), &self.watch, &log, &above)
    }
}

/// The knowledge of the endpoint.
fn above(view: &ChannelView) -> Above {
    let dtls = &view.dtls;
    let role = if dtls.is_client {
        DtlsRole::Client
    } else {
        DtlsRole::Server
    };
    let version = match dtls.version {
        Some(DtlsVersion::Dtls12) => Version::Dtls12,
        Some(DtlsVersion::Dtls13) => Version::Dtls13,
        _ => Version::Unknown,
    };
    let is_refusal = matches!(
        dtls.refusal,
        Some(
            DtlsRefusal::Suites
                | DtlsRefusal::Version
                | DtlsRefusal::MasterSecret
                | DtlsRefusal::Proof
        )
    );
    let has_refused = view.end == Some(ChannelEnd::Certificate) || !dtls.is_done && is_refusal;
    let is_closed = matches!(
        view.end,
        Some(
            ChannelEnd::ClosedByPeer
                | ChannelEnd::Alert(_)
                | ChannelEnd::Reset
                | ChannelEnd::Shutdown
                | ChannelEnd::Aborted
        )
    );
    let (passed, lost, repeated) = (
        view.sctp.acknowledged.counts(),
        view.sctp.lost.counts(),
        view.sctp.repeated.counts(),
    );
    let sizes: [SizeClass; SIZES] = core::array::from_fn(|at| SizeClass {
        most: SizeCounts::MOST.get(at).copied().unwrap_or(u16::MAX),
        passed: passed[at],
        missing: lost[at].saturating_add(repeated[at]),
    });
    Above::default()
        .with_role(role)
        .with_version(version)
        .with_secured(dtls.is_done)
        .with_refused(has_refused)
        .with_closed_by_peer(is_closed)
        .with_sizes(sizes)
}
