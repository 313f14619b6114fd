//! The judge takes nothing from the heap, counted by an allocator of this binary's own.
#![allow(unsafe_code, reason = "a counting allocator is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use nat_summary::{
    Candidate, Checks, Evidence, FailureCause, Observation, Outcome, Outlook, PeerEvidence,
    Pooling, SentBefore, ServerId, TowardPeer, UnsolicitedCheck,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // a thread that ends has no cell any more
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(act: impl FnOnce() -> T) -> u64 {
    let before = ALLOCATIONS.get();
    black_box(act());
    ALLOCATIONS.get() - before
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| Box::new(black_box(1))), 1);
}

#[test]
fn sixteen_servers_on_four_bases_are_judged_without_the_heap() {
    let judged = allocations(|| {
        let mut evidence = Evidence::new();
        for base in 0..4_u8 {
            evidence.add_local([192, 168, 1, base].into());
            for server in 0..16_u8 {
                evidence.record_outcome(
                    ServerId::named("stun.example.org", server.into()),
                    Outcome::TimedOut,
                );
                let observation = Observation {
                    base: ([192, 168, 1, 5], 50_000 + u16::from(base)).into(),
                    server: ServerId::Address([198, 51, 100, server].into(), 3478),
                    mapped: (
                        [203, 0, 113, 7],
                        40_000 + 16 * u16::from(base) + u16::from(server),
                    )
                        .into(),
                    sequence: u32::from(base) * 16 + u32::from(server),
                };
                evidence.observe_both(observation, observation.mapped);
            }
        }
        let mut whole = evidence.clone();
        whole.merge(&evidence);
        let summary = whole.summary();
        assert_eq!(
            (summary.counts().bases, summary.pooling()),
            (4, Pooling::Paired)
        );
        assert_eq!(whole.observations().len(), 64);
        Outlook::between(&summary, &evidence.summary())
    });
    assert_eq!(judged, 0);
}

#[test]
fn what_a_peer_showed_is_judged_without_the_heap() {
    let base = "192.168.1.5:50000".parse().unwrap();
    let judged = allocations(|| {
        let (mut servers, mut peer) = (Evidence::new(), PeerEvidence::new());
        for n in 0..99_u8 {
            let source = ([192, 0, 2, n], 4000).into();
            let mapped = ([203, 0, 113, 7], 50_000).into();
            peer.record_unsolicited(UnsolicitedCheck {
                base,
                source,
                sent_before: SentBefore::Never,
            });
            peer.observe(Observation {
                base,
                server: source.into(),
                mapped,
                sequence: n.into(),
            });
            servers.observe(Observation {
                base,
                server: source.into(),
                mapped,
                sequence: n.into(),
            });
        }
        let mut whole = peer.clone();
        whole.merge(&peer);
        assert_eq!(
            whole.summary(&servers).toward_peer,
            TowardPeer::Unobserved,
            "not all had room"
        );
        FailureCause::of(&servers.summary(), Some(&servers), Checks::default(), false)
    });
    assert_eq!(judged, 0);
}

#[test]
fn datagrams_are_observed_without_the_heap() {
    use core::time::Duration;
    use nat_summary::observer::{MAX_PATHS, Observer};
    use nat_summary::stage::{Above, Stage};

    let base = "192.168.1.5:50000".parse().unwrap();
    let request = b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
    let answer = b"\x01\x01\x00\x0c\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45";
    let check = b"\x00\x01\x00\x20\x21\x12\xA4\x42a random id.\x00\x06\x00\x03a:b\x00\x00\x08\x00\x14....................";
    let mut observer = Observer::new();
    let observed = allocations(|| {
        for n in 0..200_u8 {
            let now = Duration::from_millis(n.into());
            let server = ([198, 51, 100, n], 3478).into();
            let peer = ([192, 0, 2, n], 4000).into();
            observer.sent(now, base, server, request);
            observer.received(now, base, server, answer);
            observer.received(now, base, peer, check);
            observer.sent(now, base, peer, check);
            observer.received(now, base, peer, b"\x16\xfe\xfd");
            let data = b"\x17\xfe\xfd\0\x01\0\0\0\0\0\x01\0\x04data";
            observer.sent(now, base, peer, data);
            observer.received(now, base, peer, data);
        }
        assert_eq!(observer.paths().count(), MAX_PATHS);
        assert_eq!(observer.stage(&Above::default()).stage, Stage::Open);
        observer.evidence().summary()
    });
    assert_eq!(observed, 0);
    assert_eq!(observer.checks().received, 200);
}

#[test]
fn candidates_are_read_and_judged_without_the_heap() {
    let text = include_str!("data/summary.json");
    assert_eq!(allocations(|| Evidence::from_text(text).summary()), 0);
    let line = "a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000 generation 0";
    assert_eq!(allocations(|| Candidate::parse(line).is_ok()), 0);
    assert_eq!(
        allocations(|| Candidate::parse("candidate:x y").map_err(|error| error.position)),
        0
    );
}
