//! A capture of a namespace: every frame of its interfaces, as a pcap file in memory.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::close;

use crate::Failure;
use crate::kernel::namespace::Namespace;

/// Bytes that wait in the kernel: a burst of a browser on a busy machine.
const QUEUE: usize = 16 << 20;
/// The longest frame: one that the kernel has not cut into segments yet.
const LONGEST: usize = 66_000;
/// Most bytes of a capture: several minutes of a lab without media.
const MOST: usize = 256 << 20;
/// Latest notice of the end.
const TICK_MS: i64 = 20;
/// The header of a pcap file: microseconds, whole frames, Ethernet.
const HEADER: [u32; 6] = [0xA1B2_C3D4, 0x0004_0002, 0, 0, LONGEST as u32, 1];

/// A running capture.
#[derive(Debug)]
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<u8>, Failure>>>,
}

impl Recorder {
    /// Captures what passes in `namespace` from now on.
    ///
    /// # Errors
    /// Without the privilege to capture.
    pub fn start(namespace: &Namespace) -> Result<Self, Failure> {
        let packets = namespace.inside(Packets::open)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || packets.record(&stopped));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends it. Returns the pcap file.
    ///
    /// # Errors
    /// If the capture failed, or became too long.
    pub fn finish(mut self) -> Result<Vec<u8>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("a recorder ends once")?;
        thread
            .join()
            .unwrap_or_else(|_| Err("the recorder ended in a panic".into()))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}

/// A packet socket that receives from all interfaces.
#[derive(Debug)]
struct Packets(RawFd);

impl Packets {
    fn open() -> Result<Self, Failure> {
        let packets = Self(socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )?);
        setsockopt(packets.0, RcvBufForce, &QUEUE)?;
        setsockopt(packets.0, ReceiveTimeout, &TimeVal::milliseconds(TICK_MS))?;
        Ok(packets)
    }

    fn record(&self, stop: &AtomicBool) -> Result<Vec<u8>, Failure> {
        let mut file: Vec<u8> = HEADER
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        let mut frame = vec![0; LONGEST];
        loop {
            // what waits when the end is called is part of the capture
            let ends = stop.load(Ordering::Relaxed);
            match recv(self.0, &mut frame, MsgFlags::empty()) {
                Ok(length) => write(&mut file, now(), &frame[..length])?,
                Err(Errno::EAGAIN) if ends => return Ok(file),
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        // nothing was written that could still fail
        let _ = close(self.0);
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn write(file: &mut Vec<u8>, at: Duration, frame: &[u8]) -> Result<(), Failure> {
    if file.len() + frame.len() > MOST {
        return Err("the capture became too long".into());
    }
    let length = u32::try_from(frame.len())?;
    let seconds = u32::try_from(at.as_secs())?;
    for field in [seconds, at.subsec_micros(), length, length] {
        file.extend(field.to_le_bytes());
    }
    file.extend(frame);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::UdpSocket;

    use super::{HEADER, Recorder};
    use crate::kernel::namespace::Namespace;

    #[test]
    fn a_datagram_is_in_the_capture_of_its_namespace_and_in_no_other() {
        if let Some(reason) = common::needs::lab() {
            // past the capture of the test harness; nothing is left to do if even that fails
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return;
        }
        let (here, elsewhere) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        let recorders = [&here, &elsewhere].map(|at| Recorder::start(at).unwrap());
        here.inside(|| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            Ok(socket.send_to(b"a datagram", socket.local_addr()?)?)
        })
        .unwrap();
        let [here, elsewhere] = recorders.map(|recorder| recorder.finish().unwrap());
        assert!(here.windows(10).any(|bytes| bytes == b"a datagram"));
        assert_eq!(elsewhere.len(), size_of_val(&HEADER));
    }
}
