//! What the five questions have to come to, counted as the attempts were made.

use std::collections::BTreeMap;

use nat_summary::stage::StageReport;
use nat_summary::{NatSummary, NatType};
use otel_nat::FailureReason;
use serde_json::{Value, json};

use crate::bounds;

/// Attempts: connected, failed, cancelled.
type Endings = [u64; 3];

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) attempts: u64,
    by_type: BTreeMap<&'static str, Endings>,
    by_outcome: BTreeMap<(&'static str, &'static str), u64>,
    by_release: BTreeMap<&'static str, [u64; 2]>,
    by_rule: BTreeMap<(&'static str, Option<u16>), u64>,
    /// By release, the peer's NAT, stage and verdict.
    by_stage: BTreeMap<[&'static str; 4], u64>,
}

impl Truth {
    pub(crate) fn count(
        &mut self,
        release: &'static str,
        summary: &NatSummary,
        failure: Option<FailureReason>,
        stage: Option<StageReport>,
        peer: Option<NatType>,
    ) {
        self.attempts += 1;
        if let Some(stage) = stage {
            let peer = peer.map_or("not told", NatType::as_legacy);
            let verdict = failure.map_or("connected", |_| stage.verdict.as_str());
            let key = [release, peer, stage.stage.as_str(), verdict];
            *self.by_stage.entry(key).or_default() += 1;
        }
        let ending = match failure {
            None => 0,
            Some(FailureReason::Cancelled) => 2,
            Some(_) => 1,
        };
        self.by_type
            .entry(summary.nat_type().as_legacy())
            .or_default()[ending] += 1;
        let outcome = failure.map_or("connected", FailureReason::as_str);
        *self
            .by_outcome
            .entry((summary.mapping().as_legacy(), outcome))
            .or_default() += 1;
        let blocked = u64::from(summary.nat_type() == NatType::UdpBlocked);
        for release in [release, "all"] {
            let [attempts, of_these] = self.by_release.entry(release).or_default();
            *attempts += 1;
            *of_these += blocked;
        }
        let answered = (summary.counts().asked > 0).then_some(summary.counts().answered);
        *self
            .by_rule
            .entry((summary.rule().as_str(), answered))
            .or_default() += 1;
    }

    /// The answers, as rows without an order.
    pub(crate) fn answers(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let success = self.by_type.iter().map(|(nat_type, [connected, failed, cancelled])| {
            json!({
                "nat_type": nat_type, "attempts": connected + failed + cancelled, "connected": connected,
                "failed": failed, "cancelled": cancelled, "success_percent": percent(*connected, connected + failed),
            })
        });
        let outcome = self
            .by_outcome
            .iter()
            .map(|((mapping, outcome), attempts)| {
                let all = self
                    .by_outcome
                    .iter()
                    .filter(|((other, _), _)| other == mapping)
                    .map(|(_, n)| n)
                    .sum();
                json!({
                    "mapping": mapping, "outcome": outcome, "attempts": attempts,
                    "percent_of_mapping": percent(*attempts, all),
                })
            });
        let blocked = self
            .by_release
            .iter()
            .map(|(release, [attempts, blocked])| {
                json!({
                    "version": release, "attempts": attempts, "blocked": blocked,
                    "blocked_percent": percent(*blocked, *attempts),
                })
            });
        let rules = self.by_rule.iter().map(|((rule, answered), attempts)| {
            json!({
                "rule": rule, "servers_answered": answered, "attempts": attempts,
                "percent": percent(*attempts, self.attempts),
            })
        });
        let stages = self.by_stage.iter().map(|([release, peer, stage, verdict], attempts)| {
            let of_release = self.by_stage.iter().filter(|([other, ..], _)| other == release);
            json!({
                "version": release, "peer_nat_type": peer, "stage": stage, "verdict": verdict, "attempts": attempts,
                "percent_of_release": percent(*attempts, of_release.map(|(_, n)| n).sum()),
            })
        });
        [
            ("stage_by_release", stages.collect()),
            ("success_by_nat_type", success.collect()),
            ("mapping_by_outcome", outcome.collect()),
            ("blocked_share", blocked.collect()),
            ("rule_by_evidence", rules.collect()),
        ]
        .into()
    }
}

/// Every way in which `told` is not `truth`: rows in any order, numbers that are not whole to a
/// hundredth.
pub(crate) fn differences(question: &str, truth: &[Value], told: &[Value]) -> Vec<String> {
    let mut rest = told.to_vec();
    let mut faults = Vec::new();
    for row in truth {
        match rest.iter().position(|told| is_same(row, told)) {
            Some(at) => drop(rest.swap_remove(at)),
            None => faults.push(format!("{question}: {row} was counted, and not answered")),
        }
    }
    faults.extend(
        rest.iter()
            .map(|row| format!("{question}: {row} was answered, and not counted")),
    );
    faults
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let apart = one
                .as_f64()
                .zip(other.as_f64())
                .map(|(one, other)| (one - other).abs());
            apart.is_some_and(|apart| apart < bounds::PERCENT_APART)
        }
        _ => one == other,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (10_000.0 * part as f64 / whole as f64).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn a_row_that_differs_in_anything_is_two_differences() {
        let truth = [
            json!({"a": "x", "n": 3, "p": 33.33}),
            json!({"a": null, "n": 1, "p": null}),
        ];
        assert!(differences("q", &truth, &[truth[1].clone(), truth[0].clone()]).is_empty());
        for wrong in [
            json!({"a": "y", "n": 3, "p": 33.33}),
            json!({"a": "x", "n": 4, "p": 33.33}),
            json!({"a": "x", "n": 3, "p": 33.4}),
            json!({"a": "x", "n": 3}),
            json!({"a": "x", "n": 3, "p": null}),
        ] {
            assert_eq!(
                differences("q", &truth, &[wrong.clone(), truth[1].clone()]).len(),
                2,
                "{wrong}"
            );
        }
        assert_eq!(differences("q", &truth, &truth[..1]).len(), 1);
    }
}
