//! The example, run as a person runs it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Exit code, standard output, standard error.
fn summarize(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--features",
            "serde",
            "--example",
            "summarize",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_vectors_are_answered_in_order_with_their_evidence() {
    let vectors = include_str!("../data/summary.json");
    let (code, out, err) = summarize(&[], vectors);
    assert_eq!((code, err.as_str()), (0, ""));
    let cases: Vec<Value> = serde_json::from_str(vectors).unwrap();
    let answers: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(answers.len(), cases.len());
    for (answer, case) in answers.iter().zip(&cases) {
        for (key, expected) in case["expect"].as_object().unwrap() {
            assert_eq!(&answer[key], expected, "{}: {key}", case["name"]);
        }
        assert!(answer["evidence"]["rule"].is_string());
    }
}

const SDP: &str = "v=0\r\n\
    a=candidate:1 1 udp 2130706431 192.168.1.5 50000 typ host\r\n\
    a=candidate:2 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n\
    a=candidate:3 1 udp 1694498815 203.0.113.7 50000 typ srflx raddr 192.168.1.5 rport 50000\r\n";

#[test]
fn text_is_answered_by_a_line_or_by_json() {
    let (code, out, _) = summarize(&[], SDP);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "NAT of unknown type, port kept, 203.0.113.7, 1 reflexive candidate\n"
        ),
        "a text repeats itself"
    );
    // the description once more, as a dump has it, changes nothing
    let (_, again, _) = summarize(&[], &SDP.repeat(2));
    assert_eq!(again, out);
    let (code, out, _) = summarize(&["--json"], SDP);
    let verdict: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &verdict["nat_type"]), (0, &"Unknown".into()));
    let moved = SDP.replacen("7 50000 typ srflx", "7 50001 typ srflx", 1);
    let (_, out, _) = summarize(&[], &moved);
    assert_eq!(
        out,
        "symmetric NAT, port changed, 203.0.113.7, 2 reflexive candidates differ\n"
    );
    let values = r#"[{"candidate":"candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr 10.0.0.1 rport 5","sdpMid":"0"}]"#;
    let (code, out, _) = summarize(&[], values);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "NAT of unknown type, port kept, 203.0.113.7, 1 reflexive candidate\n"
        )
    );
    let dump = r#"{"type":"addIceCandidate","value":"candidate:9 1 udp 1 203.0.113.99 6 typ srflx raddr 10.0.0.9 rport 5"},
        {"type":"icecandidate","value":"candidate:2 1 udp 1 203.0.113.7 5 typ srflx raddr 0.0.0.0 rport 5"}"#;
    let (_, out, _) = summarize(&[], dump);
    assert_eq!(
        out,
        "this host: unknown, 203.0.113.7, 1 reflexive candidate\n\
         peer: NAT of unknown type, port changed, 203.0.113.99, 1 reflexive candidate\n",
        "the peer's candidates say nothing of this host"
    );
    let (_, out, _) = summarize(&["--json"], dump);
    let verdict: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&verdict["external_ip"], &verdict["peer"]["external_ip"]),
        (&"203.0.113.7".into(), &"203.0.113.99".into())
    );
    // the object of a statistic is no case
    let stats = r#"[{"type":"local-candidate","candidateType":"srflx","ip":"203.0.113.7","port":5,"protocol":"udp"}]"#;
    let (_, out, _) = summarize(&[], stats);
    assert_eq!(out, "unknown, 203.0.113.7, 1 reflexive candidate\n");
}

#[test]
fn bad_input_is_told_on_standard_error_with_exit_code_2() {
    for (arguments, input, message) in [
        (&[][..], "[{", "bad JSON"),
        (&[], "[{}]", "case 0: either `candidates` or `evidence`"),
        (
            &[],
            r#"[{"evidence":{"servers":[{"server":"x","outcome":"answered"}]}}]"#,
            "`x` is no server",
        ),
        (
            &[],
            r#"[{"evidence":{"servers":[{"server":"x:1","outcome":"bored"}]}}]"#,
            "unknown variant `bored`",
        ),
        (&[], "", "no candidate"),
        (&[], "[12:00] nothing here", "no candidate"),
        (&["--yaml"], SDP, "unexpected argument"),
        (&["nowhere.sdp"], "", "nowhere.sdp: No such file"),
    ] {
        let (code, out, err) = summarize(arguments, input);
        assert_eq!((code, out.as_str()), (2, ""), "{input}");
        assert!(err.contains(message), "{err}");
    }
}

#[test]
fn several_files_are_answered_under_their_names_and_a_bad_one_stops_none() {
    let android = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/cases/c01_android.log"
    );
    let (code, out, err) = summarize(&[android, "nowhere.sdp", "-"], SDP);
    assert_eq!(code, 2);
    assert!(out.starts_with(&format!("{android}:\n")), "{out}");
    assert!(
        out.contains("\nstandard input:\nNAT of unknown type"),
        "{out}"
    );
    assert!(err.starts_with("nat-summary: nowhere.sdp: "), "{err}");
}
