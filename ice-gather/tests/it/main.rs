//! Integration tests on real sockets, all on loopback.

mod connect;
mod gather;
mod hostile;
