use std::sync::atomic::{AtomicUsize, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

fn server(n: usize) -> StunServer {
    StunServer::Name(format!("stun{n}.example.org"), 3478)
}

fn cache(servers: usize) -> StunCache {
    StunCache::new((0..servers).map(server).collect())
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

#[tokio::test]
async fn a_cohort_stays_until_it_is_dropped() {
    let (cache, mut rng) = (cache(12), rng());
    let first = cache.cohort(&mut rng).await.unwrap();
    assert_eq!(first.servers.len(), 5);
    assert_eq!(cache.cohort(&mut rng).await.unwrap(), first);
    cache.drop_cohort(&first);
    let second = cache.cohort(&mut rng).await.unwrap();
    assert!(
        second
            .servers
            .iter()
            .all(|server| !first.servers.contains(server))
    );
}

#[tokio::test]
async fn many_slots_drop_a_cohort_once() {
    let (cache, mut rng) = (cache(12), rng());
    let (one, other) = (cache.clone(), cache.clone());
    let (first, same) = (
        one.cohort(&mut rng).await.unwrap(),
        other.cohort(&mut rng).await.unwrap(),
    );
    assert_eq!(first, same);
    one.drop_cohort(&first);
    other.drop_cohort(&same);
    let second = cache.cohort(&mut rng).await.unwrap();
    cache.drop_cohort(&second);
    let third = cache.cohort(&mut rng).await.unwrap();
    assert_eq!(
        (second.servers.len(), third.servers.len()),
        (5, 2),
        "none was skipped"
    );
}

#[tokio::test]
async fn every_server_has_its_turn_before_any_comes_again() {
    let (cache, mut rng) = (cache(12), rng());
    let mut sizes = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let cohort = cache.cohort(&mut rng).await.unwrap();
        cache.drop_cohort(&cohort);
        sizes.push(cohort.servers.len());
        seen.extend(cohort.servers);
    }
    assert_eq!((sizes, seen.len()), (vec![5, 5, 2], 12));
    assert_eq!(
        cache.cohort(&mut rng).await.unwrap().servers.len(),
        5,
        "refilled"
    );
}

#[tokio::test]
async fn the_seed_decides_the_draw() {
    let draw = async |seed| {
        cache(100)
            .cohort(&mut StdRng::seed_from_u64(seed))
            .await
            .unwrap()
            .servers
    };
    assert_eq!(draw(1).await, draw(1).await);
    assert_ne!(draw(1).await, draw(2).await);
}

#[tokio::test]
async fn nothing_known_is_a_typed_error() {
    let (cache, mut rng) = (cache(0), rng());
    assert_eq!(cache.cohort(&mut rng).await, Err(SourceError::Empty));
}

#[tokio::test]
async fn a_source_that_fails_later_is_replaced_by_what_it_brought_before() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let cache = StunCache::from_source(StunSource::from_fn(move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if call == 0 {
                Ok(vec![server(1), server(1)])
            } else {
                Err(SourceError::Unreadable)
            }
        }
    }));
    let mut rng = rng();
    for _ in 0..3 {
        let cohort = cache.cohort(&mut rng).await.unwrap();
        assert_eq!(cohort.servers, [server(1)], "each server once");
        cache.drop_cohort(&cohort);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let never = StunCache::from_source(StunSource::from_fn(async || Err(SourceError::Unreadable)));
    assert_eq!(never.cohort(&mut rng).await, Err(SourceError::Unreadable));
}

#[tokio::test]
async fn a_source_that_brings_none_later_has_failed_and_wipes_nothing() {
    let calls = AtomicUsize::new(0);
    let cache = StunCache::from_source(StunSource::from_fn(move || {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok(if call == 0 {
                vec![server(1)]
            } else {
                Vec::new()
            })
        }
    }));
    let mut rng = rng();
    for _ in 0..3 {
        let cohort = cache.cohort(&mut rng).await;
        assert_eq!(
            cohort.as_ref().map(|cohort| &cohort.servers[..]),
            Ok(&[server(1)][..])
        );
        cache.drop_cohort(&cohort.unwrap());
    }
    let none = StunSource::from_fn(async || Ok(Vec::new()));
    assert_eq!(none.load().await, Err(SourceError::Empty));
}

#[test]
fn silent_servers_come_last_until_they_answer() {
    let (mut rotation, mut rng) = (Rotation::new(5), rng());
    rotation.set_known((0..12).map(server).collect());
    (0..6).for_each(|n| rotation.learn(&server(n), false));
    rotation.learn(&server(0), true);
    for _ in 0..50 {
        rotation.shuffle(&mut rng);
        let tail: HashSet<&StunServer> = rotation.left[7..].iter().collect();
        assert_eq!(
            tail,
            (1..6)
                .map(server)
                .collect::<Vec<_>>()
                .iter()
                .collect::<std::collections::HashSet<_>>()
        );
    }
}

#[test]
fn the_memory_of_silent_servers_is_bounded_and_forgets_the_oldest() {
    let mut rotation = Rotation::new(5);
    (0..MAX_SILENT + 10).for_each(|n| rotation.learn(&server(n), false));
    assert_eq!(rotation.silent.len(), MAX_SILENT);
    assert!(!rotation.silent.contains(&server(9)) && rotation.silent.contains(&server(10)));
}

#[test]
fn a_flood_of_servers_is_capped() {
    let mut rotation = Rotation::new(5);
    rotation.set_known((0..2 * MAX_SERVERS).map(server).collect());
    assert_eq!(rotation.known.len(), MAX_SERVERS);
}
