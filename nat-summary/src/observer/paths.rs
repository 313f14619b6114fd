//! The pairs of addresses that carry more than checks, for the verdict on how far they came.

use core::net::SocketAddr;
use core::time::Duration;

use crate::evidence::{Endpoint, Ip};
use crate::stage::{Above, CheckLog, PathWatch, StageReport, judge};

/// Most pairs followed. Of more, the one that was answered longest ago makes room.
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

/// The pairs that are followed.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    followed: [Followed; MAX_PATHS],
    len: usize,
}

impl Paths {
    pub(super) const fn new() -> Self {
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
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = ObservedPath<'_>> {
        self.followed
            .iter()
            .take(self.len)
            .map(|path| ObservedPath {
                base: path.base.into(),
                remote: path.remote.into(),
                watch: &path.watch,
                checks: &path.checks,
            })
    }

    #[inline]
    fn find(&mut self, base: Endpoint, remote: Endpoint) -> Option<&mut Followed> {
        let known = self.followed.iter_mut().take(self.len);
        known
            .into_iter()
            .find(|path| (path.base, path.remote) == (base, remote))
    }

    /// The datagrams of a pair; `is_checked` returns whether the pair had checks.
    #[inline]
    pub(super) fn watch(
        &mut self,
        base: Endpoint,
        remote: Endpoint,
        is_checked: impl FnOnce() -> bool,
    ) -> Option<&mut PathWatch> {
        // a stranger's datagrams make no entry
        if self.find(base, remote).is_none() && (self.len == MAX_PATHS || !is_checked()) {
            return None;
        }
        self.follow(base, remote).map(|path| &mut path.watch)
    }

    /// A check leaves. Those before the first answer are left to the agent's own counts.
    pub(super) fn check_sent(&mut self, base: Endpoint, remote: Endpoint, now: Duration) {
        if let Some(path) = self.find(base, remote) {
            path.checks.sent(now);
        }
    }

    /// The check that left at `sent` was answered.
    pub(super) fn answered(
        &mut self,
        base: Endpoint,
        remote: Endpoint,
        sent: Duration,
        now: Duration,
    ) {
        let is_known = self.find(base, remote).is_some();
        if let Some(path) = self.follow(base, remote) {
            if !is_known {
                path.checks.sent(sent);
            }
            path.checks.answered(sent, now);
        }
    }

    /// A check of the peer came in.
    pub(super) fn heard(&mut self, base: Endpoint, remote: Endpoint, now: Duration) {
        if let Some(path) = self.find(base, remote) {
            path.checks.heard(now);
        }
    }

    /// Answers that were matched only do not count any more.
    pub(super) fn forget_checks(&mut self) {
        for path in &mut self.followed {
            path.checks = CheckLog::new();
        }
    }

    fn follow(&mut self, base: Endpoint, remote: Endpoint) -> Option<&mut Followed> {
        if self.find(base, remote).is_none() {
            let at = if self.len < MAX_PATHS {
                self.len += 1;
                self.len - 1
            } else {
                let quiet = self.followed.iter().enumerate();
                let quiet = quiet.min_by_key(|(_, path)| path.checks.last_heard());
                quiet.map(|(at, _)| at)?
            };
            *self.followed.get_mut(at)? = Followed {
                base,
                remote,
                watch: PathWatch::new(),
                checks: CheckLog::new(),
            };
        }
        self.find(base, remote)
    }
}
