//! Integration tests on real sockets, all on loopback.

#[cfg(feature = "webrtc")]
mod censored;
#[cfg(feature = "agent")]
mod checks;
#[cfg(feature = "agent")]
mod connect;
#[cfg(feature = "agent")]
mod filtering;
mod gather;
#[cfg(feature = "agent")]
mod hammer;
#[cfg(feature = "agent")]
mod hostile;
#[cfg(feature = "agent")]
mod liveness;
mod names;
mod observer;
#[cfg(feature = "webrtc")]
mod peer_connection;
#[cfg(feature = "webrtc")]
mod stage;
