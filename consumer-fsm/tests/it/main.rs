//! Integration tests: whole attempts on loopback sockets, and the signalling service as it stands
//! on the wire.

mod attempts;
mod checks;
mod data_channel;
mod faults;
mod faulty;
mod golden;
mod pool;
mod real_ones;
#[allow(dead_code, reason = "the faults use the rest")]
mod runner;
mod service;
mod stage;
mod steps;
mod table;
mod tls;
mod webrtc_rs;
mod wire;
