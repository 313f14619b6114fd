//! Inputs that got a wrong answer, written anew from public bug reports, each with the right one.

use std::net::IpAddr;

use crate::vectors::Parts;
use nat_worlds::door;
use nat_worlds::plain::{Facts, Kind, Maps, Verdict};

const NATTED: Option<bool> = Some(true);

fn of_text(text: &str) -> Verdict {
    door::verdict(&door::text(text))
}

fn facts(json: &str) -> Vec<Facts> {
    #[derive(serde::Deserialize)]
    struct Case {
        evidence: Parts,
    }
    let cases: Vec<Case> = serde_json::from_str(json).unwrap();
    cases.iter().map(|case| case.evidence.facts()).collect()
}

fn of_facts(facts: &Facts) -> Verdict {
    door::verdict(&door::evidence(facts))
}

/// Natted as given, and nothing else but the external address.
fn is_undecided(verdict: &Verdict, natted: Option<bool>, external: Option<&str>) {
    let external: Option<IpAddr> = external.map(|ip| ip.parse().unwrap());
    assert_eq!(
        (
            verdict.kind,
            verdict.maps(),
            verdict.natted(),
            verdict.external()
        ),
        (Kind::Unknown, Maps::Unknown, natted, external)
    );
}

#[test]
fn a_log_that_marks_its_own_candidates_after_the_remote_description_is_read_as_ours() {
    let verdict = of_text(include_str!("../data/cases/c01_android.log"));
    is_undecided(&verdict, NATTED, Some("203.0.113.20"));
}

#[test]
fn a_page_with_both_descriptions_gives_what_the_local_half_alone_gives() {
    let page = include_str!("../data/cases/c02_firefox_about_webrtc.txt");
    let (local, _) = page.split_once("Remote SDP").unwrap();
    is_undecided(&of_text(local), NATTED, Some("203.0.113.20"));
    assert_eq!(of_text(page), of_text(local));
}

#[test]
fn one_candidate_sent_again_with_another_foundation_is_one_measurement() {
    let verdict = of_text(include_str!("../data/cases/c03b_freeswitch_reinvite.log"));
    is_undecided(&verdict, NATTED, Some("203.0.113.5"));
}

#[test]
fn four_servers_that_agree_and_one_that_differs_decide_nothing_but_the_address() {
    let [one] = &facts(include_str!("../data/cases/c04_one_server_lies.json"))[..] else {
        panic!("one gathering");
    };
    is_undecided(&of_facts(one), NATTED, Some("203.0.113.20"));
}

#[test]
fn a_proxy_that_reports_its_own_address_is_set_aside() {
    let [one, other] = &facts(include_str!("../data/cases/c05_reverse_proxy.json"))[..] else {
        panic!("two gatherings");
    };
    is_undecided(&of_facts(one), NATTED, Some("203.0.113.20"));
    let verdict = of_facts(other);
    assert_eq!(
        (verdict.kind, verdict.maps(), verdict.natted()),
        (Kind::Cone, Maps::Independent, NATTED)
    );
    assert_eq!(verdict.external(), "203.0.113.20".parse().ok());
}

#[test]
fn a_global_server_that_reports_a_container_network_says_nothing_of_this_host() {
    let [one] = &facts(include_str!("../data/cases/c07_docker_proxy.json"))[..] else {
        panic!("one gathering");
    };
    is_undecided(&of_facts(one), None, None);
}

#[test]
fn a_description_without_a_reflexive_candidate_does_not_show_that_a_server_was_asked() {
    let verdict = of_text(include_str!("../data/cases/c30_no_stun_configured.sdp"));
    is_undecided(&verdict, None, None);
}

/// The credentials are read elsewhere; for the judge it is a host candidate, and one session.
#[test]
fn a_description_with_credentials_of_session_and_media_is_one_host_candidate() {
    let text = include_str!("../data/cases/f01_session_and_media_credentials.sdp");
    is_undecided(&of_text(text), None, None);
}
