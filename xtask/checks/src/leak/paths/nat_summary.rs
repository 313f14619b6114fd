//! The judge: it allocates nothing, so it can leave nothing.

use nat_summary::{Evidence, NatType};

use super::{Measured, Meter, Path, path, standalone};
use crate::{Failure, bounds};

pub(super) const PATHS: &[Path] = &[path("nat-summary: parsed and judged", |meter| {
    Box::pin(judged(meter))
})];

const DESCRIPTION: &str = "\
    a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host\r\n\
    a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n\
    a=candidate:3 1 udp 1694498815 203.0.113.7 50001 typ srflx raddr 192.168.1.5 rport 50000\r\n\
    a=candidate:4 1 udp nonsense\r\n";

async fn judged(meter: Meter) -> Result<Measured, Failure> {
    let judged = meter.measure(1, standalone, async |_, _| {
        let evidence = Evidence::from_text(std::hint::black_box(DESCRIPTION));
        let summary = evidence.summary();
        Ok(summary.nat_type() == NatType::Symmetric && !summary.to_string().is_empty())
    });
    Ok(judged.await?.intended(bounds::INTENDED))
}
