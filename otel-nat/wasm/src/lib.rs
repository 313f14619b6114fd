//! Every call of the telemetry there is on wasm32, as a module: to see what it imports, which is
//! nothing.

use nat_summary::{Candidate, CandidateKind, Evidence, Mapping, Outlook};
use otel_nat::{
    Attempt, Checks, MappingLifetime, ExternalIp, FailureCause, FilteringSeen, FailureReason, Telemetry,
    TowardPeer,
};

/// Attempts of every outcome over `candidates` candidate lines; how many spans a provider took.
#[unsafe(no_mangle)]
pub extern "C" fn attempts(candidates: u32) -> u64 {
    let telemetry = Telemetry::global()
        .with_scope("elsewhere")
        .with_external_ip(ExternalIp::Prefix)
        .clone();
    for reason in FailureReason::ALL {
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
            attempt.begin_gathering();
            attempt.end_gathering(&summary);
            attempt.begin_checks();
            attempt.set_selected_pair(CandidateKind::Host, CandidateKind::Relayed);
            attempt.set_mapping_toward_peer(TowardPeer::Kept);
            attempt.set_mapping_with_peer(Mapping::Unknown);
            attempt.set_filtering_seen(FilteringSeen::Independent);
            attempt.set_checks(Checks::default());
            attempt.set_peer_summary(&summary);
            attempt.set_outlook(Outlook::between(&summary, &summary));
            attempt.set_failure_cause(FailureCause::Unknown);
            attempt.set_mapping_lifetime(MappingLifetime::default());
            attempt
        };
        begin().fail(&summary, *reason);
        begin().succeed(&summary);
        drop(begin());
        telemetry.record_mapping_lifetime(&summary, MappingLifetime::default());
    }
    telemetry.tally().recorded + Telemetry::default().tally().recorded
}
