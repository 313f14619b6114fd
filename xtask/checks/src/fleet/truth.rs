//! What the questions have to come to, counted as the attempts were made.

use std::collections::BTreeMap;

use nat_summary::{NatSummary, NatType, Outlook};
use otel_nat::FailureReason;
use serde_json::{Map, Value, json};

use super::planned::date;
use crate::bounds;

/// Everything that a question groups by, of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Counted {
    /// Since 1970.
    pub(crate) day: u32,
    pub(crate) release: &'static str,
    pub(crate) failure: Option<&'static str>,
    pub(crate) nat_type: &'static str,
    pub(crate) mapping: &'static str,
    pub(crate) network_type: Option<&'static str>,
    pub(crate) rule: &'static str,
    /// Asked and answered.
    pub(crate) servers: Option<(u16, u16)>,
    pub(crate) carrier: &'static str,
    pub(crate) peer_nat_type: Option<&'static str>,
    /// Path and reason.
    pub(crate) outlook: Option<(&'static str, &'static str)>,
    pub(crate) is_relayed: bool,
    pub(crate) stage: &'static str,
    pub(crate) stage_verdict: Option<&'static str>,
    pub(crate) number: Option<u32>,
}

impl Counted {
    /// Of an attempt that has gathered and not more.
    pub(crate) fn new(day: u32, release: &'static str, summary: &NatSummary) -> Self {
        let counts = summary.counts();
        let scope = |scope: Option<nat_summary::Scope>| scope.map(|scope| scope.as_str());
        let carrier = match (scope(summary.base_scope()), scope(summary.external_scope())) {
            (Some("clat"), _) => "CLAT",
            (Some("carrier_grade"), _) | (_, Some("carrier_grade")) => "carrier NAT",
            (None, _) => "unknown",
            _ => "not seen",
        };
        Self {
            day,
            release,
            failure: None,
            nat_type: summary.nat_type().as_legacy(),
            mapping: summary.mapping().as_legacy(),
            network_type: summary.family().map(|family| family.as_str()),
            rule: summary.rule().as_str(),
            servers: (counts.asked > 0).then_some((counts.asked, counts.answered)),
            carrier,
            peer_nat_type: None,
            outlook: None,
            is_relayed: false,
            stage: "signalling",
            stage_verdict: None,
            number: None,
        }
    }

    pub(crate) fn set_failure(&mut self, failure: FailureReason) {
        self.failure = Some(failure.as_str());
    }

    pub(crate) fn set_peer(&mut self, theirs: &NatSummary, outlook: Outlook) {
        self.peer_nat_type = Some(theirs.nat_type().as_legacy());
        self.outlook = Some((outlook.path.as_str(), outlook.reason.as_str()));
    }

    fn outcome(&self) -> &'static str {
        self.failure.unwrap_or("connected")
    }

    fn is_cancelled(&self) -> bool {
        self.failure == Some(FailureReason::Cancelled.as_str())
    }

    fn is_blocked(&self) -> bool {
        self.nat_type == NatType::UdpBlocked.as_legacy()
    }

    /// Ends at a path, at a relay or at neither, where the outlook was put to the test.
    fn actual(&self) -> Option<&'static str> {
        match self.failure {
            None if self.is_relayed => Some("relay"),
            None => Some("direct"),
            Some("timeout" | "ice_failed" | "channel_failed" | "udp_blocked") => Some("none"),
            Some(_) => None,
        }
    }
}

/// All attempts, in groups.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) attempts: u64,
    groups: BTreeMap<Counted, u64>,
}

/// The columns that are measured and not counted: they are compared between the engines alone.
const MEASURED: [&str; 1] = ["gather_ms"];

impl Truth {
    pub(crate) fn count(&mut self, counted: Counted) {
        self.attempts += 1;
        *self.groups.entry(counted).or_default() += 1;
    }

    /// As if each attempt had come so many times.
    pub(crate) fn multiply(&mut self, copies: u64) {
        self.attempts *= copies;
        self.groups.values_mut().for_each(|n| *n *= copies);
    }

    /// How many attempts are so.
    pub(crate) fn number(&self, of: impl Fn(&Counted) -> bool) -> u64 {
        self.groups
            .iter()
            .filter(|(counted, _)| of(counted))
            .map(|(_, n)| n)
            .sum()
    }

    /// The attempts of each group, and of them those that are so.
    fn by<K: Ord>(
        &self,
        key: impl Fn(&Counted) -> Option<K>,
        of: impl Fn(&Counted) -> [bool; 3],
    ) -> BTreeMap<K, [u64; 4]> {
        let mut groups = BTreeMap::<K, [u64; 4]>::new();
        for (counted, n) in &self.groups {
            if let Some(key) = key(counted) {
                let sums = groups.entry(key).or_default();
                let [first, second, third] = of(counted);
                for (sum, is) in sums.iter_mut().zip([true, first, second, third]) {
                    *sum += n * u64::from(is);
                }
            }
        }
        groups.retain(|_, [all, ..]| *all >= bounds::FLEET_SHOWN);
        groups
    }

    /// The answers, as rows without an order.
    #[expect(
        clippy::too_many_lines,
        reason = "one block for each question, in the order of report.py"
    )]
    pub(crate) fn answers(&self) -> BTreeMap<&'static str, Vec<Value>> {
        let none = |_: &Counted| [false; 3];
        let mut answers = BTreeMap::new();

        let ended = |c: &Counted| [c.failure.is_none(), !c.is_cancelled(), false];
        let rows = self.by(|c| Some(c.nat_type), ended).into_iter();
        let success = rows.map(|(nat_type, [all, good, rated, _])| {
            let row = json!({
                "nat_type": nat_type, "attempts": all, "connected": good, "failed": rated - good,
                "cancelled": all - rated, "success_percent": percent(good, rated),
            });
            with_interval(row, good, rated)
        });
        answers.insert("success_by_nat_type", success.collect());

        let rows = self
            .by(|c| Some((c.mapping, c.outcome())), none)
            .into_iter();
        let outcome = rows.map(|((mapping, outcome), [n, ..])| {
            let all = self.number(|c| c.mapping == mapping);
            let row = json!({
                "mapping": mapping, "outcome": outcome, "attempts": n,
                "percent_of_mapping": percent(n, all),
            });
            with_interval(row, n, all)
        });
        answers.insert("mapping_by_outcome", outcome.collect());

        let blocked = |c: &Counted| [c.is_blocked(), false, false];
        let mut releases = self.by(|c| Some(c.release), blocked);
        releases.extend(self.by(|_| Some("all"), blocked));
        let shares = releases.into_iter().map(|(release, [all, blocked, ..])| {
            let row = json!({
                "version": release, "attempts": all, "blocked": blocked,
                "blocked_percent": percent(blocked, all),
            });
            with_interval(row, blocked, all)
        });
        answers.insert("blocked_share", shares.collect());

        let rows = self
            .by(
                |c| Some((c.rule, c.servers.map(|(_, answered)| answered))),
                none,
            )
            .into_iter();
        let rules = rows.map(|((rule, answered), [n, ..])| {
            let row = json!({
                "rule": rule, "servers_answered": answered, "attempts": n,
                "percent": percent(n, self.attempts),
            });
            with_interval(row, n, self.attempts)
        });
        answers.insert("rule_by_evidence", rules.collect());

        let met = |c: &Counted| {
            let good = c.failure.is_none();
            [good, good && !c.is_relayed, false]
        };
        let pair = |c: &Counted| {
            let theirs = c.peer_nat_type.filter(|_| !c.is_cancelled())?;
            Some((c.nat_type, theirs))
        };
        let pairs = self.by(pair, met).into_iter();
        let pairs = pairs.map(|((ours, theirs), [all, good, direct, _])| {
            let row = json!({
                "nat_type": ours, "peer_nat_type": theirs, "attempts": all, "connected": good, "direct": direct,
                "success_percent": percent(good, all), "direct_percent": percent(direct, all),
            });
            with_interval(row, direct, all)
        });
        answers.insert("success_by_nat_pair", pairs.collect());

        let tested = |c: &Counted| {
            let ((path, reason), actual) = c.outlook.zip(c.actual())?;
            Some((path, reason, actual))
        };
        let rows = self.by(tested, none).into_iter();
        let outlooks = rows.map(|((path, reason, actual), [n, ..])| {
            let all = self.number(|c| tested(c).is_some_and(|(other, ..)| other == path));
            let surprise = match (path, actual) {
                ("direct", "relay") => Some("relay although direct was expected"),
                ("direct", "none") => Some("no path although direct was expected"),
                ("relay", "direct") => Some("direct although a relay was expected"),
                _ => None,
            };
            let row = json!({
                "outlook": path, "outlook_reason": reason, "actual": actual, "surprise": surprise, "attempts": n,
                "percent_of_outlook": percent(n, all),
            });
            with_interval(row, n, all)
        });
        answers.insert("outlook_by_outcome", outlooks.collect());

        let silent = |c: &Counted| [c.servers.is_some_and(|(_, n)| n == 0), false, false];
        let network = |c: &Counted| c.servers.map(|_| c.network_type);
        let rows = self.by(network, silent).into_iter();
        let stun = rows.map(|(network_type, [all, silent, ..])| {
            let (mut asked, mut answered) = (0, 0);
            for (counted, n) in &self.groups {
                if counted.network_type == network_type
                    && let Some(servers) = counted.servers
                {
                    asked += n * u64::from(servers.0);
                    answered += n * u64::from(servers.1);
                }
            }
            let row = json!({
                "network_type": network_type, "attempts": all, "servers_asked": asked,
                "servers_answered": answered, "answered_percent": percent(answered, asked),
                "no_answer_percent": percent(silent, all),
            });
            with_interval(row, silent, all)
        });
        answers.insert("stun_by_network_type", stun.collect());

        let rows = self.by(|c| Some(c.day), blocked).into_iter();
        let days = rows.map(|(day, [all, blocked, ..])| {
            let row = json!({
                "date": date(day), "attempts": all, "blocked": blocked,
                "blocked_percent": percent(blocked, all),
            });
            with_interval(row, blocked, all)
        });
        answers.insert("blocked_by_day", days.collect());

        let rows = self.by(|c| Some(c.carrier), ended).into_iter();
        let carriers = rows.map(|(carrier, [all, good, rated, _])| {
            let row = json!({
                "carrier": carrier, "attempts": all, "percent": percent(all, self.attempts),
                "success_percent": percent(good, rated),
            });
            with_interval(row, good, rated)
        });
        answers.insert("carrier_nat", carriers.collect());

        let relayed = |c: &Counted| [c.is_relayed, false, false];
        let expected = |c: &Counted| {
            let is_direct =
                c.failure.is_none() && c.outlook.is_some_and(|(path, _)| path == "direct");
            Some((c.nat_type, c.peer_nat_type.filter(|_| is_direct)?))
        };
        let rows = self.by(expected, relayed).into_iter();
        let relays = rows.map(|((ours, theirs), [all, relayed, ..])| {
            let row = json!({
                "nat_type": ours, "peer_nat_type": theirs, "opened": all, "relayed": relayed,
                "relayed_percent": percent(relayed, all),
            });
            with_interval(row, relayed, all)
        });
        answers.insert("relay_though_direct", relays.collect());

        let all_good = self.number(|c| c.failure.is_none() && c.number.is_some());
        let rows = self
            .by(|c| c.number.filter(|_| !c.is_cancelled()), ended)
            .into_iter();
        let numbers = rows.map(|(number, [all, good, ..])| {
            let row = json!({
                "attempt_number": number, "attempts": all, "connected": good,
                "success_percent": percent(good, all), "percent_of_connected": percent(good, all_good),
            });
            with_interval(row, good, all)
        });
        answers.insert("attempt_number", numbers.collect());

        let stage = |c: &Counted| Some((c.day, c.release, c.stage, c.stage_verdict));
        let rows = self.by(stage, none).into_iter();
        let stages = rows.map(|((day, release, stage, verdict), [n, ..])| {
            let all = self.number(|c| c.day == day && c.release == release);
            let row = json!({
                "date": date(day), "version": release, "stage": stage, "stage_verdict": verdict, "attempts": n,
                "percent": percent(n, all),
            });
            with_interval(row, n, all)
        });
        answers.insert("stage_by_release", stages.collect());

        let is_frozen = |c: &Counted| c.stage_verdict == Some("frozen_after_open");
        let opened = |c: &Counted| (c.failure.is_none() || is_frozen(c)).then_some(c.release);
        let rows = self
            .by(opened, |c| [is_frozen(c), false, false])
            .into_iter();
        let frozen = rows.map(|(release, [all, frozen, ..])| {
            let row = json!({
                "version": release, "judged": all, "frozen": frozen,
                "frozen_percent": percent(frozen, all),
            });
            with_interval(row, frozen, all)
        });
        answers.insert("frozen_paths", frozen.collect());
        answers
    }
}

/// Every way in which `told` is not `truth`: rows in any order, numbers that are not whole to a
/// hundredth.
pub(crate) fn differences(question: &str, truth: &[Value], told: &[Value]) -> Vec<String> {
    let mut rest: Vec<Value> = told.iter().map(counted_columns).collect();
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

/// A row without the columns that are measured.
fn counted_columns(row: &Value) -> Value {
    let mut row = row.clone();
    if let Value::Object(columns) = &mut row {
        columns.retain(|name, _| !MEASURED.contains(&name.as_str()));
    }
    row
}

/// Whether two answers are equal, row by row.
pub(crate) fn are_same(one: &[Value], other: &[Value]) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(one, other)| is_same(one, other))
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => are_same(one, other),
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

/// The row with the ends of the Wilson interval of the share at 95 %.
fn with_interval(mut row: Value, part: u64, whole: u64) -> Value {
    let (low, high) = wilson(part, whole).unzip();
    let columns = Map::from_iter([
        ("low_percent".to_owned(), json!(low)),
        ("high_percent".to_owned(), json!(high)),
    ]);
    if let Value::Object(row) = &mut row {
        row.extend(columns);
    }
    row
}

/// Wilson's interval at 95 %, in percent (Wilson 1927).
#[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
fn wilson(part: u64, whole: u64) -> Option<(f64, f64)> {
    const Z: f64 = 1.96;
    let n = (whole > 0).then_some(whole as f64)?;
    let share = part as f64 / n;
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let all = 1.0 + Z * Z / n;
    Some((100.0 * (middle - half) / all, 100.0 * (middle + half) / all))
}

#[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (10_000.0 * part as f64 / whole as f64).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{differences, wilson};

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

    #[test]
    fn an_interval_is_the_one_in_the_books() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20
        for (part, whole, low, high) in [
            (81, 263, 25.5, 36.6),
            (15, 148, 6.2, 16.0),
            (0, 20, 0.0, 16.1),
        ] {
            let (got_low, got_high) = wilson(part, whole).unwrap();
            assert!(
                (got_low - low).abs() < 0.06 && (got_high - high).abs() < 0.06,
                "{got_low} {got_high}"
            );
        }
        assert_eq!(wilson(0, 0), None);
    }
}
