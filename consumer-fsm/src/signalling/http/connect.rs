//! A connection to the address of a name that accepts first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Time after which the next address is tried as well, if an address has not answered (RFC 8305
/// section 5).
const DELAY: Duration = Duration::from_millis(250);

/// A connection to this host and port.
pub(super) async fn to(authority: &str) -> io::Result<TcpStream> {
    let (host, port) = authority
        .rsplit_once(':')
        .ok_or(io::ErrorKind::InvalidInput)?;
    let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    // an IPv6 address stands in brackets in a URL
    let host = host.trim_start_matches('[').trim_end_matches(']');
    first(alternating(ice_gather::lookup(host, port).await)).await
}

/// Orders addresses so that IPv4 and IPv6 take turns, the resolver's first family first, because
/// all addresses of one family may be dead (RFC 8305 section 4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (favourite, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == is_v6);
    let mut turns: Vec<_> = favourite
        .into_iter()
        .enumerate()
        .chain(other.into_iter().enumerate())
        .collect();
    // The sort is stable, so the first family stays first within a turn.
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, address)| address).collect()
}

/// Connects to the first address that accepts, and closes the other connections. A connection to the
/// next address begins once the one before has failed, or has not been accepted for [`DELAY`].
async fn first(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    // dropped at the end of this function, which ends every other try
    let mut tries = JoinSet::new();
    let mut failure = io::ErrorKind::NotFound.into();
    loop {
        if let Some(address) = left.next() {
            tries.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            tried = tries.join_next() => match tried {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(_)) => {}
                None => return Err(failure),
            },
            () = tokio::time::sleep(DELAY), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::runtime::Handle;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// An address that never answers a connection: its listener's queue is full, so the kernel
    /// drops further requests.
    async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(connected) =
            timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            queue.push(connected.unwrap());
            assert!(queue.len() < 100, "it takes everybody");
        }
        (address, listener, queue)
    }

    async fn live() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    #[tokio::test]
    async fn a_silent_address_hides_no_live_one_and_is_given_up() {
        let ((hole, _listener, _queue), (there, _live)) = (black_hole().await, live().await);
        let alive = Handle::current().metrics().num_alive_tasks();
        let started = Instant::now();
        let stream = first(vec![hole, there]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        assert!(
            (DELAY..4 * DELAY).contains(&started.elapsed()),
            "{:?}",
            started.elapsed()
        );
        for _ in 0..100 {
            if Handle::current().metrics().num_alive_tasks() == alive {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("something goes on");
    }

    #[tokio::test]
    async fn a_host_is_found_by_its_name_and_by_its_address() {
        let (there, _live) = live().await;
        for host in ["localhost", "127.0.0.1"] {
            let stream = to(&format!("{host}:{}", there.port())).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), there, "{host}");
        }
        // where the host has IPv6
        if let Ok(live) = TcpListener::bind("[::1]:0").await {
            let there = live.local_addr().unwrap();
            assert_eq!(
                to(&there.to_string()).await.unwrap().peer_addr().unwrap(),
                there
            );
        }
        for nowhere in ["localhost", "localhost:", "localhost:65536"] {
            let kind = to(nowhere).await.map_err(|error| error.kind()).err();
            assert_eq!(kind, Some(io::ErrorKind::InvalidInput), "{nowhere}");
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_nobody_wait_and_the_last_one_is_waited_for() {
        let (there, _live) = live().await;
        let nobody = live().await.0;
        let started = Instant::now();
        assert_eq!(
            first(vec![nobody, there])
                .await
                .unwrap()
                .peer_addr()
                .unwrap(),
            there
        );
        assert!(started.elapsed() < DELAY, "{:?}", started.elapsed());
        let refused = first(vec![nobody, nobody])
            .await
            .map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(
            first(Vec::new()).await.map_err(|error| error.kind()).err(),
            Some(io::ErrorKind::NotFound)
        );
        let (hole, _listener, _queue) = black_hole().await;
        assert!(
            timeout(3 * DELAY, first(vec![hole])).await.is_err(),
            "it may yet answer"
        );
    }

    #[test]
    fn the_families_take_turns_and_within_one_the_order_stays() {
        let addresses = |of: &[&str]| {
            of.iter()
                .map(|address| address.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        let told = [
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "[2001:db8::3]:1",
            "192.0.2.1:1",
            "192.0.2.2:1",
        ];
        let taken = [
            "[2001:db8::1]:1",
            "192.0.2.1:1",
            "[2001:db8::2]:1",
            "192.0.2.2:1",
            "[2001:db8::3]:1",
        ];
        assert_eq!(alternating(addresses(&told)), addresses(&taken));
        assert_eq!(alternating(addresses(&told[3..])), addresses(&told[3..]));
        assert!(alternating(Vec::new()).is_empty());
    }
}
