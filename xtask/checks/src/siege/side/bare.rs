//! The measure of CPU: a blocking socket whose datagrams are received and discarded.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use tokio_util::sync::CancellationToken;

use super::Counts;
use crate::Failure;

/// Longest datagram.
const LONGEST: usize = 65_536;

pub(super) async fn run(
    local: SocketAddrV4,
    counts: &Arc<Counts>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let socket = UdpSocket::bind(local)?;
    counts.up.store(1, Ordering::Relaxed);
    let counts = Arc::clone(counts);
    // ends with the process
    thread::spawn(move || {
        let mut buffer = vec![0; LONGEST];
        while socket.recv_from(&mut buffer).is_ok() {
            counts.sent.fetch_add(1, Ordering::Relaxed);
        }
    });
    cancel.cancelled().await;
    Ok(())
}
