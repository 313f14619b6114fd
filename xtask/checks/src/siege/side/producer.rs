//! A producer that sends everything back, to one consumer after the other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use consumer_fsm::Producer;
use consumer_fsm::signalling::http::HttpSignalling;
use consumer_fsm::transport::Transport;
use tokio_util::sync::CancellationToken;

use super::Counts;
use crate::Failure;

/// Pause behind an attempt that failed.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for a consumer that has all it needs to connect.
const CONNECTED: Duration = Duration::from_secs(6);

pub(super) async fn run<T: Transport>(
    transport: T,
    url: &str,
    counts: &Counts,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let producer = Producer::new(HttpSignalling::new(url)?, transport, Vec::new())
        .with_connect_timeout(CONNECTED);
    while !cancel.is_cancelled() {
        let served = tokio::select! {
            () = cancel.cancelled() => break,
            served = producer.serve() => served,
        };
        match served {
            Ok(served) => {
                counts.up.store(1, Ordering::Relaxed);
                let echoed = served.echo(cancel).await;
                counts.up.store(0, Ordering::Relaxed);
                counts.echoed.fetch_add(echoed, Ordering::Relaxed);
            }
            Err(error) => {
                counts.ended(error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}
