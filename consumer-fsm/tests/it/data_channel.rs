//! The data channel between two sides of ours: delivery, refusals, and broken peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consumer_fsm::transport::{ChannelEnd, DiscardedDatagrams, TransportError};
use consumer_fsm::transport::{
    DataChannel, DataChannelPath, DataChannelSession, DtlsVersion, IceTransport, Path, Session,
    Transport,
};
use consumer_fsm::{ChannelDescription, Fingerprint, SessionDescription, Setup};
use ice_gather::{AgentConfig, Base, BindConfig, IceAgent, Role};
use nat_summary::stage::{DtlsRole, HandshakeMessage, RefusedBy, Stage, StageVerdict};

use crate::faulty::{self, Silence};
use crate::stage::transport;

const PATIENCE: Duration = Duration::from_secs(10);
/// Wait for an event that must not come.
const SHORT: Duration = Duration::from_millis(1500);

/// One side, and how its attempt to connect ended.
struct Side {
    session: DataChannelSession,
    path: Result<DataChannelPath, TransportError>,
}

/// Connects a consumer's session and a producer's. `answered` may change the answer on the way.
async fn meet(
    consumer: IceTransport,
    producer: IceTransport,
    deadline: Duration,
    answered: impl Fn(String) -> String,
) -> (Side, Side) {
    let sides = (DataChannel::new(consumer), DataChannel::new(producer));
    meet_over(sides, deadline, answered).await
}

async fn meet_over(
    (ours, theirs): (DataChannel, DataChannel),
    deadline: Duration,
    answered: impl Fn(String) -> String,
) -> (Side, Side) {
    let (mut ours, mut theirs) = (
        ours.open(Role::Controlling).await.unwrap(),
        theirs.open(Role::Controlled).await.unwrap(),
    );
    let (our_side, their_side) = (ours.gather(&[]).await, theirs.gather(&[]).await);
    let offer = ours.describe(None, &our_side.candidates);
    assert!(offer.contains("a=setup:actpass\r\n"), "{offer}");
    let offer = SessionDescription::parse(&offer).unwrap();
    let answer = theirs.describe(Some(&offer), &their_side.candidates);
    let answer = SessionDescription::parse(&answered(answer)).unwrap();
    let (our_path, their_path) = tokio::join!(
        ours.connect(answer, deadline),
        theirs.connect(offer, deadline)
    );
    (
        Side {
            session: ours,
            path: our_path,
        },
        Side {
            session: theirs,
            path: their_path,
        },
    )
}

async fn connected() -> (Side, Side) {
    meet(transport(), transport(), PATIENCE, |sdp| sdp).await
}

fn unchanged(sdp: String) -> String {
    sdp
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_go_both_ways() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    let mut buffer = [0; 8192];
    for length in [0, 1, 100, 1191, 1500, 8192] {
        let datagram = vec![0x17; length];
        assert!(our_path.send(&datagram).await);
        assert_eq!(their_path.recv(&mut buffer).await, Some(length));
        assert_eq!(&buffer[..length], &datagram);
        assert!(their_path.send(&datagram).await);
        assert_eq!(our_path.recv(&mut buffer).await, Some(length));
        assert_eq!(&buffer[..length], &datagram);
    }
    assert_eq!(our_path.discarded(), DiscardedDatagrams::default());
    let started = Instant::now();
    ours.session.close().await;
    assert_eq!(
        their_path.recv(&mut buffer).await,
        None,
        "the peer learns of the end"
    );
    assert_eq!(our_path.recv(&mut buffer).await, None);
    assert!(!our_path.send(b"late").await);
    theirs.session.close().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_without_dtls_13_makes_a_path_in_either_role() {
    let of = |newest| DataChannel::new(transport()).with_newest_dtls(newest);
    let (old, new) = (DtlsVersion::Dtls12, DtlsVersion::Dtls13);
    for (ours, theirs) in [(old, old), (old, new), (new, old)] {
        let (ours, theirs) = meet_over((of(ours), of(theirs)), PATIENCE, unchanged).await;
        let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
        let mut buffer = [0; 10];
        for (from, to) in [(&our_path, &their_path), (&their_path, &our_path)] {
            assert!(from.send(b"through").await);
            let received = tokio::time::timeout(PATIENCE, to.recv(&mut buffer)).await;
            assert_eq!(received.unwrap(), Some(7));
            assert_eq!(from.view().dtls.version, Some(old));
        }
        ours.session.close().await;
        theirs.session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_that_come_alone_wait_for_no_acknowledgement() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    let mut buffer = [0; 8192];
    let mut took = Vec::new();
    for length in [1, 1, 1, 3000, 3000] {
        let sent = Instant::now();
        assert!(our_path.send(&vec![7; length]).await);
        assert_eq!(their_path.recv(&mut buffer).await, Some(length));
        took.push(sent.elapsed());
        // an acknowledgement later than a second would shrink the window to one packet, and the
        // long messages take three
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert!(
        took.iter().all(|took| *took < Duration::from_millis(180)),
        "{took:?}"
    );
    ours.session.close().await;
    theirs.session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_session_ends_the_path_on_both_sides() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    drop(theirs.session);
    let mut buffer = [0; 10];
    let ends = async {
        (
            our_path.recv(&mut buffer).await,
            their_path.recv(&mut [0; 10]).await,
        )
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE, ends).await.unwrap(),
        (None, None)
    );
    ours.session.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_side_the_description_names_opens_dtls() {
    // a consumer whose producer wants to be the server
    let passive = |sdp: String| sdp.replace("a=setup:active", "a=setup:passive");
    let (ours, _theirs) = meet(
        transport(),
        faulty::network(Silence::DtlsAfter(0)),
        SHORT,
        passive,
    )
    .await;
    assert_eq!(
        ours.path.unwrap_err(),
        TransportError::Dtls,
        "nobody there to answer the first flight"
    );

    let undecided = |sdp: String| sdp.replace("a=setup:active", "a=setup:actpass");
    let (ours, _theirs) = meet(transport(), transport(), SHORT, undecided).await;
    assert_eq!(
        ours.path.unwrap_err(),
        TransportError::NoChannel,
        "an answer has to choose"
    );

    // a producer whose consumer wants to be the client, and then the server
    let theirs = DataChannel::new(transport())
        .open(Role::Controlled)
        .await
        .unwrap();
    for (offered, answered) in [
        (Setup::Active, "passive"),
        (Setup::Passive, "active"),
        (Setup::ActPass, "active"),
    ] {
        let channel = ChannelDescription::new(Fingerprint([0; 32]), offered, 0);
        let offer = SessionDescription::write(theirs.credentials(), Some(&channel), &[]);
        let answer = theirs.describe(SessionDescription::parse(&offer).ok().as_ref(), &[]);
        assert!(
            answer.contains(&format!("a=setup:{answered}\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_than_the_announced_one_is_refused() {
    let forged = |sdp: String| {
        let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
        let other = if sdp[at..].starts_with("00") {
            "01"
        } else {
            "00"
        };
        format!("{}{other}{}", &sdp[..at], &sdp[at + 2..])
    };
    let started = Instant::now();
    let (ours, theirs) = meet(transport(), transport(), PATIENCE, forged).await;
    assert_eq!(ours.path.unwrap_err(), TransportError::Fingerprint);
    assert_eq!(
        theirs.path.unwrap_err(),
        TransportError::Dtls,
        "told by an alert"
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "at once, and not at the deadline: {:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_offer_is_refused_by_the_dtls_client_as_well() {
    let (ours, theirs) = (DataChannel::new(transport()), DataChannel::new(transport()));
    let (mut ours, mut theirs) = (
        ours.open(Role::Controlling).await.unwrap(),
        theirs.open(Role::Controlled).await.unwrap(),
    );
    let (our_side, their_side) = (ours.gather(&[]).await, theirs.gather(&[]).await);
    let mut offer = SessionDescription::parse(&ours.describe(None, &our_side.candidates)).unwrap();
    let answer =
        SessionDescription::parse(&theirs.describe(Some(&offer), &their_side.candidates)).unwrap();
    offer.channel.as_mut().unwrap().fingerprints = vec![Fingerprint([1; 32]), Fingerprint([2; 32])];
    let (our_path, their_path) = tokio::join!(
        ours.connect(answer, PATIENCE),
        theirs.connect(offer, PATIENCE)
    );
    assert_eq!(their_path.unwrap_err(), TransportError::Fingerprint);
    assert_eq!(our_path.unwrap_err(), TransportError::Dtls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_without_a_certificate_is_unusable() {
    let bare = |sdp: String| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1");
    let (ours, _theirs) = meet(transport(), transport(), SHORT, bare).await;
    assert_eq!(ours.path.unwrap_err(), TransportError::NoChannel);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stops_half_way_ends_at_the_deadline_wherever_it_stops() {
    // the hello, and then the flight that ends DTLS 1.3; later datagrams belong to the channel
    for (said, why) in [
        (0, TransportError::Dtls),
        (1, TransportError::Dtls),
        (2, TransportError::Channel),
    ] {
        let started = Instant::now();
        let (ours, theirs) = meet(
            transport(),
            faulty::network(Silence::DtlsAfter(said)),
            SHORT,
            unchanged,
        )
        .await;
        assert_eq!(ours.path.unwrap_err(), why, "after {said} datagrams");
        assert!(theirs.path.is_err());
        assert!(
            (SHORT..SHORT * 3).contains(&started.elapsed()),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sctp_that_never_comes_is_no_channel() {
    let (ours, _theirs) = meet(
        transport(),
        faulty::network(Silence::Sctp),
        SHORT,
        unchanged,
    )
    .await;
    assert_eq!(ours.path.unwrap_err(), TransportError::Channel);
    let (_ours, theirs) = meet(
        faulty::network(Silence::Sctp),
        transport(),
        SHORT,
        unchanged,
    )
    .await;
    assert_eq!(theirs.path.unwrap_err(), TransportError::Channel);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_outlives_lost_flights() {
    let (ours, theirs) = meet(
        transport(),
        faulty::network(Silence::OneIn(3)),
        PATIENCE,
        unchanged,
    )
    .await;
    let (our_path, _their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    assert!(our_path.send(b"through").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_the_address_of_the_peer_neither_ends_nor_disturbs_it() {
    // either side of DTLS
    for from_consumer in [false, true] {
        let (consumer, producer) = match from_consumer {
            true => (faulty::network(Silence::Never), transport()),
            false => (transport(), faulty::network(Silence::Never)),
        };
        let (ours, theirs) = meet(consumer, producer, PATIENCE, unchanged).await;
        let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
        let mut heard = 0;
        for n in 0..50 {
            for (from, to) in [(&our_path, &their_path), (&their_path, &our_path)] {
                assert!(from.send(&[n; 1000]).await);
                let mut buffer = [0; 1500];
                let received = tokio::time::timeout(SHORT / 5, to.recv(&mut buffer));
                heard += u32::from(received.await == Ok(Some(1000)));
            }
        }
        // the stranger's datagrams fill the socket as well, and the channel repeats none
        assert!(heard >= 90, "{heard} of 100");
        let (view, attacked) = match from_consumer {
            true => (our_path.view(), their_path.view()),
            false => (their_path.view(), our_path.view()),
        };
        assert_eq!((view.refused, view.end, attacked.end), (0, None, None));
        assert!(attacked.refused > 1000, "{attacked:?}");
        let stranger = attacked.dtls;
        assert!(
            stranger.plaintext_alerts > 0 && stranger.restarts == 0,
            "{stranger:?}"
        );
        ours.session.close().await;
        theirs.session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_lose_datagrams_and_neither_order_nor_room() {
    const DATAGRAMS: u32 = 600;
    let (ours, theirs) = meet(
        transport(),
        faulty::network(Silence::OneIn(5)),
        PATIENCE,
        unchanged,
    )
    .await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    let mut buffer = [0; 1500];
    // the producer's acknowledgement of the channel has to be in, before it neither orders nor
    // retransmits
    their_path.send(b"first").await;
    let _ = tokio::time::timeout(SHORT, our_path.recv(&mut buffer)).await;
    let mut heard = 0;
    for _ in 0..DATAGRAMS {
        assert!(
            their_path.send(&[0x55; 1000]).await,
            "no room after {heard}: {their_path:?}"
        );
        // acknowledgements are lost as well, so unacknowledged messages have to be abandoned,
        // because they would fill the window
        while let Ok(Some(_)) =
            tokio::time::timeout(Duration::from_millis(3), our_path.recv(&mut buffer)).await
        {
            heard += 1;
        }
    }
    while let Ok(Some(_)) = tokio::time::timeout(SHORT, our_path.recv(&mut buffer)).await {
        heard += 1;
    }
    assert!(
        (DATAGRAMS / 2..DATAGRAMS).contains(&heard),
        "{heard} of {DATAGRAMS}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_dropped_and_counted_and_the_channel_lives() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    assert!(
        !our_path.send(&[1; 8193]).await,
        "longer than the peer takes"
    );
    assert!(our_path.send(&[2; 100]).await);
    assert!(our_path.send(&[3; 10]).await);
    let mut small = [0; 50];
    let is_passed_over = async {
        loop {
            assert_eq!(
                their_path.recv(&mut small).await,
                Some(10),
                "the long one is passed over"
            );
            if their_path.discarded().too_long > 0 {
                break;
            }
            // the channel is unordered, so the short one may have overtaken the long one
            assert!(our_path.send(&[3; 10]).await);
        }
    };
    tokio::time::timeout(PATIENCE, is_passed_over)
        .await
        .unwrap();
    assert_eq!(
        (
            our_path.discarded().too_long,
            their_path.discarded().too_long
        ),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_never_waits_for_a_peer_that_does_not_read() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    let started = Instant::now();
    let mut taken = 0;
    for _ in 0..4000 {
        taken += u64::from(our_path.send(&[4; 1000]).await);
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let full = our_path.discarded().full;
    assert_eq!(taken + full, 4000);
    assert!(full > 0, "the peer takes a megabyte at most");
    // and it can still be read
    let mut buffer = [0; 1500];
    assert_eq!(
        tokio::time::timeout(PATIENCE, their_path.recv(&mut buffer))
            .await
            .unwrap(),
        Some(1000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hides_its_addresses_is_found_by_its_own_checks() {
    // as Chromium does: every candidate of the answer is a name that does not resolve
    let hidden = |sdp: String| {
        let line = |line: &str| match line.strip_prefix("a=candidate:") {
            Some(candidate) => {
                let mut words: Vec<&str> = candidate.split(' ').collect();
                words[4] = "0a1b2c3d-0000-4000-8000-000000000000.local";
                format!("a=candidate:{}\r\n", words.join(" "))
            }
            None => format!("{line}\r\n"),
        };
        let hidden: String = sdp.lines().map(line).collect();
        let read = SessionDescription::parse(&hidden).unwrap();
        assert!(read.candidates.is_empty() && read.unusable > 0, "{hidden}");
        hidden
    };
    let (ours, theirs) = meet(transport(), transport(), PATIENCE, hidden).await;
    assert!(ours.path.is_ok() && theirs.path.is_ok());
    let (_, remote) = ours.session.selected_pair().unwrap();
    assert_eq!(remote, nat_summary::CandidateKind::PeerReflexive);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_may_be_given_up_at_any_moment() {
    for ms in [0, 1, 2, 4, 8, 16, 32] {
        let meeting = meet(transport(), transport(), PATIENCE, unchanged);
        // whatever there was goes: the session's own task sees to it
        let _ = tokio::time::timeout(Duration::from_millis(ms), meeting).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_dies_before_the_channel_is_up_is_no_fault_of_dtls() {
    // a busy machine pairs within twice the silence
    let silence = Duration::from_secs(1);
    let agent = AgentConfig::default()
        .with_check_interval(Duration::from_millis(10))
        .with_keepalive_interval(Duration::from_millis(40))
        .with_disconnected_timeout(silence)
        .with_failed_timeout(silence);
    let ours = DataChannel::new(transport().with_agent_config(agent));
    // it connects, and says nothing more
    let theirs = DataChannel::new(faulty::network(Silence::DtlsAfter(0)));
    let (mut ours, mut theirs) = (
        ours.open(Role::Controlling).await.unwrap(),
        theirs.open(Role::Controlled).await.unwrap(),
    );
    let (our_side, their_side) = (ours.gather(&[]).await, theirs.gather(&[]).await);
    let offer = SessionDescription::parse(&ours.describe(None, &our_side.candidates)).unwrap();
    let answer = theirs.describe(Some(&offer), &their_side.candidates);
    let answer = SessionDescription::parse(&answer).unwrap();
    let gone = async move {
        let _ = tokio::time::timeout(2 * silence, theirs.connect(offer, PATIENCE)).await;
        drop(theirs);
    };
    let started = Instant::now();
    let (path, ()) = tokio::join!(ours.connect(answer, PATIENCE), gone);
    assert_eq!(path.unwrap_err(), TransportError::Failed);
    assert_eq!(ours.view().unwrap().end, Some(ChannelEnd::Path));
    assert!(started.elapsed() < PATIENCE, "at once, and not in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connect_is_refused() {
    let (mut ours, _theirs) = connected().await;
    let channel = ChannelDescription::new(Fingerprint([0; 32]), Setup::Active, 0);
    let base = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap();
    let agent = IceAgent::new(&base, Role::Controlled, AgentConfig::default())
        .await
        .unwrap();
    let sdp = SessionDescription::write(agent.credentials(), Some(&channel), &[]);
    let again = ours
        .session
        .connect(SessionDescription::parse(&sdp).unwrap(), SHORT)
        .await;
    assert_eq!(again.unwrap_err(), TransportError::Failed);
    let path = ours.path.unwrap();
    assert!(path.send(b"the first one lives on").await);
    let _ = Arc::new(path);
}

/// The checks of the pair pass all the while: each layer that falls silent has its verdict.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_falls_silent_has_its_verdict_with_its_proof() {
    const WAIT: Duration = Duration::from_secs(5);
    let passive = |sdp: String| sdp.replace("a=setup:active", "a=setup:passive");
    let stage_of = |silence: Silence, is_client: bool| async move {
        let answer = move |sdp: String| if is_client { passive(sdp) } else { sdp };
        let (ours, _theirs) = meet(transport(), faulty::network(silence), WAIT, answer).await;
        assert!(ours.path.is_err());
        ours.session.stage().unwrap()
    };
    let (never, unanswered, stalled, silent) = tokio::join!(
        stage_of(Silence::DtlsAfter(0), false),
        stage_of(Silence::DtlsAfter(0), true),
        stage_of(Silence::DtlsAfter(1), false),
        stage_of(Silence::Sctp, false),
    );
    let verdicts =
        [never, unanswered, stalled, silent].map(|report| (report.verdict, report.stage));
    assert_eq!(
        verdicts,
        [
            (StageVerdict::HelloNeverCame, Stage::Paired),
            (StageVerdict::HelloUnanswered, Stage::Hello),
            (StageVerdict::HandshakeStalled, Stage::Handshake),
            (StageVerdict::ChannelUnanswered, Stage::Secured),
        ],
        "{never:?} {unanswered:?} {stalled:?} {silent:?}"
    );
    assert_eq!(
        (never.role, unanswered.role),
        (DtlsRole::Server, DtlsRole::Client)
    );
    assert!(unanswered.flights >= 3, "{unanswered:?}");
    assert_eq!(stalled.last_in, HandshakeMessage::ClientHello);
    for report in [never, unanswered, stalled, silent] {
        assert!(
            report.answers >= 3 && report.answers <= report.asked,
            "{report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_channel_has_no_verdict_and_the_end_of_the_peer_is_one() {
    let (ours, theirs) = connected().await;
    let (our_path, their_path) = (ours.path.unwrap(), theirs.path.unwrap());
    assert!(our_path.send(b"there").await);
    assert!(their_path.recv(&mut [0; 10]).await.is_some());
    let open = ours.session.stage().unwrap();
    assert_eq!(
        (open.stage, open.verdict),
        (Stage::Open, StageVerdict::Unknown),
        "{open:?}"
    );
    drop((theirs.session, their_path));
    assert_eq!(our_path.recv(&mut [0; 10]).await, None);
    let closed = Path::stage(&our_path).unwrap();
    assert_eq!(closed.verdict, StageVerdict::ClosedByPeer, "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_not_announced_is_a_refusal_of_this_side() {
    let forged = |sdp: String| {
        let name = "a=fingerprint:sha-256 ";
        let at = sdp.find(name).unwrap() + name.len();
        let other = if sdp[at..].starts_with("00") {
            "01"
        } else {
            "00"
        };
        format!("{}{other}{}", &sdp[..at], &sdp[at + 2..])
    };
    let (ours, _theirs) = meet(transport(), transport(), PATIENCE, forged).await;
    let report = ours.session.stage().unwrap();
    assert_eq!(
        (report.verdict, report.refused_by),
        (StageVerdict::HandshakeRefused, RefusedBy::ThisSide),
        "{report:?}"
    );
}
