//! The program as people run it: several processes, signals, a collector, and the lines of the
//! README.

mod attack;
#[cfg(unix)]
mod counts;
mod deploy;
#[cfg(unix)]
mod output;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a producer believes in a consumer that left without a word: 30 s, and a look or two.
const LONG: Duration = Duration::from_secs(40);

/// A running process of the program; killed with its owner.
struct Program {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_consumer"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    /// The next line that has `text` in it.
    fn wait_for(&mut self, text: &str) -> String {
        self.try_wait_for(text, LONG)
            .unwrap_or_else(|| panic!("`{text}` was not said: {:#?}", self.said))
    }

    fn try_wait_for(&mut self, text: &str, patience: Duration) -> Option<String> {
        let until = Instant::now() + patience;
        loop {
            match self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn json(&mut self, event: &str) -> Value {
        let line = self.wait_for(&format!("\"event\":\"{event}\""));
        serde_json::from_str(&line).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Its exit status, and how long it took to get there.
    fn ended(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        while started.elapsed() < LONG {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it goes on: {:#?}", self.said);
    }

    /// All output until the end of its streams.
    fn everything(&mut self) -> String {
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service and two STUN servers, each a process of its own.
struct World {
    url: String,
    stun: [String; 2],
    programs: Vec<Program>,
}

impl World {
    fn new() -> Self {
        Self::logging(&[])
    }

    fn logging(log: &[&str]) -> Self {
        let signal = ["--role", "signal", "--listen", "127.0.0.1:0", "--json"];
        let mut signal = Program::start(&[&signal, log].concat());
        let url = signal.json("listening")["url"].as_str().unwrap().to_owned();
        let mut programs = vec![signal];
        let stun = ["127.0.0.81:0", "127.0.0.82:0"].map(|listen| {
            let stun = ["--role", "stun", "--listen", listen, "--json"];
            let mut server = Program::start(&[&stun, log].concat());
            let address = server.json("listening")["stun"]
                .as_str()
                .unwrap()
                .to_owned();
            programs.push(server);
            address
        });
        Self {
            url,
            stun,
            programs,
        }
    }

    fn start(&self, more: &[&str]) -> Program {
        self.start_with(more, &[])
    }

    fn start_with(&self, more: &[&str], environment: &[(&str, &str)]) -> Program {
        let [one, other] = &self.stun;
        let common = [
            "--signal",
            &self.url,
            "--bind",
            "127.0.0.1",
            "--stun",
            one,
            "--stun",
            other,
        ];
        Program::start_with(&[&common, more].concat(), environment)
    }

    fn producer(&self, more: &[&str]) -> Program {
        let mut producer = self.start(&[&["--role", "producer"], more].concat());
        producer.wait_for("");
        producer
    }
}

/// Every word that reads as an address.
fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(|c: char| !(c.is_alphanumeric() || "_.:".contains(c)))
        .flat_map(|word| {
            let bare = word.trim_matches(|c| c == '.' || c == ':');
            [
                word.parse().ok(),
                bare.parse().ok(),
                bare.parse::<SocketAddr>().ok().map(|socket| socket.ip()),
            ]
        })
        .flatten()
        .collect()
}

#[test]
fn three_processes_make_a_path_and_nobody_shows_an_address() {
    let world = World::new();
    let mut producer = world.producer(&["--json", "--log", "debug"]);
    let mut consumer = world.start(&[
        "--attempts",
        "1",
        "--hold",
        "0.3",
        "--json",
        "--log",
        "debug",
    ]);
    let gathered = consumer.json("gathered");
    // from the loopback alone, no server sees the NATs further out
    assert_eq!(gathered["nat_type"], "Unknown");
    assert_eq!(gathered["external_ip"], Value::Null);
    consumer.json("connected");
    consumer.json("path_up");
    let since_path_up = Instant::now();
    // of the datagram alone: not of the wait for a path as well
    let round_trip = consumer.json("echo")["round_trip_ms"].as_f64().unwrap();
    assert!(
        round_trip <= since_path_up.elapsed().as_secs_f64() * 1_000.0 + 200.0,
        "{round_trip}"
    );
    assert!(consumer.json("carried")["received"].as_u64().unwrap() >= 1);
    consumer.json("path_down");
    assert_eq!(consumer.ended().0, Some(0));
    assert!(producer.json("ended")["echoed"].as_u64().unwrap() >= 1);
    producer.signal("-INT");
    assert_eq!(producer.ended().0, Some(0));
    for said in [consumer.everything(), producer.everything()] {
        assert_eq!(addresses(&said), [] as [IpAddr; 0], "{said}");
    }
}

/// Whole attempts over both transports, one that is stopped and one without a service, in every
/// role.
#[test]
fn no_log_of_any_level_shows_an_address() {
    for (level, word) in [
        (None, ""),
        (Some("info"), " INFO "),
        (Some("trace"), "DEBUG "),
    ] {
        let log: Vec<&str> = level
            .into_iter()
            .flat_map(|level| ["--log", level])
            .collect();
        let mut world = World::logging(&log);
        let mut said = Vec::new();
        for transport in ["ice", "data-channel"] {
            let both = [&["--transport", transport], &log[..]].concat();
            let mut producer = world.producer(&[&both[..], &["--slots", "2"]].concat());
            let once = [&both[..], &["--attempts", "1", "--hold", "0.3"]].concat();
            let mut consumer = world.start(&once);
            assert_eq!(consumer.ended().0, Some(0));
            let mut with_a_path = world.start(&both);
            with_a_path.wait_for("the path works");
            for program in [&mut producer, &mut with_a_path] {
                program.signal("-INT");
                assert_eq!(program.ended().0, Some(0));
            }
            for program in [&mut consumer, &mut with_a_path] {
                let all = program.everything();
                assert!(all.contains(word), "{level:?} is on: {all}");
                said.push(all);
            }
            said.push(producer.everything());
        }
        for program in &mut world.programs {
            program.signal("-TERM");
            assert_eq!(program.ended().0, Some(0));
        }
        let mut without_a_service = world.start(&[&log[..], &["--attempts", "1"]].concat());
        assert_eq!(without_a_service.ended().0, Some(1));
        said.push(without_a_service.everything());
        // the line about listening holds the server's own address on purpose
        said.extend(world.programs.iter_mut().map(|program| {
            let lines = program.everything();
            let lines = lines.lines().filter(|line| !line.contains("listening"));
            lines.collect::<Vec<_>>().join("\n")
        }));
        for said in said {
            assert_eq!(addresses(&said), [] as [IpAddr; 0], "{level:?}: {said}");
        }
    }
}

#[test]
fn a_person_reads_a_line_per_step_and_addresses_only_if_asked_for() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let mut consumer = world.start(&["--attempts", "1", "--show-addresses"]);
    for line in [
        "0 Preparing -> 1 Listening  Prepared",
        "1 Listening -> 2 Offering  Chosen",
        "no NAT as far as seen, ",
    ] {
        consumer.wait_for(line);
    }
    assert!(
        consumer.said.last().unwrap().contains("127.0.0.1"),
        "{:?}",
        consumer.said
    );
    for line in [
        "4 Opening -> 5 Established  Opened",
        "path up",
        "the path works: ",
        "path down",
    ] {
        consumer.wait_for(line);
    }
    assert_eq!(consumer.ended().0, Some(0));
}

#[test]
fn a_consumer_that_has_left_makes_no_other_wait_and_the_same_line_works_again_and_again() {
    let world = World::new();
    let _producer = world.producer(&[]);
    for run in 1..=3 {
        let started = Instant::now();
        let mut consumer = world.start(&["--attempts", "1"]);
        assert_eq!(consumer.ended().0, Some(0), "{}", consumer.everything());
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "run {run}: {took:?}");
    }
}

#[test]
fn a_consumer_without_a_volunteer_prints_so() {
    let world = World::new();
    let mut consumer = world.start(&["--attempts", "1"]);
    consumer.wait_for("no volunteer is free");
    let _producer = world.producer(&[]);
    assert_eq!(consumer.ended().0, Some(0), "{}", consumer.everything());
}

/// A server that replies to each connection with these bytes; its port.
fn replies(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(bytes);
        }
    });
    port
}

#[test]
fn a_service_that_fails_is_named_by_its_kind_in_the_line_and_in_the_log_and_by_no_address() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = closed.local_addr().unwrap().port();
    drop(closed);
    let once: &[&str] = &["--attempts", "1"];
    for (port, more, problem) in [
        (refused, once, "refused the connection"),
        (replies(b"SMTP ready\r\n\r\n"), once, "is not HTTP"),
        (
            replies(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
            once,
            "HTTP status 500",
        ),
        (
            replies(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            &[],
            "another server is there",
        ),
        (
            replies(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html>\n"),
            &[],
            "another server is there",
        ),
    ] {
        let url = format!("http://127.0.0.1:{port}/v1/signal");
        let arguments = [
            "--signal",
            &url,
            "--bind",
            "127.0.0.1",
            "--stun",
            "127.0.0.1:9",
        ];
        let mut consumer = Program::start(&[&arguments, more].concat());
        // the line of the program, and the one of its log
        consumer.wait_for(problem);
        consumer.wait_for(problem);
        consumer.signal("-INT");
        consumer.ended();
        let printed = consumer.everything();
        assert!(printed.contains("WARN"), "{printed}");
        assert_eq!(addresses(&printed), [] as [IpAddr; 0], "{printed}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut signal = Program::start(&["--role", "signal", "--listen", &address.to_string()]);
    signal.wait_for(&format!("cannot listen on port {}", address.port()));
    assert_eq!(signal.ended().0, Some(1));
}

#[test]
fn the_data_channel_is_a_transport_as_well_and_slots_are_many() {
    let world = World::new();
    let _producer = world.producer(&["--transport", "data-channel", "--slots", "3"]);
    let mut consumer = world.start(&["--transport", "data-channel", "--slots", "3", "--json"]);
    let mut slots: Vec<u64> = (0..3)
        .map(|_| consumer.json("echo")["slot"].as_u64().unwrap())
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2]);
}

#[test]
fn ctrl_c_and_sigterm_close_everything_within_a_second() {
    for signal in ["-INT", "-TERM"] {
        let mut world = World::new();
        let mut producer = world.producer(&["--slots", "2"]);
        let mut with_a_path = world.start(&["--slots", "2", "--json"]);
        with_a_path.json("echo");
        with_a_path.json("echo");
        // no producer is left for this one
        let mut without = world.start(&["--json"]);
        without.json("moved");
        let ends = |program: &mut Program, who: &str| {
            program.signal(signal);
            let (status, took) = program.ended();
            assert_eq!(status, Some(0), "{who} {signal}: {}", program.everything());
            assert!(took < Duration::from_secs(1), "{who} {signal}: {took:?}");
        };
        ends(&mut with_a_path, "with a path");
        let said = with_a_path.everything();
        assert_eq!(said.matches("\"event\":\"path_down\"").count(), 2, "{said}");
        assert_eq!(said.matches("\"event\":\"stopped\"").count(), 2, "{said}");
        ends(&mut without, "without a path");
        ends(&mut producer, "producer");
        for program in &mut world.programs {
            ends(program, "service");
        }
    }
}

#[test]
fn a_consumer_suspended_for_ten_seconds_goes_on() {
    let world = World::new();
    let _producer = world.producer(&["--slots", "2"]);
    let mut consumer = world.start(&["--json"]);
    consumer.json("echo");
    consumer.signal("-STOP");
    std::thread::sleep(Duration::from_secs(10));
    consumer.signal("-CONT");
    // consent lasts for longer than that (RFC 7675): the path is still there, or a new one is
    if consumer
        .try_wait_for("\"event\":\"path_down\"", Duration::from_secs(5))
        .is_some()
    {
        consumer.json("echo");
    }
    consumer.signal("-TERM");
    let (status, took) = consumer.ended();
    assert!(
        status == Some(0) && took < Duration::from_secs(1),
        "{status:?} {took:?}"
    );
}

/// The next request to a collector, which replies well.
fn request(collector: &TcpListener) -> String {
    let (mut stream, _) = collector.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the request ended early");
        request.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_lowercase();
        let (_, rest) = lower.split_once("content-length: ").unwrap();
        let body: usize = rest.lines().next().unwrap().trim().parse().unwrap();
        // a head is ASCII
        if request.len() >= head.len() + 4 + body {
            break;
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&request).into_owned()
}

#[test]
fn spans_that_a_collector_does_not_take_name_the_cause_and_no_address() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut consumer = world.start_with(&["--attempts", "1", "--hold", "0"], &environment);
    consumer.wait_for("1 spans failed, 0 were dropped: the collector refused the connection");
    consumer.wait_for("the metrics were not exported: the collector refused the connection");
    consumer.ended();
    let printed = consumer.everything();
    assert_eq!(addresses(&printed), [] as [IpAddr; 0], "{printed}");
}

#[test]
fn spans_go_to_the_collector_that_the_environment_names() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let received = std::thread::spawn(move || [request(&collector), request(&collector)]);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut consumer = world.start_with(
        &["--attempts", "1", "--hold", "0", "--external-ip", "omit"],
        &environment,
    );
    assert_eq!(consumer.ended().0, Some(0), "{}", consumer.everything());
    let [text, metrics] = received.join().unwrap();
    assert!(text.starts_with("POST /v1/traces HTTP/1.1"), "{text}");
    assert!(
        metrics.starts_with("POST /v1/metrics HTTP/1.1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("nat_telemetry.attempt.duration"),
        "{metrics}"
    );
    for request in [&text, &metrics] {
        assert!(request.contains("service.version") && request.contains(env!("CARGO_PKG_VERSION")));
    }
    assert!(
        text.contains("nat_success") && !text.contains("nat_external_ip"),
        "{text}"
    );
}

#[test]
fn servers_come_from_a_file_and_no_attempt_with_a_path_is_status_1() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let file = std::env::temp_dir().join(format!("consumer-stun-{}", std::process::id()));
    // no server listens on this port
    std::fs::write(&file, "127.0.0.83:9 # discard\n").unwrap();
    let path = file.to_str().unwrap();
    let arguments = [
        "--signal",
        &world.url,
        "--bind",
        "127.0.0.1",
        "--stun-file",
        path,
        "--attempts",
        "1",
        "--json",
    ];
    let mut consumer = Program::start(&arguments);
    assert_eq!(consumer.json("failed")["reason"], "no_server_answered");
    assert_eq!(consumer.ended().0, Some(1));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_service_that_is_not_there_ends_each_attempt_and_the_last_one_the_program() {
    let started = Instant::now();
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{nowhere}/v1/signal");
    let arguments = [
        "--signal",
        &url,
        "--bind",
        "127.0.0.1",
        "--stun",
        "127.0.0.83:9",
        "--attempts",
        "2",
        "--json",
    ];
    let mut consumer = Program::start(&arguments);
    assert_eq!(consumer.json("failed")["reason"], "signalling");
    assert_eq!(consumer.json("failed")["reason"], "signalling");
    assert_eq!(consumer.ended().0, Some(1));
    assert!(
        started.elapsed() >= Duration::from_secs(5),
        "it backs off in between: {:?}",
        started.elapsed()
    );
}

#[test]
fn servers_that_are_named_are_asked_though_the_file_is_missing() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let mut consumer = world.start(&[
        "--stun-file",
        "/nonexistent/stun",
        "--attempts",
        "1",
        "--hold",
        "0",
        "--json",
    ]);
    consumer.wait_for("--stun-file: ");
    let gathered = consumer.json("gathered");
    assert_eq!(gathered["is_natted"], false, "{gathered}");
    assert_eq!(consumer.ended().0, Some(0));
}

#[test]
fn to_be_stopped_is_no_failure_though_attempts_are_counted_and_none_had_a_path() {
    let world = World::new();
    let mut consumer = world.start(&["--attempts", "5", "--json"]);
    consumer.json("moved");
    consumer.signal("-INT");
    assert_eq!(consumer.ended().0, Some(0), "{}", consumer.everything());
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_consumer"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn wrong_arguments_are_2_and_what_cannot_be_started_is_1() {
    for (arguments, status) in [
        (&["--help"][..], 0),
        (&["-h"], 0),
        (&["-V"], 0),
        (&[], 2),
        (&["--role", "king"], 2),
        (&["--no-such-option", "x"], 2),
        (&["--stun"], 2),
        (&["--stun", "turn:198.51.100.1"], 2),
        (&["--stun", "198.51.100.1", "--slots", "0"], 2),
        (&["--stun", "198.51.100.1", "--hold", "-1"], 2),
        (
            &["--stun", "198.51.100.1", "--signal", "ftp://localhost/"],
            2,
        ),
        (&["--stun", "198.51.100.1", "--transport", "pigeon"], 2),
        (&["--role", "signal", "--connections", "0"], 2),
        (&["--role", "signal", "--per-address", "-1"], 2),
        (&["--role", "signal", "--client-header", "no name"], 2),
        (&["--role", "signal", "--listen", "192.0.2.1:1"], 1),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}");
    }
}

#[test]
fn every_option_can_also_be_set_in_the_environment() {
    let output = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
        command.envs(variables.iter().copied()).output().unwrap()
    };
    let role = output(&[("CONSUMER_ROLE", "king")]);
    assert_eq!(role.status.code(), Some(2));
    let listen = output(&[
        ("CONSUMER_ROLE", "signal"),
        ("CONSUMER_LISTEN", "192.0.2.1:1"),
    ]);
    assert_eq!(listen.status.code(), Some(1), "the role could not start");
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let options = help.lines().filter(|line| line.starts_with("      --"));
    assert_eq!(options.count(), help.matches("[env: CONSUMER_").count());
}

#[cfg(feature = "manual")]
#[test]
fn packagers_get_a_manual_page_and_completions() {
    for (of, holds) in [
        ("man", ".TH consumer"),
        ("bash", "--stun-file"),
        ("fish", "session-id"),
    ] {
        let output = run(&["--manual", of]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains(holds),
            "{of}: {text}"
        );
    }
    assert_eq!(run(&["--manual", "pigeon"]).status.code(), Some(2));
}

#[test]
fn the_lines_of_the_readme_make_a_path() {
    let readme = include_str!("../../README.md");
    let lines: Vec<Vec<&str>> = readme
        .lines()
        .filter_map(|line| {
            line.strip_prefix(
                "$ cargo run --release -p consumer-fsm --features cli --bin consumer -- ",
            )
        })
        .map(|arguments| arguments.split_whitespace().collect())
        .collect();
    assert!(lines.len() >= 3, "README.md: show how to run the program");
    let (last, others) = lines.split_last().unwrap();
    let mut programs = Vec::new();
    for arguments in others {
        let mut program = Program::start(arguments);
        program.wait_for("");
        programs.push(program);
    }
    // again and again, because the volunteer notices that the consumer has left
    for _ in 0..3 {
        let started = Instant::now();
        let mut consumer = Program::start(last);
        consumer.wait_for("the path works: ");
        assert_eq!(consumer.ended().0, Some(0));
        let took = started.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

/// Runs the test `inner` of this file alone in a network of its own, or says why not where that
/// cannot be had.
fn in_a_network_of_its_own(inner: &str) {
    let itself = std::env::current_exe().unwrap();
    let network = ["--map-root-user", "--net"];
    let may = Command::new("unshare")
        .args(network)
        .args(["ip", "link", "set", "lo", "up"])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: no network namespace can be made here, or there is no `ip`");
        return;
    }
    let output = Command::new("unshare")
        .args(network)
        .arg(itself)
        .args(["--exact", inner, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn a_laptop_that_changes_its_network_tells_the_new_verdict() {
    in_a_network_of_its_own("inner_roaming");
}

#[test]
#[ignore = "changes the addresses of the host: only in a network of its own"]
fn inner_roaming() {
    let ip = |line: &str| {
        let output = Command::new("ip")
            .args(line.split_whitespace())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "ip {line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    for line in [
        "link set lo up",
        "addr add 203.0.113.1/32 dev lo",
        "addr add 203.0.113.2/32 dev lo",
        "addr add 203.0.113.3/32 dev lo",
        "link add wifi type veth peer name wifi-ap",
        "link set wifi up",
        "link set wifi-ap up",
        "addr add 198.51.100.10/24 dev wifi",
        "route add default via 198.51.100.1",
    ] {
        ip(line);
    }
    let mut service = Program::start(&["--role", "signal", "--listen", "203.0.113.3:9000"]);
    let servers = ["203.0.113.1:3478", "203.0.113.2:3478"];
    let mut stun = servers.map(|listen| Program::start(&["--role", "stun", "--listen", listen]));
    service.wait_for("listening");
    stun.iter_mut()
        .for_each(|server| drop(server.wait_for("listening")));
    let url = "http://203.0.113.3:9000/v1/signal";
    let mut producer = Program::start(&[
        "--role",
        "producer",
        "--signal",
        url,
        "--bind",
        "203.0.113.3",
        "--slots",
        "2",
    ]);
    producer.wait_for("waiting");
    let [one, other] = servers;
    let mut consumer = Program::start(&[
        "--signal",
        url,
        "--stun",
        one,
        "--stun",
        other,
        "--json",
        "--show-addresses",
    ]);
    assert_eq!(consumer.json("gathered")["external_ip"], "198.51.100.10");
    consumer.json("path_up");
    // a second network, and the default route leads there: the path stays, the verdict is a new one
    ip("link add lte type veth peer name lte-mast");
    ip("link set lte up");
    ip("link set lte-mast up");
    ip("addr add 192.0.2.10/24 dev lte");
    ip("route replace default via 192.0.2.1");
    assert_eq!(consumer.json("roamed")["external_ip"], "192.0.2.10");
    assert!(
        !consumer.said.iter().any(|line| line.contains("path_down")),
        "{:#?}",
        consumer.said
    );
    // the first network goes, and the path with it
    ip("link del wifi");
    consumer.json("path_down");
    assert_eq!(consumer.json("roamed")["external_ip"], "192.0.2.10");
    consumer.json("path_up");
    consumer.signal("-INT");
    assert_eq!(consumer.ended().0, Some(0));
}
