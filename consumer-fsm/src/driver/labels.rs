//! The labels of STUN servers in metrics.

use std::collections::HashMap;
use std::sync::Arc;

use ice_gather::{Gathering, StunServer};
use otel_nat::{ServerLabel, Telemetry};

/// Most labels, as many as the metrics have groups for.
const MOST: usize = 64;

/// The labels that an operator gives STUN servers, so that metrics show which server is silent. Collects
/// from pairs of a server, as the cache knows it, and its label; pairs beyond 64 are ignored. A server without
/// a label counts as `_OTHER`. Clones share the labels.
///
/// ```
/// use consumer_fsm::ServerLabels;
/// use ice_gather::StunServer;
/// use otel_nat::ServerLabel;
///
/// let server = StunServer::Name("stun.example.org".into(), 3478);
/// let labels = ServerLabels::from_iter([(server, ServerLabel::new("eu-1")?)]);
/// # Ok::<(), otel_nat::ServerLabelError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ServerLabels(Arc<HashMap<StunServer, ServerLabel>>);

impl FromIterator<(StunServer, ServerLabel)> for ServerLabels {
    fn from_iter<I: IntoIterator<Item = (StunServer, ServerLabel)>>(labels: I) -> Self {
        Self(Arc::new(labels.into_iter().take(MOST).collect()))
    }
}

impl ServerLabels {
    /// Measures every request of a gathering.
    pub(super) fn measure(&self, telemetry: &Telemetry, gathering: &Gathering) {
        for report in &gathering.servers {
            let label = self.0.get(report.name.as_ref().unwrap_or(&report.server));
            telemetry.record_server(label, report.outcome, report.round_trip);
        }
    }
}
