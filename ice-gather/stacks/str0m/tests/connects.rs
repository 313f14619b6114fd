//! The example is a whole program: it gathers, connects, and has the verdict.

use std::process::Command;

#[test]
fn the_example_connects_and_shows_the_nat() {
    let output = Command::new(env!("CARGO_BIN_EXE_str0m-observed"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    for line in [
        "the peer answered: hello",
        "the NAT: cone NAT, port changed, 2 of 2 servers agree",
    ] {
        assert!(text.lines().any(|written| written == line), "{text}");
    }
    assert!(text.trim_end().ends_with(", verified"), "{text}");
}
