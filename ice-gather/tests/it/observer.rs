//! An observer beside the gatherer: from the same datagrams the same evidence.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ice_gather::responder::{Manner, Responder};
use ice_gather::{Base, DatagramCarrier, GatherConfig, Policy, StunServer};
use nat_summary::observer::Observer;
use nat_summary::{Observation, Outcome, ServerId};
use tokio::net::UdpSocket;

/// A socket whose datagrams an observer sees.
struct Tapped {
    socket: UdpSocket,
    start: Instant,
    observer: Mutex<Box<Observer>>,
}

impl DatagramCarrier for Tapped {
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (length, source) = self.socket.recv_from(buffer).await?;
        let local = self.socket.local_addr()?;
        let mut observer = self.observer.lock().unwrap();
        observer.received(self.start.elapsed(), local, source, &buffer[..length]);
        Ok((length, source))
    }

    async fn send_to(&self, datagram: &[u8], target: SocketAddr) -> io::Result<usize> {
        let local = self.socket.local_addr()?;
        self.observer
            .lock()
            .unwrap()
            .sent(self.start.elapsed(), local, target, datagram);
        self.socket.send_to(datagram, target).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[tokio::test]
async fn an_observer_sees_what_the_gatherer_sees() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tapped = Arc::new(Tapped {
        socket,
        start: Instant::now(),
        observer: Mutex::default(),
    });
    let base = Base::from_carrier(tapped.clone()).unwrap();
    let honest = Responder::cohort(3, 0).await.unwrap();
    let silent = Responder::bind_with("127.0.0.77:0", Manner::Silent)
        .await
        .unwrap();
    let servers: Vec<StunServer> = honest
        .iter()
        .chain([&silent])
        .map(Responder::server)
        .collect();
    let config = GatherConfig::default().with_policy(Policy::All);
    let gathering = base.gather(&servers, &config).await;

    let mut observer = tapped.observer.lock().unwrap();
    observer.advance(tapped.start.elapsed());
    let (seen, gathered) = (observer.evidence(), &gathering.evidence);
    assert_eq!(seen.servers(), gathered.servers());
    assert_eq!(seen.locals(), gathered.locals());
    let of = |observations: &mut dyn Iterator<Item = Observation>| {
        observations
            .map(|o| (o.base, o.server, o.mapped))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&mut seen.observations()),
        of(&mut gathered.observations())
    );
    assert_eq!(seen.observations().len(), 3);
    assert_eq!(seen.summary(), gathered.summary());
    let silent = ServerId::from(silent.address());
    assert!(seen.servers().contains(&(silent, Outcome::TimedOut)));

    let sent: u32 = observer.servers().map(|server| server.sends).sum();
    assert_eq!(sent, gathering.packets_sent);
    for (server, report) in observer.servers().zip(&gathering.servers) {
        let theirs = gathering
            .servers
            .iter()
            .find(|report| report.server == StunServer::Address(server.server));
        let theirs = theirs.unwrap_or(report);
        assert_eq!(
            (server.outcome, server.mapped, server.sends),
            (theirs.outcome, theirs.mapped, u32::from(theirs.sends))
        );
        let within = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_millis(50);
        let both = server.round_trip.zip(theirs.round_trip);
        assert!(both.is_none_or(|(a, b)| within(a, b)));
    }
}
