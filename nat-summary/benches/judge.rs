//! How fast a verdict is, beside a straightforward version of the same rules on hash maps.

mod shared;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use nat_summary::{Candidate, Evidence};
use shared::{
    Baseline, REFLEXIVE, baseline_servers, five_servers, judge_candidates, judge_servers,
    of_evidence, six_candidates,
};

fn benches(c: &mut Criterion) {
    let candidates = six_candidates();
    let evidence = Evidence::from_candidates(candidates.iter().copied());
    assert_eq!(
        Baseline::from_candidates(&candidates).judge(),
        of_evidence(&evidence),
        "the two do the same"
    );
    let mut group = c.benchmark_group("judge 6 candidates");
    group.bench_function("nat-summary", |b| {
        b.iter(|| judge_candidates(black_box(&candidates)));
    });
    group.bench_function("nat-summary, evidence at hand", |b| {
        b.iter(|| black_box(&evidence).summary())
    });
    group.bench_function("hash maps", |b| {
        b.iter(|| Baseline::from_candidates(black_box(&candidates)).judge())
    });
    let baseline = Baseline::from_candidates(&candidates);
    group.bench_function("hash maps, evidence at hand", |b| {
        b.iter(|| black_box(&baseline).judge())
    });
    group.finish();

    let observations = five_servers();
    let mut evidence = Evidence::new();
    for observation in &observations {
        evidence.observe(*observation);
    }
    assert_eq!(
        baseline_servers(&observations),
        of_evidence(&evidence),
        "the two do the same"
    );
    let mut group = c.benchmark_group("judge 5 servers on one base");
    group.bench_function("nat-summary", |b| {
        b.iter(|| judge_servers(black_box(&observations)))
    });
    group.bench_function("nat-summary, evidence at hand", |b| {
        b.iter(|| black_box(&evidence).summary())
    });
    group.bench_function("hash maps", |b| {
        b.iter(|| baseline_servers(black_box(&observations)))
    });
    let mut baseline = Baseline::default();
    observations
        .iter()
        .for_each(|observation| baseline.observe(*observation));
    group.bench_function("hash maps, evidence at hand", |b| {
        b.iter(|| black_box(&baseline).judge())
    });
    group.finish();

    c.bench_function("parse a line", |b| {
        b.iter(|| Candidate::parse(black_box(REFLEXIVE)))
    });
}

criterion_group! {
    name = judge;
    config = Criterion::default().without_plots().sample_size(50);
    targets = benches
}
criterion_main!(judge);
