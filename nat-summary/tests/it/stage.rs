//! What stopped an attempt: every combination of proofs, and 100,000 worlds of censors and faults.

mod model;
mod wire;

use core::time::Duration;

use nat_summary::observer::{MAX_PATHS, Observer, Paths};
use nat_summary::stage::{
    Above, CheckLog, DtlsRole, DtlsVersion, HandshakeMessage, PathWatch, RefusedBy, SIZES,
    SizeClass, Stage, StageReport, StageVerdict, hello_shape, judge,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Checks at these times, each answered after 30 ms.
fn answered(times: &[u64]) -> CheckLog {
    let mut checks = CheckLog::new();
    for at in times {
        checks.sent(ms(*at));
        checks.answered(ms(*at), ms(at + 30));
    }
    checks
}

/// As our own agent checks a pair: soon after the pair works, then every two seconds.
fn alive(until: u64) -> CheckLog {
    let times: Vec<u64> = (0..)
        .map(|n| 100 + 2_000 * n)
        .take_while(|at| *at < until)
        .collect();
    answered(&times)
}

/// A datagram, and whether it leaves.
type Passing = (u64, bool, Vec<u8>);

fn watch(datagrams: &[Passing]) -> PathWatch {
    let mut watch = PathWatch::new();
    for (at, leaves, datagram) in datagrams {
        if *leaves {
            watch.sent(ms(*at), datagram);
        } else {
            watch.received(ms(*at), datagram);
        }
    }
    watch
}

fn flights(times: &[u64], datagram: &[u8]) -> Vec<Passing> {
    times
        .iter()
        .map(|at| (*at, true, datagram.to_vec()))
        .collect()
}

fn verdict(now: u64, datagrams: &[Passing], checks: &CheckLog, above: Above) -> StageVerdict {
    judge(ms(now), &watch(datagrams), checks, &above).verdict
}

/// Each part of a proof, taken away alone, leaves the verdict unknown: every combination of the parts of
/// each verdict is judged, and only the whole proof decides.
#[test]
fn only_the_whole_proof_decides() {
    // is the path proven, is there enough of our own traffic, did nothing come in, is the time long enough
    for parts in 0..16_u32 {
        let part = |n: u32| parts & (1 << n) != 0;
        let (is_alive, is_enough, is_silent, is_long) = (part(0), part(1), part(2), part(3));
        let whole = parts == 15;
        let end = 5_000;
        let checks = if is_alive {
            alive(end)
        } else {
            answered(&[100])
        };
        let times: &[u64] = if is_enough {
            &[0, 400, 1200, 2800]
        } else {
            &[0, 400]
        };

        // a client whose hello gets no answer
        let mut datagrams = flights(times, &wire::client_hello());
        if !is_silent {
            datagrams.push((2_900, false, wire::server_hello()));
        }
        let expected = if is_alive && is_enough && is_silent {
            StageVerdict::HelloUnanswered
        } else {
            StageVerdict::Unknown
        };
        let client = Above::default()
            .with_role(DtlsRole::Client)
            .with_secured(false);
        assert_eq!(
            verdict(end, &datagrams, &checks, client),
            expected,
            "{parts:04b}"
        );

        // a server that waits
        let datagrams: Vec<Passing> = if is_silent {
            vec![]
        } else {
            vec![(1_000, false, wire::client_hello())]
        };
        let until = if is_long { end } else { 2_500 };
        let server = Above::default()
            .with_role(DtlsRole::Server)
            .with_secured(false);
        let role = if is_enough { server } else { Above::default() };
        let expected = if whole {
            StageVerdict::HelloNeverCame
        } else {
            StageVerdict::Unknown
        };
        let waited = if is_alive {
            answered(&[0, 800, 1600, 2300, 3200, 4100])
        } else {
            answered(&[0])
        };
        assert_eq!(
            verdict(until, &datagrams, &waited, role),
            expected,
            "{parts:04b}"
        );

        // a handshake that stalls
        let mut datagrams = vec![(0, true, wire::client_hello())];
        if is_long {
            datagrams.push((60, false, wire::server_flight(300)));
        }
        let times: &[u64] = if is_enough {
            &[61, 461, 1261, 2861]
        } else {
            &[61, 461, 1261]
        };
        datagrams.extend(flights(times, &wire::client_flight(300)));
        if !is_silent {
            datagrams.push((2_900, false, wire::finished()));
        }
        let expected = if whole {
            StageVerdict::HandshakeStalled
        } else {
            StageVerdict::Unknown
        };
        assert_eq!(
            verdict(end, &datagrams, &checks, client),
            expected,
            "{parts:04b}"
        );

        // a channel without an answer
        let above = client.with_secured(is_long);
        let times: &[u64] = if is_enough {
            &[120, 520, 1320, 2920]
        } else {
            &[120, 520]
        };
        let mut opened = PathWatch::new();
        opened.sent(ms(0), &wire::client_hello());
        opened.received(ms(60), &wire::server_hello());
        opened.received(ms(110), &wire::unified(50));
        for at in times {
            opened.sent(ms(*at), &wire::unified(90));
            if is_long {
                opened.data_sent(ms(*at));
            }
        }
        if !is_silent {
            opened.data_received(ms(3_000));
        }
        let found = judge(ms(end), &opened, &checks, &above).verdict;
        let expected = if whole {
            StageVerdict::ChannelUnanswered
        } else {
            StageVerdict::Unknown
        };
        if is_long || is_silent {
            let stalled = is_alive && is_enough && !is_long && is_silent;
            let expected = if stalled {
                StageVerdict::HandshakeStalled
            } else {
                expected
            };
            assert_eq!(found, expected, "{parts:04b}");
        }

        // a path that freezes
        let mut datagrams = vec![(0, true, wire::data(90)), (50, false, wire::data(90))];
        let until = if is_long { 12_000 } else { 8_000 };
        let times: &[u64] = if is_enough {
            &[200, 2_000, 5_000, 7_000]
        } else {
            &[200, 2_000]
        };
        datagrams.extend(flights(times, &wire::data(90)));
        if !is_silent {
            datagrams.push((7_500, false, wire::data(90)));
        }
        let checks = if is_alive {
            alive(until)
        } else {
            answered(&[100])
        };
        let expected = if whole {
            StageVerdict::FrozenAfterOpen
        } else {
            StageVerdict::Unknown
        };
        assert_eq!(
            verdict(until, &datagrams, &checks, Above::default()),
            expected,
            "{parts:04b}"
        );
    }
}

#[test]
fn a_refusal_names_the_side_and_a_forged_alert_that_is_followed_by_a_handshake_is_none() {
    let client = Above::default()
        .with_role(DtlsRole::Client)
        .with_secured(false);
    let report = |datagrams: &[Passing], above: Above| {
        judge(ms(5_000), &watch(datagrams), &alive(5_000), &above)
    };
    let alert = (50, false, wire::alert());
    let hellos = flights(&[0, 400, 1200, 2800], &wire::client_hello());
    let refused = report(
        &[&hellos[..], core::slice::from_ref(&alert)].concat(),
        client,
    );
    assert_eq!(
        (
            refused.verdict,
            refused.refused_by,
            refused.received.clear_alerts
        ),
        (StageVerdict::HandshakeRefused, RefusedBy::AlertReceived, 1)
    );
    let ours = report(
        &[(0, false, wire::client_hello())],
        client.with_refused(true),
    );
    assert_eq!(
        (ours.verdict, ours.refused_by),
        (StageVerdict::HandshakeRefused, RefusedBy::ThisSide)
    );
    let goes_on = [
        hellos[0].clone(),
        alert.clone(),
        (60, false, wire::server_flight(300)),
    ];
    let report_of = report(&goes_on, client);
    assert_eq!(
        (report_of.verdict, report_of.refused_by),
        (StageVerdict::Unknown, RefusedBy::Unknown)
    );
    let warning = (50, false, [&wire::alert()[..13], &[1, 0]].concat());
    assert_eq!(
        report(&[hellos[0].clone(), warning], client).verdict,
        StageVerdict::Unknown
    );
    // on an open path an alert in the clear is nothing
    let open = [
        (0, true, wire::data(40)),
        (10, false, wire::data(40)),
        alert,
    ];
    assert_eq!(
        report(&open, client.with_secured(true)).verdict,
        StageVerdict::Unknown
    );
}

#[test]
fn only_sizes_above_one_that_arrives_vanish() {
    let class = |most, passed, missing| SizeClass {
        most,
        passed,
        missing,
    };
    let sizes = |small: (u32, u32), large: (u32, u32)| -> [SizeClass; SIZES] {
        [
            class(256, small.0, small.1),
            class(512, 0, 0),
            class(768, 0, 0),
            class(1024, large.0, large.1),
            class(1152, 0, 0),
            class(u16::MAX, 0, 0),
        ]
    };
    let open = [(0, true, wire::data(40)), (10, false, wire::data(40))];
    let judged = |datagrams: &[Passing], sizes| {
        let above = Above::default().with_secured(true).with_sizes(sizes);
        let report = judge(ms(5_000), &watch(datagrams), &alive(5_000), &above);
        (report.verdict, report.vanish_above)
    };
    let unknown = (StageVerdict::Unknown, None);
    assert_eq!(
        judged(&open, sizes((20, 2), (0, 3))),
        (StageVerdict::LargePacketsVanish, Some(256))
    );
    assert_eq!(
        judged(&open, sizes((20, 0), (0, 2))),
        unknown,
        "two may get lost"
    );
    assert_eq!(
        judged(&open, sizes((20, 0), (1, 30))),
        unknown,
        "one arrived"
    );
    assert_eq!(
        judged(&open, sizes((2, 0), (0, 30))),
        unknown,
        "too few small ones arrived"
    );
    assert_eq!(
        judged(&open, sizes((20, 3), (0, 30))),
        unknown,
        "small ones get lost as well"
    );
    assert_eq!(
        judged(&open[..1], sizes((20, 0), (0, 30))),
        unknown,
        "nothing came in"
    );
}

#[test]
fn a_path_is_lost_once_checks_and_everything_else_fell_silent() {
    let open = [(0, true, wire::data(40)), (10, false, wire::data(40))];
    let mut checks = alive(4_000);
    for n in 2..20 {
        checks.sent(ms(100 + 2_000 * n));
        let now = 100 + 2_000 * n + 1_000;
        let expected = if now - 2_130 >= 15_000 {
            StageVerdict::PathLost
        } else {
            StageVerdict::Unknown
        };
        assert_eq!(
            verdict(now, &open, &checks, Above::default()),
            expected,
            "{now}"
        );
    }
    let mut few = alive(4_000);
    for at in [9_000, 14_000, 18_000] {
        few.sent(ms(at));
    }
    assert_eq!(
        verdict(20_000, &open, &few, Above::default()),
        StageVerdict::Unknown,
        "three checks may get lost"
    );
    let mut heard = checks;
    heard.heard(ms(38_000));
    assert_eq!(
        verdict(39_100, &open, &heard, Above::default()),
        StageVerdict::Unknown,
        "the peer checks"
    );
    let data = [&open[..], &[(38_000, false, wire::data(40))]].concat();
    assert_eq!(
        verdict(39_100, &data, &checks, Above::default()),
        StageVerdict::Unknown,
        "data came in"
    );
    assert_eq!(
        verdict(39_100, &open, &CheckLog::new(), Above::default()),
        StageVerdict::Unknown,
        "never answered"
    );
    let closed = Above::default().with_closed_by_peer(true);
    assert_eq!(
        verdict(39_100, &open, &checks, closed),
        StageVerdict::ClosedByPeer
    );
}

/// Each part of the proof of a path, missing alone.
#[test]
fn a_path_is_proven_from_its_beginning_to_its_end() {
    let judged = |hellos: &[u64], checks: &[u64]| {
        let hellos = flights(hellos, &wire::client_hello());
        verdict(5_000, &hellos, &answered(checks), Above::default())
    };
    let hellos = [0, 400, 1_200, 2_800];
    assert_eq!(
        judged(&hellos, &[500, 2_500, 4_200]),
        StageVerdict::HelloUnanswered
    );
    for (hellos, checks, why) in [
        (
            &[0, 400, 1_200, 4_500][..],
            [100, 2_100, 4_100],
            "none after the last flight",
        ),
        (
            &[2_000, 2_400, 3_000],
            [1_900, 3_100, 4_100],
            "none between the flights",
        ),
        (
            &hellos,
            [1_500, 2_500, 4_200],
            "none close to the beginning",
        ),
    ] {
        assert_eq!(judged(hellos, &checks), StageVerdict::Unknown, "{why}");
    }
}

/// An answered check here and there proves no time as a whole.
#[test]
fn answers_have_to_be_spread_and_nearly_complete() {
    let hellos = flights(&[0, 400, 1200, 2800], &wire::client_hello());
    let judged = |checks: &CheckLog| verdict(5_000, &hellos, checks, Above::default());
    assert_eq!(
        judged(&answered(&[100, 2_100, 4_100])),
        StageVerdict::HelloUnanswered
    );
    for (times, why) in [
        (&[100, 3_000][..], "two"),
        (&[100, 150, 200, 250], "all before the last flight"),
        (&[2_900, 3_900, 4_900], "all after the last flight"),
        (&[1_400, 2_100, 2_900], "not spread, and late"),
    ] {
        assert_eq!(judged(&answered(times)), StageVerdict::Unknown, "{why}");
    }
    let early = answered(&[100, 2_100, 2_900, 3_000]);
    let client = Above::default();
    assert_eq!(
        verdict(5_000, &hellos, &early, client),
        StageVerdict::HelloUnanswered
    );
    assert_eq!(
        verdict(9_000, &hellos, &early, client),
        StageVerdict::Unknown,
        "the later half is dark"
    );
    let mut lossy = answered(&[100, 1_000, 2_100, 4_100]);
    lossy.sent(ms(3_000));
    assert_eq!(
        judged(&lossy),
        StageVerdict::Unknown,
        "one of five was lost"
    );
    let mut pending = answered(&[100, 2_100, 4_100]);
    pending.sent(ms(4_900));
    assert_eq!(
        judged(&pending),
        StageVerdict::HelloUnanswered,
        "one may still be on its way"
    );
}

#[test]
fn an_answer_to_a_check_that_is_not_in_the_log_counts_for_nothing() {
    let mut checks = CheckLog::new();
    checks.answered(ms(100), ms(130));
    checks.sent(ms(200));
    checks.answered(ms(200), ms(230));
    checks.answered(ms(200), ms(240));
    assert_eq!((checks.asked(), checks.answers()), (1, 1));
    assert_eq!(checks.last_heard(), Some(ms(240)));
}

#[test]
fn a_long_log_of_checks_keeps_its_beginning_its_end_and_every_loss() {
    let mut checks = CheckLog::new();
    for n in 0..10_000_u64 {
        checks.sent(ms(n * 100));
        if n % 100 != 50 {
            checks.answered(ms(n * 100), ms(n * 100 + 20));
        }
    }
    assert_eq!((checks.asked(), checks.answers()), (10_000, 9_900));
    assert_eq!(checks.last_heard(), Some(ms(999_920)));
    let hellos = flights(&[0, 400, 1200, 700_000], &wire::client_hello());
    assert_eq!(
        verdict(1_000_000, &hellos, &checks, Above::default()),
        StageVerdict::Unknown,
        "losses fill the log"
    );
    let hellos = flights(&[0, 400, 1200, 2800], &wire::client_hello());
    let times: Vec<u64> = (0..100).map(|n| n * 300).collect();
    assert_eq!(
        verdict(30_000, &hellos, &answered(&times), Above::default()),
        StageVerdict::HelloUnanswered
    );
}

#[test]
fn the_stage_is_the_last_one_that_passed() {
    let stage = |datagrams: &[Passing], checks: &CheckLog| {
        judge(ms(100), &watch(datagrams), checks, &Above::default()).stage
    };
    let none = CheckLog::new();
    assert_eq!(stage(&[], &none), Stage::Unknown);
    let mut asked = none;
    asked.sent(ms(0));
    assert_eq!(stage(&[], &asked), Stage::Checks);
    let checks = alive(50);
    assert_eq!(stage(&[], &alive(150)), Stage::Paired);
    let mut passed = vec![];
    for (datagram, leaves, expected) in [
        (wire::client_hello(), true, Stage::Hello),
        (wire::alert(), false, Stage::Hello),
        (wire::server_flight(300), false, Stage::Handshake),
        (wire::client_flight(300), true, Stage::Handshake),
        (wire::finished(), false, Stage::Handshake),
        (wire::data(30), true, Stage::Secured),
        (wire::data(30), false, Stage::Open),
    ] {
        passed.push((10, leaves, datagram));
        assert_eq!(stage(&passed, &checks), expected, "{expected:?}");
    }
    let report = judge(ms(100), &watch(&passed), &checks, &Above::default());
    assert_eq!(
        (report.role, report.version),
        (DtlsRole::Client, DtlsVersion::Dtls12)
    );
    assert_eq!(
        (report.last_in, report.last_out),
        (HandshakeMessage::Encrypted, HandshakeMessage::Encrypted)
    );
    let hello = judge(ms(100), &watch(&passed[..1]), &checks, &Above::default());
    assert_eq!(
        (hello.last_out, hello.last_in),
        (HandshakeMessage::ClientHello, HandshakeMessage::Unknown)
    );
}

/// A peer that repeats its own flight has not received ours: a repetition is no progress.
#[test]
fn a_peer_that_repeats_itself_does_not_keep_a_handshake_from_having_stalled() {
    let at = [10, 410, 1_210, 2_810];
    let mut hellos: Vec<Passing> = Vec::new();
    for at in at {
        hellos.push((at, false, wire::client_hello()));
        hellos.push((at + 1, true, wire::server_flight(300)));
    }
    let server = Above::default()
        .with_role(DtlsRole::Server)
        .with_secured(false);
    let report = judge(ms(5_000), &watch(&hellos), &alive(5_000), &server);
    assert_eq!(report.verdict, StageVerdict::HandshakeStalled);
    assert_eq!(report.last_in, HandshakeMessage::ClientHello);
    let mut next = wire::client_flight(300);
    next[17] = 0;
    next[18] = 1;
    hellos.push((2_900, false, next));
    assert_eq!(
        verdict(5_000, &hellos, &alive(5_000), server),
        StageVerdict::Unknown,
        "a new message"
    );
}

/// A peer that no longer hears this side repeats its data, and its data acknowledges nothing.
#[test]
fn data_that_comes_in_does_not_hide_that_none_of_ours_is_acknowledged() {
    let judged = |due: &[u64], acknowledged: Option<u64>, until: u64| {
        let mut watch = PathWatch::new();
        for at in (0..until).step_by(500) {
            watch.received(ms(at), &wire::data(90));
            watch.sent(ms(at + 1), &wire::data(60));
            if due.contains(&at) {
                watch.acknowledgement_due(ms(at));
            }
            if acknowledged == Some(at) {
                watch.acknowledged();
            }
        }
        judge(ms(until), &watch, &alive(until), &Above::default())
    };
    let due = [1_000, 1_500, 3_000, 6_500];
    let frozen = judged(&due, None, 12_000);
    assert_eq!(frozen.verdict, StageVerdict::FrozenAfterOpen);
    assert_eq!(frozen.unacknowledged_for, Some(ms(11_000)));
    for (due, acknowledged, until, why) in [
        (&due[..], None, 10_500, "not long enough"),
        (&due[..], Some(9_000), 12_000, "one was acknowledged"),
        (&due[..2], None, 12_000, "two may get lost"),
        (&due[..3], None, 12_000, "three at once may get lost"),
        (&[], None, 12_000, "the peer has to acknowledge nothing"),
    ] {
        let report = judged(due, acknowledged, until);
        assert_eq!(report.verdict, StageVerdict::Unknown, "{why}");
    }
}

/// In DTLS 1.3 records under keys look alike: without the owner of the keys nothing is concluded.
#[test]
fn a_capture_of_dtls_1_3_proves_no_stall_and_no_opening() {
    let mut datagrams = vec![
        (0, true, wire::client_hello()),
        (
            40,
            false,
            [wire::server_hello(), wire::unified(500)].concat(),
        ),
    ];
    datagrams.extend(flights(&[41, 441, 1241, 2841], &wire::unified(400)));
    let report = judge(
        ms(5_000),
        &watch(&datagrams),
        &alive(5_000),
        &Above::default(),
    );
    assert_eq!(
        (report.stage, report.verdict),
        (Stage::Handshake, StageVerdict::Unknown)
    );
    assert_eq!(report.version, DtlsVersion::Dtls13);
    let known = Above::default().with_secured(false);
    assert_eq!(
        verdict(5_000, &datagrams, &alive(5_000), known),
        StageVerdict::HandshakeStalled
    );
}

/// Whatever bytes pass, nothing panics, and no stranger's bytes make a verdict.
#[test]
fn any_bytes_are_counted_and_decide_nothing() {
    let mut random = nat_worlds::random::Random::new(1);
    for round in 0..20_000_u64 {
        let (mut watch, above) = (PathWatch::new(), Above::default().with_secured(false));
        for n in 0..8_u64 {
            let length = random.below(80) as usize;
            let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            if let Some(first) = bytes.first_mut() {
                *first = 20 + random.below(44) as u8;
            }
            if random.chance(50) && length > 13 {
                bytes[1..5].copy_from_slice(&[0xfe, 0xfd, 0, 0]);
                bytes[11..13].copy_from_slice(&[0, (length - 13) as u8]);
            }
            watch.received(ms(n * 500), &bytes);
        }
        let report = judge(ms(5_000), &watch, &alive(5_000), &above);
        let is_bare = matches!(
            report.verdict,
            StageVerdict::Unknown | StageVerdict::HandshakeRefused
        );
        assert!(is_bare, "{round} {report:?}");
        assert_eq!(report.received.datagrams, 8);
    }
}

#[test]
fn a_shape_is_the_same_for_each_hello_of_a_program_and_broken_hellos_have_none() {
    let hello = |grease: u8, random: u8| {
        let mut body = vec![0xfe, 0xfd];
        body.extend([random; 32]);
        body.extend([0, 0, 0, 4, grease, grease, 0xc0, 0x2b, 1, 0]);
        let groups = [0, 10, 0, 6, 0, 4, grease, grease, 0, 29];
        let shares = [0, 51, 0, 4, random, random, random, random];
        body.extend([0, u8::try_from(groups.len() + shares.len()).unwrap()]);
        body.extend(groups);
        body.extend(shares);
        body
    };
    let shape = hello_shape(&hello(0x0a, 1));
    assert!(shape.is_some());
    assert_eq!(shape, hello_shape(&hello(0xfa, 2)));
    let mut other = hello(0x0a, 1);
    let last_group = other.len() - 9;
    other[last_group] = 23;
    assert_ne!(shape, hello_shape(&other));
    let whole = hello(0x0a, 1);
    for length in (0..whole.len()).filter(|length| *length != 44) {
        assert_eq!(hello_shape(&whole[..length]), None, "{length}");
    }
}

#[test]
fn a_report_of_nothing_is_empty() {
    let report = judge(
        ms(0),
        &PathWatch::new(),
        &CheckLog::new(),
        &Above::default(),
    );
    assert_eq!(report, StageReport::default());
}

fn address(text: &str) -> core::net::SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_session_is_judged_by_the_pair_in_use() {
    let ours = address("192.168.1.5:50000");
    let (first, second) = (address("192.0.2.9:40000"), address("192.0.2.9:40001"));
    let mut paths = Paths::new();
    assert!(paths.in_use().is_none());
    let stage = |paths: &Paths| paths.stage(ms(9_000), &Above::default()).unwrap().stage;
    paths.answered(ours, first, ms(0), ms(30));
    paths.answered(ours, second, ms(0), ms(40));
    let last_heard = paths.in_use().map(|path| path.remote);
    assert_eq!(last_heard, Some(second), "no datagram has left yet");
    let strangers = address("198.51.100.77:9");
    paths.sent(ms(50), ours, strangers, &wire::client_hello(), || false);
    assert_eq!(stage(&paths), Stage::Paired, "no check went there");
    paths.sent(ms(60), ours, first, &wire::client_hello(), || false);
    assert_eq!(stage(&paths), Stage::Hello);
    // a datagram that came in can be forged, and changes nothing about the pair in use
    paths.received(ms(70), ours, second, &wire::data(40), || false);
    assert_eq!(stage(&paths), Stage::Hello);
    paths.sent(ms(80), ours, second, &wire::data(40), || false);
    assert_eq!(stage(&paths), Stage::Open);
    // more pairs than there is room for leave the pair in use
    for port in 1..100 {
        let other = core::net::SocketAddr::new(first.ip(), port);
        paths.answered(ours, other, ms(1_000), ms(1_030));
    }
    assert_eq!(paths.iter().count(), MAX_PATHS);
    assert_eq!(stage(&paths), Stage::Open);
}

#[test]
fn an_observer_that_may_have_missed_datagrams_has_a_stage_and_no_verdict() {
    const CHECK: &[u8] = b"\x00\x01\x00\x20\x21\x12\xA4\x42a random id.\x00\x06\x00\x03a:b\x00";
    const INTEGRITY: [u8; 24] = *b"\x00\x08\x00\x14a signature of 20 B.";
    let (ours, theirs) = (address("192.168.1.5:50000"), address("192.0.2.9:40000"));
    let above = Above::default().with_role(DtlsRole::Server);
    let observed = |prepare: fn(&mut Observer)| {
        let mut observer = Box::new(Observer::new());
        prepare(&mut observer);
        assert_eq!(observer.stage(&above), StageReport::of(Stage::Unknown));
        for n in 0..8_u8 {
            let mut check = CHECK.to_vec();
            check[19] = n;
            let mut answer = b"\x01\x01\x00\x18".to_vec();
            answer.extend(&check[4..20]);
            check.extend(INTEGRITY);
            answer.extend(INTEGRITY);
            let at = 500 * u64::from(n);
            observer.sent(ms(at), ours, theirs, &check);
            observer.received(ms(at + 30), ours, theirs, &answer);
        }
        observer.advance(ms(4_000));
        observer.stage(&above)
    };
    let whole = observed(|_| {});
    assert_eq!(
        (whole.stage, whole.verdict),
        (Stage::Paired, StageVerdict::HelloNeverCame)
    );
    for prepare in [
        (|observer| observer.join_late()) as fn(&mut Observer),
        |observer| observer.distrust_silence(),
    ] {
        let report = observed(prepare);
        assert_eq!(
            (report.stage, report.verdict),
            (Stage::Paired, StageVerdict::Unknown)
        );
    }
}
