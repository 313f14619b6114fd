//! Integration tests on real sockets, all on loopback.

mod checks;
mod connect;
mod filtering;
mod gather;
mod hammer;
mod hostile;
mod liveness;
mod names;
mod observer;
#[cfg(feature = "webrtc")]
mod peer_connection;
