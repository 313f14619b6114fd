//! Datagrams per second through a socket of webrtc 0.21's runtime, with the tap and without, in turns.
//! The ratio is reported and fails nothing.

use std::io::IoSliceMut;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ice_gather::tap::Tap;
use webrtc::runtime::{RecvMeta, Runtime, Transmit, default_runtime};
use webrtc_021::Failure;

/// Datagrams of a round, each received before the next is sent: no queue overflows.
const ROUND: u32 = 20_000;
const ROUNDS: usize = 15;
/// Length of a datagram: what QUIC would send.
const LENGTH: usize = 1_200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let plain = default_runtime().ok_or("no runtime")?;
    let tap: Arc<dyn Runtime> = Tap::new(Arc::clone(&plain));
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        // each comes first in half of the rounds
        let (without, with) = if round % 2 == 0 {
            let without = take(&*plain).await?;
            (without, take(&*tap).await?)
        } else {
            let with = take(&*tap).await?;
            (take(&*plain).await?, with)
        };
        ratios.push(without.as_secs_f64() / with.as_secs_f64());
        eprintln!("round {round}: {:.3}", ratios[round]);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "datagrams per second with the tap, as a share of those without: {:.3} (median of {ROUNDS}, {:.3} to {:.3})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
    Ok(())
}

/// The time of a round.
async fn take(runtime: &dyn Runtime) -> Result<Duration, Failure> {
    let bind = || runtime.wrap_udp_socket(std::net::UdpSocket::bind("127.0.0.1:0")?);
    let (sender, receiver) = (bind()?, bind()?);
    let destination = receiver.local_addr()?;
    let contents = [0x80; LENGTH];
    let transmit = Transmit {
        destination,
        ecn: None,
        contents: &contents,
        segment_size: None,
        src_ip: None,
    };
    let mut buffer = vec![0; 65_535];
    let start = Instant::now();
    for _ in 0..ROUND {
        std::future::poll_fn(|cx| sender.poll_send(cx, &transmit)).await?;
        let mut bufs = [IoSliceMut::new(&mut buffer)];
        let mut meta = [RecvMeta::default()];
        std::future::poll_fn(|cx| receiver.poll_recv(cx, &mut bufs, &mut meta)).await?;
    }
    Ok(start.elapsed())
}
