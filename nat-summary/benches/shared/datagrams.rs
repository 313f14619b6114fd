//! Datagrams of a gathering and of a path, handed to an observer.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::observer::Observer;

pub(crate) const ALL: [&str; 7] = [
    "observe 100 other datagrams out",
    "observe 100 other datagrams in",
    "observe 100 datagrams of a path out",
    "observe 100 datagrams of a path in",
    "observe a request and its answer",
    "observe a check of the peer",
    "observe an answer to no request",
];

const REQUEST: &[u8] = b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
const ANSWER: &[u8] =
    b"\x01\x01\x00\x0c\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45";
const CHECK: &[u8] = b"\x00\x01\x00\x30\x21\x12\xA4\x42a random id.\x00\x06\x00\x0bours:theirs\x00\
    \x00\x24\x00\x04\x6e\x00\x01\xff\x00\x08\x00\x14....................";

/// An observer that has seen eight servers asked, as many as a cohort has, and none answer.
pub(crate) struct Datagrams {
    observer: Box<Observer>,
    base: SocketAddr,
    server: SocketAddr,
    peer: SocketAddr,
}

impl Datagrams {
    pub(crate) fn new() -> Self {
        let mut observer = Box::new(Observer::new());
        let base = ([192, 168, 1, 5], 50_000).into();
        for n in 2..=9 {
            observer.sent(NOW, base, ([198, 51, 100, n], 3478).into(), REQUEST);
        }
        Self {
            observer,
            base,
            server: ([198, 51, 100, 1], 3478).into(),
            peer: ([192, 0, 2, 9], 40_000).into(),
        }
    }

    pub(crate) fn hand_in(&mut self, what: &str) -> bool {
        let (base, server, peer) = (self.base, self.server, self.peer);
        let observer = black_box(&mut *self.observer);
        match what {
            "observe 100 other datagrams out" => self.hundred(true, &[0x16; 1200]),
            "observe 100 other datagrams in" => self.hundred(false, &[0x16; 1200]),
            "observe 100 datagrams of a path out" => self.of_path(true),
            "observe 100 datagrams of a path in" => self.of_path(false),
            "observe a request and its answer" => {
                observer.sent(NOW, base, server, black_box(REQUEST));
                observer.received(NOW, base, server, black_box(ANSWER));
            }
            "observe a check of the peer" => {
                observer.received(NOW, base, peer, black_box(CHECK));
            }
            "observe an answer to no request" => {
                observer.received(NOW, base, peer, black_box(ANSWER));
            }
            _ => return false,
        }
        true
    }

    /// Application data of DTLS on a pair that had a check: its datagrams are counted.
    fn of_path(&mut self, is_sent: bool) {
        const RECORD: &[u8] = b"\x17\xfe\xfd\0\x01\0\0\0\0\0\x01\x04\xa3";
        if self.observer.paths().next().is_none() {
            self.observer.sent(NOW, self.base, self.peer, CHECK);
        }
        let mut datagram = [0; 1200];
        datagram[..RECORD.len()].copy_from_slice(RECORD);
        self.hundred(is_sent, &datagram);
        assert!(
            self.observer.paths().next().is_some(),
            "the pair is followed"
        );
    }

    fn hundred(&mut self, is_sent: bool, datagram: &[u8]) {
        for _ in 0..100 {
            let datagram = black_box(datagram);
            let observer = black_box(&mut *self.observer);
            if is_sent {
                observer.sent(NOW, self.base, self.peer, datagram);
            } else {
                observer.received(NOW, self.base, self.peer, datagram);
            }
        }
    }
}

const NOW: Duration = Duration::from_millis(1);
