//! Any text as written evidence or a written summary: what is read can be used like any other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nat_summary::{Evidence, NatSummary, Outlook};

fuzz_target!(|text: &str| {
    if let Ok(evidence) = serde_json::from_str::<Evidence>(text) {
        let written = serde_json::to_string(&evidence).unwrap();
        assert_eq!(
            serde_json::from_str::<Evidence>(&written).unwrap(),
            evidence,
            "not what was written"
        );
        let _ = evidence.summary().with_address().to_string();
    }
    if let Ok(summary) = serde_json::from_str::<NatSummary>(text) {
        let _ = (
            summary.with_address().to_string(),
            Outlook::between(&summary, &summary),
            summary.base_scope(),
        );
    }
});
