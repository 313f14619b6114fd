//! The example is a whole program, and has its verdict before the stack has finished gathering.

use std::process::Command;

#[test]
fn the_verdict_comes_before_the_stack_has_finished_gathering() {
    let output = Command::new(env!("CARGO_BIN_EXE_webrtc-021"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut lines = text.lines();
    assert!(
        lines.next().is_some_and(|line| line.contains("cone NAT")),
        "{text}"
    );
    assert!(
        lines
            .next()
            .is_some_and(|line| line.ends_with("has finished gathering")),
        "{text}"
    );
}
