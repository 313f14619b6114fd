//! Integration tests on real sockets, all on loopback.

mod connect;
mod filtering;
mod gather;
mod hostile;
mod names;
mod peer;
mod silence;
