//! The pairs of addresses that carry more than checks, for the verdict on how far they came.

use core::net::SocketAddr;
use core::time::Duration;

use crate::evidence::{Endpoint, Ip};
use crate::stage::{Above, CheckLog, PathWatch, StageReport, judge};

/// Most pairs followed. Of more, the one that the peer was heard on longest ago makes room, unless it is in
/// use.
pub const MAX_PATHS: usize = 6;

/// A pair of addresses whose checks were answered, or that carried other datagrams.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::observer::Observer;
/// use nat_summary::stage::{Above, Stage};
///
/// let (ours, theirs) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// let check = b"\x00\x01\x00\x08\x21\x12\xA4\x42a random id.\x00\x06\x00\x03a:b\x00";
/// let hello = b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0c\x01\0\0\0\0\0\0\0\0\0\0\0";
/// let mut observer = Observer::new();
/// observer.sent(Duration::ZERO, ours, theirs, check);
/// observer.sent(Duration::ZERO, ours, theirs, hello);
/// let path = observer.paths().next().expect("one path");
/// assert_eq!(path.judge(Duration::ZERO, &Above::default()).stage, Stage::Hello);
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ObservedPath<'a> {
    /// The local socket.
    pub base: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The datagrams beside STUN.
    pub watch: &'a PathWatch,
    /// The checks since the first answer.
    pub checks: &'a CheckLog,
}

impl ObservedPath<'_> {
    /// How far it came until `now`, and what stopped it: see [`judge`].
    #[must_use]
    pub fn judge(&self, now: Duration, above: &Above) -> StageReport {
        judge(now, self.watch, self.checks, above)
    }
}

#[derive(Debug, Clone, Copy)]
struct Followed {
    base: Endpoint,
    remote: Endpoint,
    watch: PathWatch,
    checks: CheckLog,
}

impl Followed {
    fn as_path(&self) -> ObservedPath<'_> {
        ObservedPath {
            base: self.base.into(),
            remote: self.remote.into(),
            watch: &self.watch,
            checks: &self.checks,
        }
    }
}

/// The pairs of addresses of one ICE session that carry more than checks, each with its datagrams and its
/// checks. An [`Observer`](super::Observer) has one. A reader of connectivity checks that verifies them
/// itself hands them in here, with the datagrams beside STUN.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::observer::Paths;
/// use nat_summary::stage::{Above, Stage};
///
/// let (ours, theirs) = ("192.168.1.5:50000".parse()?, "192.0.2.9:40000".parse()?);
/// let hello = b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x0c\x01\0\0\0\0\0\0\0\0\0\0\0";
/// let (sent, now) = (Duration::ZERO, Duration::from_millis(30));
/// let mut paths = Paths::new();
/// paths.answered(ours, theirs, sent, now);
/// assert_eq!(paths.stage(now, &Above::default()).map(|report| report.stage), Some(Stage::Paired));
/// paths.sent(now, ours, theirs, hello, || false);
/// assert_eq!(paths.stage(now, &Above::default()).map(|report| report.stage), Some(Stage::Hello));
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
///
/// Its size is fixed, less than 4 KiB, and it takes nothing from the heap.
#[derive(Debug, Clone)]
pub struct Paths {
    followed: [Followed; MAX_PATHS],
    len: usize,
    /// The pair that the last datagram beside STUN left on.
    in_use: Option<usize>,
}

impl Default for Paths {
    fn default() -> Self {
        Self::new()
    }
}

impl Paths {
    /// Of a session without a pair so far.
    #[must_use]
    pub const fn new() -> Self {
        let nowhere = Endpoint {
            ip: Ip::UNSPECIFIED,
            port: 0,
        };
        let none = Followed {
            base: nowhere,
            remote: nowhere,
            watch: PathWatch::new(),
            checks: CheckLog::new(),
        };
        Self {
            followed: [none; MAX_PATHS],
            len: 0,
            in_use: None,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pairs, in the order of their beginnings; at most [`MAX_PATHS`].
    pub fn iter(&self) -> impl Iterator<Item = ObservedPath<'_>> {
        self.followed.iter().take(self.len).map(Followed::as_path)
    }

    /// The pair in use: the one that the last datagram beside STUN left on, because a stack sends on the
    /// pair that it selected. Before the first, the one that a DTLS record last came in on, or else the
    /// one that the peer was last heard on.
    #[must_use]
    pub fn in_use(&self) -> Option<ObservedPath<'_>> {
        let known = self.followed.get(..self.len)?;
        let quiet = || {
            known
                .iter()
                .max_by_key(|path| (path.watch.last_record_in(), path.checks.last_heard()))
        };
        let in_use = self.in_use.and_then(|at| known.get(at));
        in_use.or_else(quiet).map(Followed::as_path)
    }

    /// How far the pair in use came until `now`, and what stopped it; `None` without a pair.
    #[must_use]
    pub fn stage(&self, now: Duration, above: &Above) -> Option<StageReport> {
        self.in_use().map(|path| path.judge(now, above))
    }

    #[inline]
    fn find(&self, base: Endpoint, remote: Endpoint) -> Option<usize> {
        let mut known = self.followed.iter().take(self.len);
        known.position(|path| (path.base, path.remote) == (base, remote))
    }

    /// The place of a pair; `is_checked` returns whether the pair had checks.
    #[inline]
    fn place(
        &mut self,
        base: SocketAddr,
        remote: SocketAddr,
        is_checked: impl FnOnce() -> bool,
    ) -> Option<usize> {
        let (base, remote) = (base.into(), remote.into());
        let known = self.find(base, remote);
        // a stranger's datagrams make no entry
        if known.is_none() && self.len < MAX_PATHS && is_checked() {
            return self.follow(base, remote);
        }
        known
    }

    /// A datagram that is not STUN leaves. On a pair that is not known, `is_checked` returns whether it had
    /// checks; without them the datagram is a stranger's.
    #[inline]
    pub fn sent(
        &mut self,
        now: Duration,
        base: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        is_checked: impl FnOnce() -> bool,
    ) {
        let place = self.place(base, remote, is_checked);
        if let Some((at, path)) = place.and_then(|at| Some((at, self.followed.get_mut(at)?))) {
            path.watch.sent(now, datagram);
            self.in_use = Some(at);
        }
    }

    /// A datagram that is not STUN came in; `is_checked` as in [`sent`](Self::sent).
    #[inline]
    pub fn received(
        &mut self,
        now: Duration,
        base: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        is_checked: impl FnOnce() -> bool,
    ) {
        let place = self.place(base, remote, is_checked);
        if let Some(path) = place.and_then(|at| self.followed.get_mut(at)) {
            path.watch.received(now, datagram);
        }
    }

    /// A check leaves. Those before the first answer are left to the agent's own counts.
    pub fn check_sent(&mut self, base: SocketAddr, remote: SocketAddr, now: Duration) {
        if let Some(path) = self.known(base, remote) {
            path.checks.sent(now);
        }
    }

    /// The check that left at `sent` was answered. The caller has verified the answer, or matched it with
    /// its check.
    pub fn answered(
        &mut self,
        base: SocketAddr,
        remote: SocketAddr,
        sent: Duration,
        now: Duration,
    ) {
        let (base, remote) = (base.into(), remote.into());
        let known = self.find(base, remote);
        let place = known.or_else(|| self.follow(base, remote));
        if let Some(path) = place.and_then(|at| self.followed.get_mut(at)) {
            if known.is_none() {
                path.checks.sent(sent);
            }
            path.checks.answered(sent, now);
        }
    }

    /// A check of the peer came in, verified or matched.
    pub fn heard(&mut self, base: SocketAddr, remote: SocketAddr, now: Duration) {
        if let Some(path) = self.known(base, remote) {
            path.checks.heard(now);
        }
    }

    fn known(&mut self, base: SocketAddr, remote: SocketAddr) -> Option<&mut Followed> {
        let at = self.find(base.into(), remote.into())?;
        self.followed.get_mut(at)
    }

    /// Answers that were matched only do not count any more.
    pub(super) fn forget_checks(&mut self) {
        for path in &mut self.followed {
            path.checks = CheckLog::new();
        }
    }

    /// The place of a pair that is not known yet.
    fn follow(&mut self, base: Endpoint, remote: Endpoint) -> Option<usize> {
        let at = if self.len < MAX_PATHS {
            self.len += 1;
            self.len - 1
        } else {
            let paths = self.followed.iter().enumerate();
            let others = paths.filter(|(at, _)| self.in_use != Some(*at));
            let quiet = others.min_by_key(|(_, path)| path.checks.last_heard());
            quiet.map(|(at, _)| at)?
        };
        *self.followed.get_mut(at)? = Followed {
            base,
            remote,
            watch: PathWatch::new(),
            checks: CheckLog::new(),
        };
        Some(at)
    }
}
