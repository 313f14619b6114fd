//! Readers that read nothing: the program neither waits for them nor outlives a signal because of
//! them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::World;

/// A running process both of whose streams were full before it began; killed with its owner.
struct Unread {
    child: Child,
    out: UnixStream,
    /// Bytes in `out` that the process did not write.
    stuffed: usize,
    _err: UnixStream,
}

/// The end to read from, the full end to write to, and how much is in between.
fn full() -> (UnixStream, OwnedFd, usize) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut stuffed = 0;
    // the last bytes one by one: a short line must not fit either
    for piece in [&[b' '; 4_096][..], b" "] {
        loop {
            match writer.write(piece) {
                Ok(written) => stuffed += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    writer.set_nonblocking(false).unwrap();
    (reader, writer.into(), stuffed)
}

impl Unread {
    fn start(arguments: &[&str]) -> Self {
        let ((out, to_out, stuffed), (err, to_err, _)) = (full(), full());
        let child = Command::new(env!("CARGO_BIN_EXE_consumer"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(to_out)
            .stderr(to_err)
            .spawn()
            .unwrap();
        Self {
            child,
            out,
            stuffed,
            _err: err,
        }
    }

    /// How long it takes to end after this signal; as a supervisor would see it.
    fn ends(&mut self, signal: &str) -> Duration {
        let pid = self.child.id().to_string();
        let sent = Instant::now();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
        while self.child.try_wait().unwrap().is_none() {
            if sent.elapsed() > Duration::from_secs(5) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        sent.elapsed()
    }

    /// Begins to read the output, and returns it up to `text`.
    fn read_until(&mut self, text: &str) -> String {
        self.out
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 65_536];
        while !String::from_utf8_lossy(&read).contains(text) {
            let length = self.out.read(&mut buffer).unwrap();
            assert!(length > 0, "`{text}` is not among it");
            read.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8(read.split_off(self.stuffed)).unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn no_role_outlives_a_signal_because_its_streams_are_not_read() {
    let mut world = World::new();
    let service = format!("127.0.0.1:{}", free_port());
    let stun = format!("127.0.0.84:{}", free_port());
    let url = world.url.clone();
    let common = ["--signal", &url, "--bind", "127.0.0.1", "--log", "trace"];
    let [one, other] = world.stun.clone();
    let roles: [&[&str]; 4] = [
        &["--role", "signal", "--listen", &service],
        &["--role", "stun", "--listen", &stun],
        &["--role", "producer", "--slots", "20"],
        &["--stun", &one, "--stun", &other, "--slots", "20", "--json"],
    ];
    for signal in ["-INT", "-TERM"] {
        let mut programs = roles.map(|role| Unread::start(&[&common, role].concat()));
        // long enough for paths, and for more lines than a pipe holds
        std::thread::sleep(Duration::from_secs(3));
        assert!(TcpStream::connect(&service).is_ok(), "it serves meanwhile");
        let asked = UdpSocket::bind(&*stun);
        assert!(asked.is_err(), "the server has its socket");
        for (program, role) in programs.iter_mut().zip(roles) {
            let took = program.ends(signal);
            assert!(took < Duration::from_secs(1), "{role:?} {signal}: {took:?}");
        }
    }
    for program in &mut world.programs {
        program.signal("-TERM");
        assert_eq!(program.ended().0, Some(0));
    }
}

#[test]
fn work_goes_on_unread_and_a_reader_who_comes_late_reads_what_waited() {
    let world = World::new();
    let _producer = world.producer(&["--slots", "2"]);
    let [one, other] = &world.stun;
    let arguments = [
        "--signal",
        &world.url,
        "--bind",
        "127.0.0.1",
        "--stun",
        one,
        "--stun",
        other,
        "--json",
    ];
    let mut consumer = Unread::start(&arguments);
    std::thread::sleep(Duration::from_secs(3));
    let read = consumer.read_until("\"event\":\"echo\"");
    assert!(read.starts_with('{'), "{read}");
    let up = read.lines().find(|line| line.contains("\"path_up\""));
    let up: serde_json::Value = serde_json::from_str(up.unwrap()).unwrap();
    assert!(
        up["seconds"].as_f64().unwrap() < 2.0,
        "not once it was read: {up}"
    );
}
