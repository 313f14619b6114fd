//! Any file as a capture: it is read to its end or to its damage, in bounded memory, and no host is
//! called blocked for which anything came in.
#![no_main]

use ice_gather::capture::{Capture, MAX_HOSTS};
use libfuzzer_sys::fuzz_target;
use nat_summary::{FilteringSeen, NatType};

fuzz_target!(|file: &[u8]| {
    let Ok(capture) = Capture::read(file) else {
        return;
    };
    assert!(capture.hosts.len() <= MAX_HOSTS);
    assert!(capture.truncated <= capture.packets && capture.unread.total() <= capture.packets);
    for host in &capture.hosts {
        let summary = host.evidence.summary();
        let peer = host.peer.summary(&host.evidence);
        assert_eq!(peer.filtering, FilteringSeen::Unobserved, "nothing is verified");
        if summary.nat_type() == NatType::UdpBlocked {
            assert!(!host.is_one_way && !capture.has_drops);
        }
    }
});
