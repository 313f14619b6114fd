//! Roaming: the host's addresses change, as it goes from one network to another. The addresses are
//! looked up now and then; no packet is sent for it.

use core::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ice_gather::{LocalAddresses, Role};
use tokio::time::Instant;

use crate::cohort::Cohort;
use crate::notice::{NoticeKind, NoticeSink};
use crate::transport::{Session, Transport};

/// Time between two lookups.
const INTERVAL: Duration = Duration::from_secs(5);

type Lookup = dyn Fn() -> LocalAddresses + Send + Sync;

/// How changes of the host's addresses are noticed. Clones share their lookups, so many slots cost
/// as much as one.
///
/// A change counts once two lookups in a row agree on it, because an address that is renewed may be
/// away for a moment.
#[derive(Clone)]
pub struct Roaming {
    interval: Duration,
    look_up: Arc<Lookup>,
    last: Arc<Mutex<Option<(Instant, LocalAddresses)>>>,
}

impl Default for Roaming {
    /// Asks the system every 5 s.
    fn default() -> Self {
        Self::new(INTERVAL, LocalAddresses::look)
    }
}

impl fmt::Debug for Roaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roaming")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl Roaming {
    /// Calls `look_up` once in each `interval`.
    pub fn new(
        interval: Duration,
        look_up: impl Fn() -> LocalAddresses + Send + Sync + 'static,
    ) -> Self {
        Self {
            interval: interval.max(Duration::from_millis(1)),
            look_up: Arc::new(look_up),
            last: Arc::default(),
        }
    }

    /// The addresses as of the last lookup, which is younger than the interval.
    pub(crate) fn addresses(&self) -> LocalAddresses {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, addresses)) if at.elapsed() < self.interval => addresses.clone(),
            _ => {
                let addresses = (self.look_up)();
                *last = Some((Instant::now(), addresses.clone()));
                addresses
            }
        }
    }

    /// Waits until the addresses differ from `before`.
    async fn changed(&self, before: &LocalAddresses) -> LocalAddresses {
        let mut previous = None;
        loop {
            tokio::time::sleep(self.interval).await;
            let now = self.addresses();
            if now == *before {
                previous = None;
            } else if previous.as_ref() == Some(&now) {
                return now;
            } else {
                previous = Some(now);
            }
        }
    }
}

/// Waits until the addresses differ from `before`; for ever, if roaming is off.
pub(crate) async fn changed(
    roaming: Option<&Roaming>,
    before: Option<&LocalAddresses>,
) -> LocalAddresses {
    match (roaming, before) {
        (Some(roaming), Some(before)) => roaming.changed(before).await,
        _ => core::future::pending().await,
    }
}

/// Asks for the mapping again while a path is up.
pub(crate) struct MappingRefresh<'a, T> {
    pub(crate) transport: &'a T,
    pub(crate) cohort: &'a Cohort,
    pub(crate) notices: &'a NoticeSink,
    /// The addresses to which the path's sockets are bound.
    pub(crate) sockets: Vec<IpAddr>,
}

impl<T: Transport> MappingRefresh<'_, T> {
    /// Asks again after each change of the addresses, as long as the host keeps the path's own
    /// address. Ends once that address is gone, because the path has ended too, and the next
    /// attempt asks from the new address.
    pub(crate) async fn after_each_change(
        &self,
        roaming: Option<&Roaming>,
        before: Option<&LocalAddresses>,
    ) {
        let mut before = before.cloned();
        loop {
            let now = changed(roaming, before.as_ref()).await;
            let was_there =
                |ip: &&IpAddr| before.as_ref().is_some_and(|before| before.contains(**ip));
            if self
                .sockets
                .iter()
                .filter(was_there)
                .any(|ip| !now.contains(*ip))
            {
                return;
            }
            self.gather().await;
            before = Some(now);
        }
    }

    /// Gathers from sockets of its own, because those of the path belong to the peer, and may be
    /// bound to the old network.
    async fn gather(&self) {
        let Ok(session) = self.transport.open(Role::Controlling).await else {
            return;
        };
        let gathering = session.gather(&self.cohort.servers).await;
        session.close().await;
        self.notices
            .publish(NoticeKind::Roamed(Box::new(gathering.evidence.summary())));
    }
}
