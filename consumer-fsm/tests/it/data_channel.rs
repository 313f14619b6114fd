//! The data channel with both sides ours: what it carries, what it refuses, and what a broken peer comes to.

use std::time::{Duration, Instant};

use consumer_fsm::SessionDescription;
use consumer_fsm::transport::{
    DataChannel, DataChannelPath, DataChannelSession, Path, Session, Transport, TransportError,
};
use ice_gather::{Gathering, Role};

use crate::stage::transport;

const PATIENCE: Duration = Duration::from_secs(10);

async fn session(role: Role) -> (DataChannelSession, Gathering) {
    let session = DataChannel::new(transport()).open(role).await.unwrap();
    let gathering = session.gather(&[]).await;
    (session, gathering)
}

/// Two sessions, each with what the other one says; `change` sees the offer and the answer on their way.
async fn meet(
    deadline: Duration,
    change: impl Fn(String) -> String,
) -> (
    (DataChannelSession, Result<DataChannelPath, TransportError>),
    (DataChannelSession, Result<DataChannelPath, TransportError>),
) {
    let ((mut ours, our_side), (mut theirs, their_side)) =
        tokio::join!(session(Role::Controlling), session(Role::Controlled));
    let offer = SessionDescription::parse(&change(ours.describe(None, &our_side.candidates))).unwrap();
    let answer = SessionDescription::parse(&change(theirs.describe(Some(&offer), &their_side.candidates))).unwrap();
    let (our_path, their_path) = tokio::join!(ours.connect(answer, deadline), theirs.connect(offer, deadline));
    ((ours, our_path), (theirs, their_path))
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_both_ways() {
    let ((ours, our_path), (theirs, their_path)) = meet(PATIENCE, |sdp| sdp).await;
    let (our_path, their_path) = (our_path.unwrap(), their_path.unwrap());
    let mut buffer = [0; 2000];
    for length in [0, 1, 100, 1191, 1500] {
        let datagram = vec![0x17; length];
        assert!(our_path.send(&datagram).await);
        assert_eq!(their_path.recv(&mut buffer).await, Some(length));
        assert_eq!(&buffer[..length], &datagram);
        assert!(their_path.send(&datagram).await);
        assert_eq!(our_path.recv(&mut buffer).await, Some(length));
        assert_eq!(&buffer[..length], &datagram);
    }
    let started = Instant::now();
    ours.close().await;
    assert_eq!(their_path.recv(&mut buffer).await, None, "the peer learns of the end");
    assert_eq!(our_path.recv(&mut buffer).await, None);
    assert!(!our_path.send(b"late").await);
    theirs.close().await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
