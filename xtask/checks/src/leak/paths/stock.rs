//! The same paths on stock webrtc-ice, which leaks on most of them: few cycles each.

use std::net::SocketAddr;

use ice_gather::responder::Responder;

use super::{Measured, Meter, Path, path, standalone};
use crate::stock::{self, Pair};
use crate::{Failure, peers};

pub(super) const PATHS: &[Path] = &[
    path("stock: gathered, closed", |meter| {
        Box::pin(gathered(meter, true))
    })
    .most(200),
    path("stock: gathered, dropped", |meter| {
        Box::pin(gathered(meter, false))
    })
    .most(200),
    path("stock: connected, closed", |meter| {
        Box::pin(connected(meter, End::Closed))
    })
    .most(200),
    path("stock: connected, dropped", |meter| {
        Box::pin(connected(meter, End::Dropped))
    })
    .most(200),
    path("stock: connected, closing dropped", |meter| {
        Box::pin(connected(meter, End::CloseDropped))
    })
    .most(200),
    path("stock: connecting, closed", |meter| {
        Box::pin(connecting(meter))
    })
    .most(200),
    path("stock: closed while gathering", |meter| {
        Box::pin(while_gathering(meter))
    })
    .most(200),
];

enum End {
    Closed,
    Dropped,
    CloseDropped,
}

async fn gathered(meter: Meter, is_closed: bool) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 0).await?;
    let servers: Vec<SocketAddr> = responders.iter().map(Responder::address).collect();
    let measured = meter.measure(1, standalone, async |_, _| {
        let gathered = stock::gather(&servers).await?;
        let is_complete = gathered.answered == servers.len();
        if is_closed {
            gathered.close().await?;
        }
        Ok(is_complete)
    });
    measured.await
}

async fn connected(meter: Meter, end: End) -> Result<Measured, Failure> {
    let measured = meter.measure(1, standalone, async |_, _| {
        let pair = Pair::connect().await?;
        match end {
            End::Closed => pair.close().await?,
            End::Dropped => drop(pair),
            End::CloseDropped => {
                let close = pair.close();
                tokio::pin!(close);
                // begun, and given up
                tokio::select! {
                    biased;
                    closed = &mut close => closed?,
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        Ok(true)
    });
    measured.await
}

async fn connecting(meter: Meter) -> Result<Measured, Failure> {
    let measured = meter.measure(1, standalone, async |_, _| {
        stock::close_while_dialling().await?;
        Ok(true)
    });
    measured.await
}

async fn while_gathering(meter: Meter) -> Result<Measured, Failure> {
    let responders = peers::cohort(3, 0).await?;
    let servers: Vec<SocketAddr> = responders.iter().map(Responder::address).collect();
    let measured = meter.measure(1, standalone, async |_, _| {
        stock::close_while_gathering(&servers).await?;
        Ok(true)
    });
    measured.await
}
