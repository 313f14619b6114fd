//! The data channel on our own agent, on every way out; `webrtc`'s peer connection beside it.

use super::{Path, path};
use crate::bounds;
use crate::channel::{Carrier, Way, walk};

pub(super) const PATHS: &[Path] = &[
    path("data channel: closed", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::Success))
    })
    .beside("webrtc: closed"),
    path("data channel: closed as it opens", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::ClosedAsItOpens))
    })
    .beside("webrtc: closed as it opens"),
    path("data channel: dropped while open", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::DroppedConnected))
    })
    .beside("webrtc: dropped while open"),
    path("data channel: dropped", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::Dropped))
    })
    .beside("webrtc: dropped"),
    path("data channel: peer closes", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::PeerCloses))
    }),
    path("data channel: ICE silent", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::IceSilent))
    }),
    path("data channel: DTLS half open", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::DtlsHalfOpen))
    })
    .most(bounds::LEAK_CYCLES_SILENT),
    path("data channel: another certificate", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::WrongFingerprint))
    }),
    path("data channel: SCTP silent", |meter| {
        Box::pin(walk(meter, Carrier::DataChannel, Way::SctpSilent))
    })
    .most(bounds::LEAK_CYCLES_SILENT),
];

/// Which leaks on most of them: few cycles each.
pub(super) const STOCK: &[Path] = &[
    path("webrtc: closed", |meter| {
        Box::pin(walk(meter, Carrier::PeerConnection, Way::Success))
    })
    .most(200),
    path("webrtc: closed as it opens", |meter| {
        Box::pin(walk(meter, Carrier::PeerConnection, Way::ClosedAsItOpens))
    })
    .most(200),
    path("webrtc: dropped while open", |meter| {
        Box::pin(walk(meter, Carrier::PeerConnection, Way::DroppedConnected))
    })
    .most(200),
    path("webrtc: dropped", |meter| {
        Box::pin(walk(meter, Carrier::PeerConnection, Way::Dropped))
    })
    .most(200),
];
