//! A path between two peers with a censor on it, and the datagrams that censors drop.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Whether a datagram is dropped; the first argument is true on the way from the offerer.
pub(crate) type Censor = fn(bool, &[u8]) -> bool;

pub(crate) fn nothing(_: bool, _: &[u8]) -> bool {
    false
}

pub(crate) fn hellos(_: bool, datagram: &[u8]) -> bool {
    matches!(datagram, [22, ..]) && datagram.get(13) == Some(&1)
}

pub(crate) fn dtls(_: bool, datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

/// Two sockets between two peers: each peer knows the other one by the socket that faces it.
pub(crate) struct Between {
    pub(crate) faces_offerer: SocketAddr,
    pub(crate) faces_answerer: SocketAddr,
    censor: Arc<Mutex<Censor>>,
    task: JoinHandle<()>,
}

impl Between {
    pub(crate) async fn bind(ip: IpAddr, censor: Censor) -> Self {
        let (left, right) = (
            UdpSocket::bind((ip, 0)).await,
            UdpSocket::bind((ip, 0)).await,
        );
        let (left, right) = (left.unwrap(), right.unwrap());
        let censor = Arc::new(Mutex::new(censor));
        let (faces_offerer, faces_answerer) =
            (left.local_addr().unwrap(), right.local_addr().unwrap());
        let rules = Arc::clone(&censor);
        let task = tokio::spawn(async move {
            let (mut first, mut second) = (None, None);
            let (mut out, mut back) = ([0; 2_000], [0; 2_000]);
            loop {
                let (is_out, received) = tokio::select! {
                    received = left.recv_from(&mut out) => (true, received),
                    received = right.recv_from(&mut back) => (false, received),
                };
                let Ok((length, source)) = received else {
                    continue;
                };
                let (known, to, from) = if is_out {
                    (&mut first, second, &right)
                } else {
                    (&mut second, first, &left)
                };
                *known = Some(source);
                let datagram = if is_out {
                    &out[..length]
                } else {
                    &back[..length]
                };
                let censor = *rules.lock().unwrap();
                if let Some(to) = to.filter(|_| !censor(is_out, datagram)) {
                    let _ = from.send_to(datagram, to).await;
                }
            }
        });
        Self {
            faces_offerer,
            faces_answerer,
            censor,
            task,
        }
    }

    pub(crate) fn censor(&self, censor: Censor) {
        *self.censor.lock().unwrap() = censor;
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A description of a session with this address in the place of its candidates of the same family. Candidates
/// of the other family are left out.
pub(crate) fn by_way_of(sdp: &str, address: SocketAddr) -> String {
    let lines = sdp.lines().filter_map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if !line.starts_with("a=candidate:") {
            return Some(format!("{line}\r\n"));
        }
        let ip: IpAddr = words.get(4)?.parse().ok()?;
        if ip.is_ipv4() != address.is_ipv4() {
            return None;
        }
        words[4] = address.ip().to_string();
        words[5] = address.port().to_string();
        Some(format!("{}\r\n", words.join(" ")))
    });
    lines.collect()
}
