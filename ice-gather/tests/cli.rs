//! The program as a person runs it, against servers on loopback.

use std::process::{Command, Output};

use ice_gather::responder::{Manner, Responder, TwoAddresses};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ice-gather"))
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_shows_the_mapping_that_each_server_saw_and_its_meaning() {
    let honest = [
        Responder::bind("127.0.0.41:0").await.unwrap(),
        Responder::bind("127.0.0.42:0").await.unwrap(),
    ];
    let silent = Responder::bind_with("127.0.0.43:0", Manner::Silent)
        .await
        .unwrap();
    let servers =
        [&honest[0], &honest[1], &silent].map(|server| format!("stun:{}", server.address()));
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();

    let text = run(&servers);
    let output_text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.status.code(), Some(0));
    assert!(
        output_text.contains("no NAT as far as seen, ")
            && output_text.contains("Not decided: no server saw this host from outside"),
        "{output_text}"
    );

    assert!(
        output_text.contains("Verdict: ") && output_text.contains("5 packets."),
        "{output_text}"
    );

    let json = run(&[&["--json"], &servers[..]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["schema"], &json["interrupted"]),
        (&1.into(), &false.into())
    );
    let verdict = json["verdict"].as_str().unwrap();
    assert!(
        output_text.contains(verdict.split(", ").next().unwrap()),
        "{verdict}: {output_text}"
    );
    assert_eq!(json["bases"][0]["rule"], "servers_agree");
    assert_eq!(json["summary"]["nat_type"], "Unknown");
    assert_eq!(json["summary"]["is_natted"], false);
    let elapsed = json["elapsed_ms"].as_f64().unwrap();
    assert!(
        (1_000.0..2_500.0).contains(&elapsed),
        "a slow server is told from a dead one: {elapsed}"
    );
    assert_eq!(json["evidence"]["answered"], 2);
    let server = &json["servers"][0];
    assert_eq!(server["outcome"], "answered");
    assert_eq!(server["base"], server["mapped"]);
    assert_eq!(server["sent"], 1);
    assert!(server["rtt_ms"].is_f64() && json["elapsed_ms"].is_f64());

    let file = std::env::temp_dir().join(format!("ice-gather-servers-{}", std::process::id()));
    std::fs::write(&file, format!("# a comment\n{}  # alive\n\n", servers[0])).unwrap();
    let from_file = run(&["--json", "--from-file", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let from_file: serde_json::Value = serde_json::from_slice(&from_file.stdout).unwrap();
    assert_eq!(from_file["servers"].as_array().unwrap().len(), 1);
    assert_eq!(from_file["servers"][0]["name"], serde_json::Value::Null);

    let piped = Command::new("sh")
        .args([
            "-c",
            "echo \"$SERVER # piped\" | \"$PROGRAM\" --json --from-file -",
        ])
        .env("PROGRAM", env!("CARGO_BIN_EXE_ice-gather"))
        .env("SERVER", servers[0])
        .output()
        .unwrap();
    let piped: serde_json::Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(piped["servers"].as_array().unwrap().len(), 1);
}

/// A script asks for the type by the exit status.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_exit_status_is_the_type_where_that_is_asked_for() {
    let server = Responder::bind("127.0.0.49:0").await.unwrap();
    let server = server.address().to_string();
    assert_eq!(run(&["--exit-code", &server]).status.code(), Some(17));
    assert_eq!(run(&[&server]).status.code(), Some(0));
}

#[test]
fn an_error_names_the_thing_that_is_wrong() {
    for (arguments, said) in [
        (&["http://x"][..], "http://x"),
        (&["http://x"], "stun:HOST:PORT"),
        (&["stun:host:0"], "the port is no number from 1 to 65535"),
        (
            &["--interface", "nope0", "198.51.100.1"],
            "there is no interface nope0",
        ),
        (&["--interface", "nope0", "198.51.100.1"], "there are: "),
        (
            &["-6", "198.51.100.1"],
            "198.51.100.1:3478 cannot be asked over IPv6 alone",
        ),
        (&["-4", "2001:db8::1"], "cannot be asked over IPv4 alone"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(said) && !output.status.success(),
            "{arguments:?}: {error}"
        );
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ctrl_c_prints_what_was_heard_so_far() {
    let server = Responder::bind("127.0.0.50:0").await.unwrap();
    let silent = Responder::bind_with("127.0.0.51:0", Manner::Silent)
        .await
        .unwrap();
    let servers = [&server, &silent].map(|server| server.address().to_string());
    for arguments in [&[][..], &["--json"]] {
        let heard = server.requests();
        let program = Command::new(env!("CARGO_BIN_EXE_ice-gather"))
            .args(arguments)
            .args(["--all", "--timeout", "600"])
            .args(&servers)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while server.requests() == heard {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // the answer is on its way
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let pid = program.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        let output = program.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(130), "{text}");
        if arguments.is_empty() {
            assert!(
                text.contains("answered") && text.contains("interrupted"),
                "{text}"
            );
        } else {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["interrupted"], true);
            assert_eq!(json["servers"][0]["outcome"], "answered");
            assert_eq!(json["evidence"]["answered"], 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn filtering_is_found_out_only_when_asked_for() {
    let mut sockets = Vec::new();
    for address in [
        "127.0.0.61:34780",
        "127.0.0.61:34790",
        "127.0.0.62:34780",
        "127.0.0.62:34790",
    ] {
        sockets.push(tokio::net::UdpSocket::bind(address).await.unwrap());
    }
    let [a, b, c, d] = <[_; 4]>::try_from(sockets).ok().unwrap();
    let two_addresses = TwoAddresses::on_carriers([[a, b], [c, d]]).unwrap();
    let server = two_addresses.address().to_string();
    let found = |arguments: &[&str]| {
        let json: serde_json::Value = serde_json::from_slice(&run(arguments).stdout).unwrap();
        json["summary"]["filtering_behavior"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(found(&["--json", "--timeout", "1", &server]), "unspecified");
    assert_eq!(
        found(&["--json", "--timeout", "1", "--filtering", &server]),
        "independent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn silent_servers_of_this_host_are_no_failure_and_no_firewall() {
    let silent = [
        Responder::bind_with("127.0.0.44:0", Manner::Silent)
            .await
            .unwrap(),
        Responder::bind_with("127.0.0.45:0", Manner::Silent)
            .await
            .unwrap(),
    ];
    let [a, b] = silent.each_ref().map(|server| server.address().to_string());
    let output = run(&["--json", "--timeout", "0.6", &a, &b]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["summary"]["nat_type"], "Unknown");
    for server in json["servers"].as_array().unwrap() {
        assert_eq!(
            (&server["outcome"], &server["sent"]),
            (&"timed_out".into(), &2.into())
        );
    }
}

/// A second is longer than any live server takes, and worth the truth to a person.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_answers_after_half_a_second_is_waited_for() {
    let fast = [
        Responder::bind("127.0.0.46:0").await.unwrap(),
        Responder::bind("127.0.0.47:0").await.unwrap(),
    ];
    let slow = tokio::net::UdpSocket::bind("127.0.0.48:0").await.unwrap();
    let address = slow.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let (n, source) = slow.recv_from(&mut buffer).await.unwrap();
        let id = ice_gather::stun::Header::peek(&buffer[..n]).unwrap().id;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let answer = ice_gather::responder::success(id, source);
        slow.send_to(&answer, source).await.unwrap();
    });
    let [a, b] = fast.each_ref().map(|server| server.address().to_string());
    let output = run(&["--json", &a, &b, &address.to_string()]);
    answering.await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["evidence"]["answered"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_name_is_shown_as_given_beside_its_address_and_an_error_by_its_code() {
    let refusing = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = refusing.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let (_, source) = refusing.recv_from(&mut buffer).await.unwrap();
        // ERROR-CODE 420
        let head = [0x01, 0x11, 0, 8, 0x21, 0x12, 0xA4, 0x42];
        let answer = [&head, &buffer[8..20], &[0, 9, 0, 4, 0, 0, 4, 20]].concat();
        refusing.send_to(&answer, source).await.unwrap();
    });
    let output = run(&[
        "-4",
        "--interface",
        "lo",
        "--timeout",
        "1",
        &format!("localhost:{port}"),
        "no-such-host.invalid",
    ]);
    server.await.unwrap();
    let output_text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output_text.contains(&format!("localhost:{port} (127.0.0.1)  refused (420)  ")),
        "{output_text}"
    );
    assert!(
        output_text.contains("no-such-host.invalid:3478"),
        "{output_text}"
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "live lines are for terminals");

    let nothing = String::from_utf8(run(&["no-such-host.invalid"]).stdout).unwrap();
    assert!(
        nothing.contains("No server's name could be resolved") && nothing.contains("Not decided"),
        "{nothing}"
    );
}

#[test]
fn wrong_arguments_are_2_and_no_socket_is_1() {
    for (arguments, status) in [
        (&["--help"][..], 0),
        (&["-h"], 0),
        (&["--version"], 0),
        (&["-V"], 0),
        (&["turn:198.51.100.1"], 2),
        (&["--no-such-option"], 2),
        (&["--timeout", "never", "127.0.0.1"], 2),
        (&["--timeout", "-1", "127.0.0.1"], 2),
        (&["--from-file", "/no/such/file"], 2),
        (&["-4", "-6", "127.0.0.1"], 2),
        (&["--from-capture", "capture.pcap", "127.0.0.1"], 2),
        (&["--redact"], 2),
        (&["--redact", "127.0.0.1"], 2),
        (&["--from-capture", "/no/such/file"], 1),
        (&["--from-capture", "/dev/null"], 1),
        (&["--interface", "no-such-interface", "127.0.0.1"], 1),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), status == 0, "{arguments:?}");
    }
}

/// One request and its answer, as `tcpdump` writes them.
fn capture() -> Vec<u8> {
    let udp = |from: [u8; 4], to: [u8; 4], ports: [u16; 2], hops, stun: &[u8]| {
        let length = u8::try_from(stun.len()).unwrap();
        let [f, t] = ports.map(u16::to_be_bytes);
        let ip = [0x45, 0, 0, 28 + length, 0, 1, 0x40, 0, hops, 17, 0, 0];
        [&ip[..], &from, &to, &f, &t, &[0, 8 + length, 0, 0], stun].concat()
    };
    let (host, server) = ([192, 168, 7, 5], [198, 51, 100, 1]);
    let request = b"\x00\x01\x00\x00\x21\x12\xA4\x42a random id.";
    // 203.0.113.7:50000
    let answer = b"\x01\x01\x00\x0c\x21\x12\xA4\x42a random id.\x00\x20\x00\x08\x00\x01\xe2\x42\xea\x12\xd5\x45";
    let packets = [
        udp(host, server, [50_000, 3478], 64, request),
        udp(server, host, [3478, 50_000], 51, answer),
    ];
    let mut file = [&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0][..], &[0; 8]].concat();
    file.extend([0xff, 0xff, 0, 0, 101, 0, 0, 0]);
    for packet in packets {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        file.extend([&[1, 0, 0, 0, 0, 0, 0, 0][..], &length, &length, &packet].concat());
    }
    file
}

#[test]
fn a_capture_is_judged_and_its_addresses_can_be_redacted() {
    let file = std::env::temp_dir().join(format!("ice-gather-capture-{}", std::process::id()));
    std::fs::write(&file, capture()).unwrap();
    let path = file.to_str().unwrap();
    let text = String::from_utf8(run(&["--from-capture", path]).stdout).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["--from-capture", path, "--json"]).stdout).unwrap();
    let redacted = run(&["--from-capture", path, "--redact"]).stdout;
    let redacted = String::from_utf8(redacted).unwrap();
    let piped = Command::new("sh")
        .args([
            "-c",
            "\"$PROGRAM\" --from-capture - --json --redact < \"$FILE\"",
        ])
        .env("PROGRAM", env!("CARGO_BIN_EXE_ice-gather"))
        .env("FILE", path)
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();

    for shown in [
        "Host 192.168.7.5",
        "198.51.100.1:3478  192.168.7.5:50000  answered",
        "203.0.113.7:50000",
        "Verdict: NAT of unknown type",
        "Not decided: fewer than two server addresses answered",
        "2 packets.",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let host = &json["hosts"][0];
    assert_eq!(host["host"], "192.168.7.5");
    assert_eq!(host["summary"]["is_natted"], true);
    assert_eq!(host["summary"]["external_ip"], "203.0.113.7");
    assert_eq!(host["summary"].as_object().unwrap().len(), 6);
    assert_eq!(host["servers"][0]["mapped"], "203.0.113.7:50000");
    assert_eq!(host["evidence"]["answered"], 1);
    assert_eq!(json["capture"]["packets"], 2);
    assert_eq!(json["capture"]["unread"], 0);
    assert_eq!(json["capture"]["damage"], serde_json::Value::Null);

    let piped_text = String::from_utf8(piped.stdout).unwrap();
    let piped: serde_json::Value = serde_json::from_str(&piped_text).unwrap();
    let ip = piped["hosts"][0]["host"].as_str().unwrap();
    assert!(ip.starts_with("192.168."), "a private address stays one");
    for output in [&redacted, &piped_text] {
        for address in ["192.168.7.5", "198.51.100.1", "203.0.113.7"] {
            assert!(!output.contains(address), "{address}: {output}");
        }
    }
    assert!(redacted.contains("Verdict: NAT of unknown type"));
}

/// Attempts between real stacks, captured by `cargo xtask lab censors --keep`: one that opened, one whose
/// ClientHello a censor dropped, and one that froze. Beside each capture stands its report. `UPDATE=1` in the
/// environment writes the reports anew.
#[test]
fn the_course_of_real_attempts_is_reported_in_plain_words() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/attempts");
    for name in ["open", "hello-dropped", "frozen"] {
        let file = |kind: &str| format!("{folder}/{name}.{kind}");
        let output = run(&["--from-capture", &file("pcap")]);
        assert_eq!(output.status.code(), Some(0), "{name}");
        let report = String::from_utf8(output.stdout).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file("txt"), &report).unwrap();
        }
        let kept = std::fs::read_to_string(file("txt")).unwrap();
        assert_eq!(report, kept, "{name}");
    }
}

#[cfg(feature = "manual")]
#[test]
fn packagers_get_a_manual_page_and_completions() {
    for (of, holds) in [
        ("man", ".TH ice-gather"),
        ("bash", "--from-file"),
        ("zsh", "#compdef ice-gather"),
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

/// What `script` prints in a network of its own, and its status; `None`: no such thing here, or no
/// `probe` in it.
#[cfg(target_os = "linux")]
fn in_a_network_of_its_own(probe: &str, script: &str) -> Option<Output> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--map-root-user",
            "--net",
            "bash",
            "-ec",
            &format!("ip link set lo up\n{script}"),
        ]);
        command
            .env("PROGRAM", env!("CARGO_BIN_EXE_ice-gather"))
            .output()
    };
    if !unshare(probe).is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: no network namespace, or `{probe}` cannot run");
        return None;
    }
    Some(unshare(script).unwrap())
}

/// The JSON of the program there.
#[cfg(target_os = "linux")]
fn in_a_network(probe: &str, script: &str) -> Option<serde_json::Value> {
    let output = in_a_network_of_its_own(probe, script)?;
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_a_network_is_told_so() {
    let Some(output) = in_a_network_of_its_own("true", "exec \"$PROGRAM\"") else {
        return;
    };
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("this machine has no network"), "{error}");
}

/// An address comes, and the default route with it, changes, and goes again.
#[cfg(target_os = "linux")]
#[test]
fn watching_prints_what_a_change_of_the_network_changed() {
    const NETWORK: &str = r#"
        ip link add d0 type veth peer name d1
        ip link set d0 up
        ip link set d1 up
        "$PROGRAM" --watch $FORM -4 --timeout 0.3 198.51.100.1 > "$OUT" &
        # longer than two looks of a second, with time to ask
        sleep 4
        ip address add 10.9.0.1/24 dev d0
        ip route add default via 10.9.0.254
        sleep 4
        ip address add 10.9.0.7/32 dev d0
        ip route replace default via 10.9.0.254 src 10.9.0.7
        sleep 4
        kill -INT $!
        wait $!
        cat "$OUT"
        rm "$OUT"
    "#;
    let probe = "ip link add d0 type veth peer name d1";
    let script = |form: &str| {
        let out =
            std::env::temp_dir().join(format!("ice-gather-watch{form}-{}", std::process::id()));
        format!("FORM={form}\nOUT={}\n{NETWORK}", out.display())
    };
    let [text, json] = std::thread::scope(|scope| {
        ["", "--json"]
            .map(|form| scope.spawn(move || in_a_network_of_its_own(probe, &script(form))))
            .map(|run| run.join().unwrap())
    });
    let (Some(text), Some(json)) = (text, json) else {
        return;
    };
    assert_eq!((text.status.code(), json.status.code()), (Some(0), Some(0)));
    let text = String::from_utf8(text.stdout).unwrap();
    for said in [
        "Verdict: no network",
        "IPv4 address: 10.9.0.1 (before: none)",
        "IPv4 address: 10.9.0.7 (before: 10.9.0.1)",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(
        text.matches("Verdict: ").count(),
        2,
        "what stays is not said again: {text}"
    );
    let json = String::from_utf8(json.stdout).unwrap();
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{json}");
    assert_eq!(lines[0]["network"], false);
    assert_eq!(lines[1]["summary"]["nat_type"], "Unknown");
}

/// The kernel answers for five servers in a network of its own: each in another way, one not at
/// all.
#[cfg(target_os = "linux")]
#[test]
fn an_icmp_error_about_a_server_is_no_silence() {
    const NETWORK: &str = r#"
        nft add table inet t
        nft add chain inet t in '{ type filter hook input priority 0; }'
        on() { nft add rule inet t in ip daddr 127.0.0.$1 udp dport 3478 "${@:2}"; }
        on 1 reject with icmp type port-unreachable
        on 2 reject with icmp type admin-prohibited
        on 3 reject with icmp type host-unreachable
        on 4 reject with icmp type net-unreachable
        on 5 drop
        exec "$PROGRAM" --json --interface lo -4 --timeout 0.6 stun:127.0.0.{1,2,3,4,5}
    "#;
    let Some(json) = in_a_network("nft list ruleset", NETWORK) else {
        return;
    };
    let servers = json["servers"].as_array().unwrap();
    let outcomes: Vec<_> = servers
        .iter()
        .map(|s| (s["outcome"].as_str().unwrap(), s["sent"].as_u64().unwrap()))
        .collect();
    // a hard error ends the request; a soft one may pass, so it is asked again, and is no time-out
    // in the end
    let [hard, soft] = [("unreachable", 1), ("unreachable", 2)];
    assert_eq!(outcomes, [hard, hard, soft, soft, ("timed_out", 2)]);
}

/// A queue without room loses the copy, and no server was asked: that is no firewall.
#[cfg(target_os = "linux")]
#[test]
fn a_queue_without_room_is_no_firewall() {
    const NETWORK: &str = r#"
        tc qdisc add dev lo root tbf rate 8kbit burst 40 limit 1
        exec "$PROGRAM" --json --interface lo -4 --timeout 0.6 stun:127.0.0.{1,2}
    "#;
    let room = "tc qdisc add dev lo root tbf rate 8kbit burst 40 limit 1";
    let Some(json) = in_a_network(room, NETWORK) else {
        return;
    };
    assert_eq!(
        (&json["summary"]["nat_type"], &json["servers"][0]["sent"]),
        (&"Unknown".into(), &0.into())
    );
}
