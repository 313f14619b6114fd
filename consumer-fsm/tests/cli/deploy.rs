//! The files with which operators run the program.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::Program;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let folder = std::env::temp_dir().join(format!("consumer-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let unit = folder.join("consumer.service");
    let installed = "/usr/local/bin/consumer";
    let text = file("consumer.service");
    assert!(text.contains(&format!("ExecStart={installed}\n")));
    // the program that was just built, in place of an installed one
    std::fs::write(
        &unit,
        text.replace(installed, env!("CARGO_BIN_EXE_consumer")),
    )
    .unwrap();
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output();
    std::fs::remove_dir_all(&folder).unwrap();
    let Ok(verify) = verify else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&verify.stderr);
    let of_ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("consumer"))
        .collect();
    // the page exists where the program was installed from its archive
    let of_ours: Vec<_> = of_ours
        .iter()
        .filter(|line| !line.contains("man consumer(1)"))
        .collect();
    assert!(of_ours.is_empty(), "{said}");
}

#[test]
fn each_variable_of_the_environment_file_is_one_of_the_program() {
    let mut help = Program::start(&["--help"]);
    let help = help.everything();
    let text = file("consumer.env");
    let lines = text.lines().map(|line| line.trim_start_matches('#'));
    let names: BTreeSet<&str> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(help.contains(name), "{name}: {help}");
    }
}
