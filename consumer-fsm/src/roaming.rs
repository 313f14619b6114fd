//! The host's addresses change: it went from one network to another. Looked up now and then;
//! nothing is sent for it.

use core::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ice_gather::{LocalAddresses, Role};
use tokio::time::Instant;

use crate::cohort::Cohort;
use crate::notice::{Teller, What};
use crate::transport::{Session, Transport};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);

type Look = dyn Fn() -> LocalAddresses + Send + Sync;

/// How changes of the host's addresses are noticed. Clones share what they see: many slots cost one
/// look.
///
/// A change counts once two looks in a row agree on it, for an address that is renewed may be away
/// for a moment.
#[derive(Clone)]
pub struct Roaming {
    every: Duration,
    look: Arc<Look>,
    last: Arc<Mutex<Option<(Instant, LocalAddresses)>>>,
}

impl Default for Roaming {
    /// Asks the system every 5 s.
    fn default() -> Self {
        Self::new(EVERY, LocalAddresses::look)
    }
}

impl fmt::Debug for Roaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roaming")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

impl Roaming {
    /// Looks this often, by calling `look`.
    pub fn new(every: Duration, look: impl Fn() -> LocalAddresses + Send + Sync + 'static) -> Self {
        Self {
            every: every.max(Duration::from_millis(1)),
            look: Arc::new(look),
            last: Arc::default(),
        }
    }

    /// The addresses as of the last look, which is not older than the time between two.
    pub(crate) fn addresses(&self) -> LocalAddresses {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, addresses)) if at.elapsed() < self.every => addresses.clone(),
            _ => {
                let addresses = (self.look)();
                *last = Some((Instant::now(), addresses.clone()));
                addresses
            }
        }
    }

    /// Waits until the addresses are others than `before`.
    async fn changed(&self, before: &LocalAddresses) -> LocalAddresses {
        let mut previous = None;
        loop {
            tokio::time::sleep(self.every).await;
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

/// Waits until the addresses are others than `before`; for ever, if nobody looks.
pub(crate) async fn changed(
    roaming: Option<&Roaming>,
    before: Option<&LocalAddresses>,
) -> LocalAddresses {
    match (roaming, before) {
        (Some(roaming), Some(before)) => roaming.changed(before).await,
        _ => core::future::pending().await,
    }
}

/// What it takes to ask for the mapping again while a path is up.
pub(crate) struct AskAgain<'a, T> {
    pub(crate) transport: &'a T,
    pub(crate) cohort: &'a Cohort,
    pub(crate) teller: &'a Teller,
    /// The addresses the path's sockets are bound to.
    pub(crate) sockets: Vec<IpAddr>,
}

impl<T: Transport> AskAgain<'_, T> {
    /// Asks again after each change of the addresses that leaves the path its own. Ends once that
    /// is gone, and the path with it: the next attempt asks from the new one.
    pub(crate) async fn whenever_moved(
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
            self.ask().await;
            before = Some(now);
        }
    }

    /// From sockets of its own: those of the path are the peer's, and may be bound to the old
    /// network.
    async fn ask(&self) {
        let Ok(session) = self.transport.open(Role::Controlling).await else {
            return;
        };
        let gathering = session.gather(&self.cohort.servers).await;
        session.close().await;
        self.teller
            .tell(What::Roamed(Box::new(gathering.evidence.summary())));
    }
}
