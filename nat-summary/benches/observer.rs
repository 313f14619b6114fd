//! What an observer adds to a datagram.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use nat_summary::observer::Observer;

fn benches(c: &mut Criterion) {
    let base: SocketAddr = ([192, 168, 1, 5], 50_000).into();
    let server: SocketAddr = ([198, 51, 100, 1], 3478).into();
    let peer: SocketAddr = ([192, 0, 2, 9], 40_000).into();
    let request = *b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
    let answer =
        *b"\x01\x01\x00\x0c\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45";
    let check = b"\x00\x01\x00\x2c\x21\x12\xA4\x42a random id.\x00\x06\x00\x0bours:theirs\x00\
        \x00\x24\x00\x04\x6e\x00\x01\xff\x00\x08\x00\x14....................";
    let dtls = [0x16; 1200];
    let now = Duration::from_millis(1);

    let mut group = c.benchmark_group("observe a datagram");
    let mut observer = Box::new(Observer::new());
    for n in 1..=8 {
        // as many servers as a cohort has
        observer.sent(now, base, ([198, 51, 100, n], 3478).into(), &request);
    }
    group.bench_function("not STUN, sent", |b| {
        b.iter(|| black_box(&mut *observer).sent(now, base, peer, black_box(&dtls)));
    });
    group.bench_function("not STUN, received", |b| {
        b.iter(|| black_box(&mut *observer).received(now, base, peer, black_box(&dtls)));
    });
    group.bench_function("a request and its answer", |b| {
        b.iter(|| {
            let observer = black_box(&mut *observer);
            observer.sent(now, base, server, black_box(&request));
            observer.received(now, base, server, black_box(&answer));
        });
    });
    group.bench_function("a check of the peer", |b| {
        b.iter(|| black_box(&mut *observer).received(now, base, peer, black_box(check)));
    });
    group.bench_function("an answer to no request", |b| {
        b.iter(|| black_box(&mut *observer).received(now, base, peer, black_box(&answer)));
    });
    group.finish();
}

criterion_group! {
    name = observer;
    config = Criterion::default().without_plots().sample_size(50);
    targets = benches
}
criterion_main!(observer);
