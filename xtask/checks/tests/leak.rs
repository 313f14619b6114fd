//! The leak check, against planted leaks.

use std::process::Command;

#[test]
fn a_byte_a_task_and_a_descriptor_per_cycle_and_a_panic_are_each_caught() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask-checks"))
        .args(["leak", "--self-test", "--json"])
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = told["paths"].as_array().unwrap();
    let verdicts: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["path"].as_str().unwrap(),
                row["verdict"].as_str().unwrap(),
            )
        })
        .collect();
    let planted = [
        "planted: a byte",
        "planted: a task",
        "planted: a descriptor",
        "planted: a panic",
    ];
    let caught = planted.map(|path| (path, "caught"));
    assert_eq!(verdicts, caught, "{told:#}");
    assert!(output.status.success());
}
