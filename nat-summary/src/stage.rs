//! How far an attempt came, and what stopped it: verdicts with their proofs, from the datagrams that
//! pass anyway. Nothing is decrypted and nothing is sent.
//!
//! A [`PathWatch`] counts the datagrams of a pair of addresses, a [`CheckLog`] its connectivity checks, an
//! [`Above`] holds what the layers above know. [`judge`] concludes:
//!
//! ```
//! use core::time::Duration;
//! use nat_summary::stage::{Above, CheckLog, PathWatch, StageVerdict, judge};
//!
//! let (mut watch, mut checks) = (PathWatch::new(), CheckLog::new());
//! let hello = b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0c\x01\0\0\0\0\0\0\0\0\0\0\0";
//! for ms in [0, 400, 1200, 2800] {
//!     watch.sent(Duration::from_millis(ms), hello);
//! }
//! for ms in [100, 2100, 4100] {
//!     checks.sent(Duration::from_millis(ms));
//!     checks.answered(Duration::from_millis(ms), Duration::from_millis(ms + 30));
//! }
//! let report = judge(Duration::from_secs(5), &watch, &checks, &Above::default());
//! assert_eq!(report.verdict, StageVerdict::HelloUnanswered);
//! assert_eq!((report.flights, report.answers), (4, 3));
//! ```
//!
//! **Time** is a `Duration` since any start, the same in all three.
//!
//! **The path is alive** during a time if at least three checks of the same pair were answered, spread over
//! at least half of that time, one of them after the last sign of the stage, and next to no check was left
//! without an answer. Loss alone therefore decides nothing but by accident: with three of ten packets lost
//! each way, a check and its answer both arrive half of the time.
//!
//! **A verdict names the stage, never the culprit.** Records in the clear are not signed: a forged one can make a
//! verdict unknown, and a forged fatal alert is reported as what it is, an alert that came in.

mod checks;
mod record;
mod shape;
mod verdict;
mod watch;

use core::time::Duration;

pub use self::checks::CheckLog;
pub use self::shape::hello_shape;
pub use self::verdict::{DtlsRole, DtlsVersion, HandshakeMessage, RefusedBy, Stage, StageVerdict};
use self::watch::Repeated;
pub use self::watch::{Direction, PathWatch};

/// Fewest flights of one's own without an answer.
const FLIGHTS: u32 = 3;
/// Shortest wait of a server for a hello: a client that begins with 1 s has then sent three (RFC 6347
/// section 4.2.4.1).
const HELLO_WAIT: Duration = Duration::from_secs(3);
/// So long no application data came in on a path that is frozen, or the peer acknowledged none. An association of SCTP acknowledges within
/// 200 ms and repeats within seconds (RFC 9260 sections 6.2 and 6.3.1).
pub const FROZEN_AFTER: Duration = Duration::from_secs(10);
/// So long no packet came in on a path that is lost, half of the time after which consent expires (RFC 7675
/// section 5.1), and so many checks in a row had no answer.
const LOST_AFTER: Duration = Duration::from_secs(15);
const LOST_CHECKS: u32 = 7;
/// Classes of sizes.
pub const SIZES: usize = 6;
/// Fewest packets above a size that vanished, and below it that arrived.
const FEWEST_SIZED: u32 = 3;
/// One packet of so many may get lost below that size.
const LOST_ONE_OF: u32 = 8;

/// The packets of one class of sizes that left, as the layer above counts them.
///
/// ```
/// use nat_summary::stage::SizeClass;
/// let class = SizeClass { most: 256, passed: 7, missing: 0 };
/// assert_eq!(class.passed, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeClass {
    /// The greatest size of the class, in bytes.
    pub most: u16,
    /// Those that the peer acknowledged.
    pub passed: u32,
    /// Those that were given up or sent again.
    pub missing: u32,
}

/// The knowledge of the layers above: all of it optional.
///
/// ```
/// use nat_summary::stage::{Above, DtlsRole};
/// let above = Above::default().with_role(DtlsRole::Server);
/// assert_eq!(above.role, DtlsRole::Server);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Above {
    /// The role of this side, as the descriptions fix it (`a=setup`).
    pub role: DtlsRole,
    /// The version, where DTLS knows it.
    pub version: DtlsVersion,
    /// Whether DTLS is done, under the keys of a certificate that was announced; `None` where the
    /// keys are not known.
    pub is_secured: Option<bool>,
    /// This side refused the handshake: the peer's version, suites, or certificate.
    pub has_refused: bool,
    /// The peer closed the channel, under the keys.
    pub is_closed_by_peer: bool,
    /// Packets of this side by size, from small to large.
    pub sizes: Option<[SizeClass; SIZES]>,
}

impl Above {
    /// Sets the role.
    #[must_use]
    pub const fn with_role(mut self, role: DtlsRole) -> Self {
        self.role = role;
        self
    }

    /// Sets the version.
    #[must_use]
    pub const fn with_version(mut self, version: DtlsVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets whether DTLS is done.
    #[must_use]
    pub const fn with_secured(mut self, is_secured: bool) -> Self {
        self.is_secured = Some(is_secured);
        self
    }

    /// Sets whether this side refused the handshake.
    #[must_use]
    pub const fn with_refused(mut self, has_refused: bool) -> Self {
        self.has_refused = has_refused;
        self
    }

    /// Sets whether the peer closed the channel.
    #[must_use]
    pub const fn with_closed_by_peer(mut self, is_closed: bool) -> Self {
        self.is_closed_by_peer = is_closed;
        self
    }

    /// Sets the packets by size.
    #[must_use]
    pub const fn with_sizes(mut self, sizes: [SizeClass; SIZES]) -> Self {
        self.sizes = Some(sizes);
        self
    }
}

/// The stage that was reached, the verdict, and the numbers behind it. It holds no address.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::stage::{Above, CheckLog, PathWatch, Stage, judge};
/// let report = judge(Duration::ZERO, &PathWatch::new(), &CheckLog::new(), &Above::default());
/// assert_eq!(report.stage, Stage::Unknown, "nothing passed");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StageReport {
    /// The last stage reached.
    pub stage: Stage,
    /// What stopped it.
    pub verdict: StageVerdict,
    /// Who refused the handshake, where one side did.
    pub refused_by: RefusedBy,
    /// The role of this side.
    pub role: DtlsRole,
    /// The version of DTLS.
    pub version: DtlsVersion,
    /// The last handshake message that came in.
    pub last_in: HandshakeMessage,
    /// The last handshake message that left.
    pub last_out: HandshakeMessage,
    /// Flights with our ClientHello; of a server, flights since the last new record that came in.
    pub flights: u32,
    /// Checks of this pair that left.
    pub asked: u32,
    /// Checks of this pair that were answered.
    pub answers: u32,
    /// Datagrams beside STUN that left.
    pub sent: Direction,
    /// Datagrams beside STUN that came in.
    pub received: Direction,
    /// Time since the last record of DTLS came in.
    pub silent_for: Option<Duration>,
    /// Time since the first datagram left that the peer has to acknowledge, without an acknowledgement since;
    /// where the layer above counts them.
    pub unacknowledged_for: Option<Duration>,
    /// Above this size, in bytes, packets vanish.
    pub vanish_above: Option<u16>,
    /// The shape of the ClientHello that passed: see [`hello_shape`].
    pub hello_shape: Option<u32>,
}

impl StageReport {
    /// The report of an attempt that came so far, of whose pairs nothing else is known.
    ///
    /// ```
    /// use nat_summary::stage::{Stage, StageReport, StageVerdict};
    /// let report = StageReport::of(Stage::Checks);
    /// assert_eq!((report.stage, report.verdict), (Stage::Checks, StageVerdict::Unknown));
    /// ```
    #[must_use]
    pub fn of(stage: Stage) -> Self {
        Self {
            stage,
            ..Self::default()
        }
    }

    /// The same without a verdict, because not everything that passed was seen.
    #[must_use]
    pub const fn without_verdict(mut self) -> Self {
        self.verdict = StageVerdict::Unknown;
        self.refused_by = RefusedBy::Unknown;
        self.vanish_above = None;
        self
    }
}

/// Judges one pair of addresses at the time `now`: the end of an attempt, the end of a path, or a moment
/// in between.
#[must_use]
pub fn judge(now: Duration, watch: &PathWatch, checks: &CheckLog, above: &Above) -> StageReport {
    let case = Case {
        now,
        watch,
        checks,
        above,
    };
    let refused_by = case.refused_by();
    let (verdict, vanish_above) = case.verdict(refused_by);
    let (sent, received) = (*watch.outgoing(), *watch.incoming());
    let role = case.role();
    StageReport {
        stage: case.stage(),
        verdict,
        refused_by: if verdict == StageVerdict::HandshakeRefused {
            refused_by
        } else {
            RefusedBy::Unknown
        },
        role,
        version: case.version(),
        last_in: last_message(&received),
        last_out: last_message(&sent),
        flights: match role {
            DtlsRole::Server => watch.flights.count,
            _ => watch.hello_flights(),
        },
        asked: checks.asked(),
        answers: checks.answers(),
        sent,
        received,
        silent_for: watch.last_record_in.map(|last| now.saturating_sub(last)),
        unacknowledged_for: (watch.unacknowledged.count > 0)
            .then(|| now.saturating_sub(watch.unacknowledged.first)),
        vanish_above,
        hello_shape: watch.hello_shape(),
    }
}

/// The last message in the clear; behind it records under keys.
const fn last_message(direction: &Direction) -> HandshakeMessage {
    if direction.encrypted > 0 || direction.unified > 0 {
        HandshakeMessage::Encrypted
    } else {
        direction.last_message
    }
}

/// All there is to judge from.
struct Case<'a> {
    now: Duration,
    watch: &'a PathWatch,
    checks: &'a CheckLog,
    above: &'a Above,
}

impl Case<'_> {
    fn role(&self) -> DtlsRole {
        match self.above.role {
            DtlsRole::Unknown => self.watch.role,
            role => role,
        }
    }

    fn version(&self) -> DtlsVersion {
        let (sent, received) = (self.watch.outgoing(), self.watch.incoming());
        let has_12 = |side: &Direction| side.encrypted > 0;
        match self.above.version {
            DtlsVersion::Unknown if sent.unified > 0 && received.unified > 0 => DtlsVersion::Dtls13,
            DtlsVersion::Unknown if has_12(sent) && has_12(received) => DtlsVersion::Dtls12,
            version => version,
        }
    }

    const fn is_secured(&self) -> bool {
        matches!(self.above.is_secured, Some(true)) || self.watch.secured.is_some()
    }

    fn has_records_both_ways(&self) -> bool {
        self.watch.outgoing().has_records() && self.watch.incoming().has_records()
    }

    fn stage(&self) -> Stage {
        let (sent, received) = (self.watch.outgoing(), self.watch.incoming());
        if received.data > 0 {
            Stage::Open
        } else if self.is_secured() {
            Stage::Secured
        } else if self.has_records_both_ways() {
            Stage::Handshake
        } else if sent.handshake > 0 || received.handshake > 0 {
            Stage::Hello
        } else if self.checks.answers() > 0 {
            Stage::Paired
        } else if self.checks.asked() > 0 {
            Stage::Checks
        } else {
            Stage::Unknown
        }
    }

    fn refused_by(&self) -> RefusedBy {
        if self.above.has_refused || self.watch.has_refused {
            RefusedBy::ThisSide
        } else if self.watch.is_refused_by_alert {
            RefusedBy::AlertReceived
        } else {
            RefusedBy::Unknown
        }
    }

    fn is_alive(&self, since: Duration, last_sign: Duration) -> bool {
        self.checks.is_alive(since, last_sign, self.now)
    }

    /// The verdict, and the size above which packets vanish.
    fn verdict(&self, refused_by: RefusedBy) -> (StageVerdict, Option<u16>) {
        if self.above.is_closed_by_peer {
            return (StageVerdict::ClosedByPeer, None);
        }
        if self.is_path_lost() {
            return (StageVerdict::PathLost, None);
        }
        if self.is_secured() {
            if let Some(size) = self.vanish_above() {
                return (StageVerdict::LargePacketsVanish, Some(size));
            }
            return (self.of_channel(), None);
        }
        if refused_by != RefusedBy::Unknown {
            return (StageVerdict::HandshakeRefused, None);
        }
        (self.of_handshake(), None)
    }

    fn is_path_lost(&self) -> bool {
        let last = self.checks.last_heard().max(self.watch.last_record_in);
        self.checks.answers() > 0
            && self.checks.unanswered_in_a_row(self.now) >= LOST_CHECKS
            && last.is_some_and(|last| self.now.saturating_sub(last) >= LOST_AFTER)
    }

    fn of_handshake(&self) -> StageVerdict {
        let watch = self.watch;
        if !watch.incoming().has_records() {
            return self.of_hello();
        }
        // behind the hellos of DTLS 1.3 only the owner of the keys knows whether the handshake is done
        let is_unsure = watch.incoming().unified > 0
            && watch.outgoing().unified > 0
            && self.above.is_secured.is_none();
        let last_in = watch.last_new_in.unwrap_or(self.now);
        // the first is the answer to the last record, and no retransmission
        let has_repeated = watch.flights.count > FLIGHTS;
        if has_repeated
            && !is_unsure
            && self.has_records_both_ways()
            && self.is_alive(last_in, watch.flights.last)
        {
            StageVerdict::HandshakeStalled
        } else {
            StageVerdict::Unknown
        }
    }

    fn of_hello(&self) -> StageVerdict {
        let hellos = &self.watch.hellos;
        match self.role() {
            DtlsRole::Client
                if hellos.count >= FLIGHTS && self.is_alive(hellos.first, hellos.last) =>
            {
                StageVerdict::HelloUnanswered
            }
            DtlsRole::Server if self.has_waited() => StageVerdict::HelloNeverCame,
            _ => StageVerdict::Unknown,
        }
    }

    /// Whether the path was alive from its first answer on, long enough for a hello to come.
    fn has_waited(&self) -> bool {
        let Some(since) = self.checks.first_answer() else {
            return false;
        };
        let wait = self.now.saturating_sub(since);
        // the last quarter may have no answer yet
        let late = since.saturating_add(wait * 3 / 4);
        wait >= HELLO_WAIT && self.is_alive(since, late)
    }

    fn of_channel(&self) -> StageVerdict {
        let Repeated { first, last, .. } = self.watch.unacknowledged;
        // a peer that repeats itself sends data, and hears nothing: it acknowledges nothing either
        let is_deaf = self.is_without_answer(&self.watch.unacknowledged, FROZEN_AFTER)
            && last.saturating_sub(first) >= FROZEN_AFTER / 2;
        let has_data = self.watch.last_data_in.is_some();
        if has_data && (is_deaf || self.is_without_answer(&self.watch.asked, FROZEN_AFTER)) {
            StageVerdict::FrozenAfterOpen
        } else if !has_data && self.is_without_answer(&self.watch.asked, Duration::ZERO) {
            StageVerdict::ChannelUnanswered
        } else {
            StageVerdict::Unknown
        }
    }

    /// Whether these datagrams were enough, the first of them so long ago, and the path alive meanwhile.
    fn is_without_answer(&self, asked: &Repeated, least: Duration) -> bool {
        let wait = self.now.saturating_sub(asked.first);
        let half = asked.first.saturating_add(wait / 2);
        asked.count >= FLIGHTS && wait >= least && self.is_alive(asked.first, half.min(asked.last))
    }

    /// The size above which no packet arrives, where smaller ones do: in this direction by their
    /// acknowledgements, in the other one because these came in.
    fn vanish_above(&self) -> Option<u16> {
        let sizes = self
            .above
            .sizes
            .filter(|_| self.watch.incoming().data > 0)?;
        let from = sizes.iter().rposition(|class| class.passed > 0)? + 1;
        let (below, above) = sizes.split_at_checked(from)?;
        let sum = |classes: &[SizeClass], count: fn(&SizeClass) -> u32| {
            classes.iter().map(count).fold(0, u32::saturating_add)
        };
        let (passed, lost) = (sum(below, |c| c.passed), sum(below, |c| c.missing));
        let is_proven = sum(above, |c| c.missing) >= FEWEST_SIZED
            && passed >= FEWEST_SIZED
            && lost.saturating_mul(LOST_ONE_OF) <= passed;
        below.last().filter(|_| is_proven).map(|class| class.most)
    }
}
