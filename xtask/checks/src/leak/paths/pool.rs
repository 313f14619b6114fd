//! Many slots at once, and a host that goes from one network to another.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consumer_fsm::signalling::{MemorySignalling, Switchboard};
use consumer_fsm::transport::{IceTransport, Network};
use consumer_fsm::{NoticeKind, Notices, Pool, Roaming};
use ice_gather::{Base, BindConfig, LocalAddresses};
use otel_nat::keys;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Measured, Meter, Path, consumer_fsm as attempts, path};
use crate::peers::{self, Running};
use crate::spans::Spans;
use crate::{Failure, bounds};

pub(super) const PATHS: &[Path] = &[
    path("pool: cancelled with every slot on a path", |meter| {
        Box::pin(pool(meter, End::Cancelled))
    }),
    path("pool: dropped with every slot on a path", |meter| {
        Box::pin(pool(meter, End::Dropped))
    }),
    path("pool: dropped at any moment", |meter| {
        Box::pin(pool(meter, End::DroppedEarly))
    }),
    path("pool: roaming", |meter| Box::pin(roaming(meter))),
];

const SLOTS: usize = 4;
const AT_ONCE: u32 = 2;
/// Some more than there are slots: of those whose consumer has vanished, each waits for a while.
const PRODUCERS: usize = 12;
/// A host looks for its addresses this often.
const LOOK: Duration = Duration::from_millis(5);
const HERE: [u8; 4] = [127, 0, 0, 71];
const THERE: [u8; 4] = [127, 0, 0, 72];

#[derive(Clone, Copy)]
enum End {
    Cancelled,
    Dropped,
    DroppedEarly,
}

async fn pool(meter: Meter, end: End) -> Result<Measured, Failure> {
    let responders = peers::cohort(2, 0).await?;
    let signalling = MemorySignalling::new(Switchboard::new(attempts::holds(attempts::PATIENCE)));
    let transport = ice(Network::System(peers::loopback()));
    let prepare = async || Ok(producers(&signalling, &transport, PRODUCERS));
    let measured = meter.measure(AT_ONCE, prepare, async |_, number| {
        let (spans, servers) = (Spans::default(), peers::servers(&responders));
        let mut pool = Pool::new(
            signalling.clone(),
            transport.clone(),
            spans.telemetry(),
            servers,
            SLOTS,
        )
        .with_timing(attempts::hurried())
        .with_seed(number.into());
        let mut notices = pool.notices();
        let cancel = CancellationToken::new();
        let all_up = each(&mut notices, SLOTS, |what| *what == NoticeKind::PathUp);
        let is_as_intended = match end {
            End::Cancelled => {
                let user = async {
                    let is_up = all_up.await;
                    cancel.cancel();
                    is_up
                };
                tokio::join!(user, pool.run(&cancel)).0
            }
            End::Dropped => tokio::select! {
                is_up = all_up => is_up,
                () = pool.run(&cancel) => false,
            },
            End::DroppedEarly => timeout(attempts::moment(number), pool.run(&cancel))
                .await
                .is_err(),
        };
        let successes = spans
            .take()
            .iter()
            .filter(|span| span.name == keys::SPAN_SUCCESS)
            .count();
        Ok(is_as_intended && (matches!(end, End::DroppedEarly) || successes >= SLOTS))
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

/// A second network comes, and the mapping is asked for again; the first goes, and the path with
/// it; the next is up.
async fn roaming(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(2, 0).await?;
    let signalling = MemorySignalling::new(Switchboard::new(attempts::holds(attempts::PATIENCE)));
    let fixed = ice(Network::System(peers::loopback()));
    let prepare = async || Ok(producers(&signalling, &fixed, PRODUCERS));
    let measured = meter.measure(AT_ONCE, prepare, async |_, number| {
        let host = Host::default();
        host.goes_to(&[HERE]);
        let (spans, servers) = (Spans::default(), peers::servers(&responders));
        let mut pool = Pool::new(
            signalling.clone(),
            ice(host.network()),
            spans.telemetry(),
            servers,
            1,
        )
        .with_timing(attempts::hurried())
        .with_roaming(Some(host.roaming()))
        .with_seed(number.into());
        let mut notices = pool.notices();
        let cancel = CancellationToken::new();
        let user = async {
            let mut is_told = each(&mut notices, 1, |what| *what == NoticeKind::PathUp).await;
            host.goes_to(&[HERE, THERE]);
            is_told &= each(&mut notices, 1, |what| {
                matches!(what, NoticeKind::Roamed(_))
            })
            .await;
            host.goes_to(&[THERE]);
            is_told &= each(&mut notices, 1, |what| *what == NoticeKind::PathDown).await;
            is_told &= each(&mut notices, 1, |what| *what == NoticeKind::PathUp).await;
            cancel.cancel();
            is_told
        };
        let (is_told, ()) = tokio::join!(user, pool.run(&cancel));
        Ok(is_told && spans.take().len() >= 2)
    });
    Ok(measured.await?.intended(bounds::INTENDED_BUT_LATE))
}

/// Waits until this many slots have reported the event. Returns whether they did in time.
async fn each(notices: &mut Notices, slots: usize, is: fn(&NoticeKind) -> bool) -> bool {
    let told = async {
        let mut told = BTreeSet::new();
        while told.len() < slots {
            let Some(notice) = notices.next().await else {
                return false;
            };
            if is(&notice.kind) {
                told.insert(notice.slot);
            }
        }
        true
    };
    timeout(bounds::CONNECTED_WITHIN, told)
        .await
        .unwrap_or(false)
}

fn ice(network: Network) -> IceTransport {
    IceTransport::new(network).with_agent_config(peers::eager())
}

fn producers(
    signalling: &MemorySignalling,
    transport: &IceTransport,
    number: usize,
) -> Vec<Running> {
    (0..number)
        .map(|_| peers::echo(signalling.clone(), transport.clone(), attempts::PATIENCE))
        .collect()
}

/// A host whose addresses the test sets.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<LocalAddresses>>);

impl Host {
    fn goes_to(&self, ips: &[[u8; 4]]) {
        let mut addresses = LocalAddresses::default();
        addresses.all = ips.iter().map(|ip| IpAddr::from(*ip)).collect();
        addresses.default_route = [addresses.all.last().copied(), None];
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn addresses(&self) -> LocalAddresses {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn roaming(&self) -> Roaming {
        let host = self.clone();
        Roaming::new(LOOK, move || host.addresses())
    }

    /// Binds where the default route is now.
    fn network(&self) -> Network {
        let host = self.clone();
        Network::custom(move || {
            let [v4, _] = host.addresses().default_route;
            Base::bind(BindConfig::address(v4.unwrap_or(HERE.into())))
        })
    }
}
