//! The cost that an observer adds to a datagram.

#[path = "shared/datagrams.rs"]
mod datagrams;

use criterion::{Criterion, criterion_group, criterion_main};
use datagrams::{ALL, Datagrams};

fn benches(c: &mut Criterion) {
    for what in ALL {
        let mut datagrams = Datagrams::new();
        c.bench_function(what, |b| b.iter(|| datagrams.hand_in(what)));
    }
}

criterion_group! {
    name = observer;
    config = Criterion::default().without_plots().sample_size(50);
    targets = benches
}
criterion_main!(observer);
