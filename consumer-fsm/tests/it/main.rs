//! Integration tests: whole attempts on loopback sockets, and the signalling service as it stands on the wire.

mod attempts;
mod faults;
mod service;
mod stage;
