//! A signalling service, as an application embeds it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use consumer_fsm::signalling::Switchboard;
use consumer_fsm::signalling::http::SignallingService;
use tokio_util::sync::CancellationToken;

use super::Counts;
use crate::Failure;

pub(super) async fn run(
    listen: SocketAddr,
    counts: &Counts,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let _service = SignallingService::bind(listen, Switchboard::default()).await?;
    counts.up.store(1, Ordering::Relaxed);
    cancel.cancelled().await;
    Ok(())
}
