//! What becomes of a name's addresses; a resolver that gives several is nothing a test can count
//! on.

use super::*;
use crate::config::BindConfig;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A base on IPv4 that was asked to ask these, before any name is resolved.
async fn asking(servers: &[StunServer]) -> Base {
    let base = Base::bind(BindConfig::address([127, 0, 0, 1].into()))
        .await
        .unwrap();
    base.inner
        .start_plan(servers, &GatherConfig::default(), Instant::now());
    base
}

fn reports(base: &Base) -> Vec<(StunServer, Option<StunServer>, Outcome)> {
    base.inner
        .heard()
        .reports()
        .map(|report| (report.server, report.name, report.outcome))
        .collect()
}

#[tokio::test]
async fn several_addresses_of_one_name_are_servers_of_their_own_and_two_are_asked() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let base = asking(std::slice::from_ref(&name)).await;
    let found = [
        "192.0.2.1:3478",
        "192.0.2.1:3478",
        "192.0.2.2:3478",
        "[2001:db8::1]:3478",
        "192.0.2.3:3478",
    ];
    base.inner
        .resolved(Some((name.clone(), found.map(address).to_vec())));
    let expected = ["192.0.2.1:3478", "192.0.2.2:3478"].map(|server| {
        (
            StunServer::Address(address(server)),
            Some(name.clone()),
            Outcome::Pending,
        )
    });
    assert_eq!(reports(&base), expected);
    assert_eq!(
        base.evidence().servers().len(),
        2,
        "the evidence tells them apart"
    );
}

#[tokio::test]
async fn servers_are_merged_by_resolved_address_and_port() {
    let given: StunServer = "192.0.2.1".parse().unwrap();
    let names: [StunServer; 2] =
        ["one.example.org", "two.example.org:3479"].map(|name| name.parse().unwrap());
    let base = asking(&[given.clone(), names[0].clone(), names[1].clone()]).await;
    base.inner.resolved(Some((
        names[0].clone(),
        vec![address("[::ffff:192.0.2.1]:3478")],
    )));
    base.inner
        .resolved(Some((names[1].clone(), vec![address("192.0.2.1:3479")])));
    let other_port = StunServer::Address(address("192.0.2.1:3479"));
    let expected = [
        (given, None, Outcome::Pending),
        (other_port, Some(names[1].clone()), Outcome::Pending),
    ];
    assert_eq!(reports(&base), expected);
}

#[tokio::test]
async fn a_name_of_the_other_family_alone_is_unreachable_and_not_forgotten() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let base = asking(std::slice::from_ref(&name)).await;
    base.inner
        .resolved(Some((name.clone(), vec![address("[2001:db8::1]:3478")])));
    let server = StunServer::Address(address("[2001:db8::1]:3478"));
    assert_eq!(reports(&base), [(server, Some(name), Outcome::Unreachable)]);
}

#[tokio::test]
async fn a_name_still_looked_up_at_the_deadline_is_unresolved() {
    let name: StunServer = "stun.example.org".parse().unwrap();
    let base = asking(std::slice::from_ref(&name)).await;
    base.inner.give_up_names();
    assert_eq!(
        reports(&base),
        [(name.clone(), Some(name.clone()), Outcome::Pending)]
    );
    let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    base.inner.start_plan(
        std::slice::from_ref(&name),
        &GatherConfig::default(),
        long_ago,
    );
    base.inner.give_up_names();
    assert_eq!(
        reports(&base),
        [(name.clone(), Some(name), Outcome::Unresolved)]
    );
}
