//! `docs/faults.md`, made from the list and held to it.

use std::fmt::Write;
use std::path::Path;

use crate::FAULTS;

fn fresh() -> String {
    let mut text = String::from(
        "# What goes wrong, and what happens then\n\n\
         Each row is a test of its name: `cargo test -p consumer-fsm --all-features --test faults`. A test walks its fault again and\n\
         again in a process of its own, over real sockets, and fails if that transition does not come, if another span does, or\n\
         if each time around leaves one task, one descriptor or one heap byte behind. *Transition* reads: state, event, state\n\
         after it. Where the clock steps, it takes `libfaketime`, and without it those rows are skipped.\n\n\
         This file is written by the test `table::is_what_the_tests_say`, from the list in `tests/faults/main.rs`.\n",
    );
    let mut group = "";
    for (number, fault) in FAULTS.iter().enumerate() {
        if fault.group != group {
            group = fault.group;
            let _ = write!(
                text,
                "\n## {group}\n\n| | what happens | transition | span | left behind | test |\n|--:|---|---|---|--:|---|\n"
            );
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | 0 | `{}` |",
            number + 1,
            fault.what,
            fault.leads_to,
            fault.span,
            fault.name
        );
    }
    text
}

#[test]
fn is_what_the_tests_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let fresh = fresh();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == fresh,
        "consumer-fsm/docs/faults.md is not the list of tests/faults/main.rs any more; to renew it:\n\
         UPDATE=1 cargo test -p consumer-fsm --all-features --test faults table"
    );
}

#[test]
fn has_forty_rows_and_more() {
    assert!(FAULTS.len() >= 40, "{}", FAULTS.len());
}
