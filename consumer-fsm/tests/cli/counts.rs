//! The counts of a run: status line, closing table, metrics endpoint; and the file of options.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::output::free_port;
use crate::{Program, World};

#[test]
fn a_run_of_counted_attempts_ends_with_a_table() {
    let world = World::new();
    let _producer = world.producer(&["--slots", "2"]);
    let mut consumer = world.start(&["--attempts", "2"]);
    assert_eq!(consumer.ended().0, Some(0));
    let said = consumer.everything();
    let table = said.split("\n\n").last().unwrap();
    for row in [
        "attempts           2",
        "connected          2",
        "  median",
        "  95th percentile",
    ] {
        assert!(table.contains(row), "{row}: {said}");
    }
    let mut consumer = world.start(&["--attempts", "1", "--json"]);
    let counts = consumer.json("closing");
    assert_eq!(
        (&counts["attempts"], &counts["connected"]),
        (&1.into(), &1.into())
    );
    assert_eq!(consumer.ended().0, Some(0));
}

#[test]
fn several_slots_share_a_status_line_and_each_speaks_where_that_is_asked_for() {
    let world = World::new();
    let _producer = world.producer(&["--slots", "4"]);
    let mut terse = world.start(&["--slots", "2"]);
    let line = terse.wait_for("2 of 2 paths up");
    assert!(line.contains("2 attempts, 2 connected (median "), "{line}");
    terse.signal("-TERM");
    assert_eq!(terse.ended().0, Some(0));
    let said = terse.everything();
    assert!(!said.contains("slot 1"), "{said}");
    let mut verbose = world.start(&["--slots", "2", "--verbose"]);
    verbose.wait_for("slot 1");
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn supervisors_and_prometheus_read_the_counts_from_an_endpoint_without_addresses() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let port = free_port();
    let mut consumer = world.start(&["--health", &format!("127.0.0.1:{port}"), "--json"]);
    consumer.json("echo");
    let health = get(port, "/healthz");
    let (head, body) = health.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{health}");
    let counts: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&counts["paths_up"], &counts["connected"]),
        (&1.into(), &1.into())
    );
    let metrics = get(port, "/metrics");
    assert!(metrics.contains("\nconsumer_paths_up 1\n"), "{metrics}");
    assert!(get(port, "/other").starts_with("HTTP/1.1 404"));
    for answer in [health, metrics] {
        assert!(crate::addresses(&answer).is_empty(), "{answer}");
    }
    // a client that says nothing takes one of sixteen places, for five seconds
    let idle: Vec<_> = (0..8)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert!(get(port, "/healthz").starts_with("HTTP/1.1 200"));
    drop(idle);
    consumer.signal("-TERM");
    assert_eq!(consumer.ended().0, Some(0));
}

#[test]
fn options_come_from_a_file_where_neither_arguments_nor_environment_have_them() {
    let world = World::new();
    let _producer = world.producer(&[]);
    let file = std::env::temp_dir().join(format!("consumer-options-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let [one, other] = &world.stun;
    let text = format!(
        "# a consumer\nsignal = {}\nstun = {one},{other}\nbind=127.0.0.1\njson\nverbose = false\n\
         attempts = 3\nslots = 7\n",
        world.url
    );
    std::fs::write(&file, text).unwrap();
    let environment = [("CONSUMER_SLOTS", "1")];
    let mut consumer = Program::start_with(&["--config", path, "--attempts", "1"], &environment);
    let counts = consumer.json("closing");
    assert_eq!(
        (&counts["attempts"], &counts["slots"]),
        (&1.into(), &1.into())
    );
    assert_eq!(consumer.ended().0, Some(0));
    for (text, said) in [
        ("no-such-option = 1\n", "--no-such-option"),
        (
            "\nSTUN = 1\n",
            "line 2: an option as NAME = VALUE is needed",
        ),
        ("slots = none\n", "a number from 1 to 100000 is needed"),
    ] {
        std::fs::write(&file, text).unwrap();
        let mut refused = Program::start(&["--config", path, "--stun", one]);
        assert_eq!(refused.ended().0, Some(2));
        let output = refused.everything();
        assert!(output.contains(said), "{said}: {output}");
    }
    std::fs::remove_file(&file).unwrap();
    let mut refused = Program::start(&["--config", path]);
    assert_eq!(refused.ended().0, Some(2));
}
