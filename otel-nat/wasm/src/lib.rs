//! Every call of the telemetry there is on wasm32, as a module: to see what it imports, which is
//! nothing.

use nat_summary::{Candidate, CandidateKind, Evidence, Mapping, Outlook};
use otel_nat::{
    Attempt, Checks, Endurance, ExternalIp, FailureCause, FilteringSeen, Reason, Telemetry,
    TowardPeer,
};

/// Attempts of every outcome over `candidates` candidate lines; how many spans a provider took.
#[unsafe(no_mangle)]
pub extern "C" fn attempts(candidates: u32) -> u64 {
    let telemetry = Telemetry::global()
        .with_scope("elsewhere")
        .with_external_ip(ExternalIp::Prefix)
        .clone();
    for reason in Reason::ALL {
        let mut evidence = Evidence::new();
        for n in 0..candidates {
            let port = 40_000 + n % 20_000;
            let line = format!(
                "candidate:{n} 1 udp 1694498815 203.0.113.7 {port} typ srflx raddr 192.168.1.5 rport 5000"
            );
            if let Ok(candidate) = Candidate::parse(&line) {
                evidence.add_candidate(&candidate);
            }
        }
        let summary = evidence.summary();
        let begin = || -> Attempt {
            let mut attempt = telemetry.attempt();
            attempt.asked();
            attempt.gathered(&summary);
            attempt.connecting();
            attempt.selected(CandidateKind::Host, CandidateKind::Relayed);
            attempt.toward_peer(TowardPeer::Kept);
            attempt.mapping_with_peer(Mapping::Unknown);
            attempt.filtering(FilteringSeen::Independent);
            attempt.checks(Checks::default());
            attempt.peer(&summary);
            attempt.outlook(Outlook::between(&summary, &summary));
            attempt.explained(FailureCause::Dtls);
            attempt.endured(Endurance::default());
            attempt
        };
        begin().failed(&summary, *reason);
        begin().succeeded(&summary);
        drop(begin());
        telemetry.endured(&summary, Endurance::default());
    }
    telemetry.tally().recorded + Telemetry::default().tally().recorded
}
