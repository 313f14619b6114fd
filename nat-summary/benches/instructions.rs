//! Instructions per verdict and per line, counted by callgrind where valgrind is present: figures
//! that do not depend on how busy the machine is.

#[path = "shared/datagrams.rs"]
mod datagrams;
mod shared;

use std::hint::black_box;
use std::process::Command;

use datagrams::Datagrams;
use nat_summary::{Candidate, Evidence};
use shared::{
    Baseline, REFLEXIVE, baseline_servers, five_servers, judge_candidates, judge_servers,
    of_evidence, six_candidates,
};

const RUNS: [u64; 2] = [1_000, 3_000];

fn run(what: &str, times: u64) -> bool {
    let (candidates, observations) = (six_candidates(), five_servers());
    let evidence = Evidence::from_candidates(candidates.iter().copied());
    assert_eq!(
        Baseline::from_candidates(&candidates).judge(),
        of_evidence(&evidence),
        "the two do the same"
    );
    let mut observed = Datagrams::new();
    for _ in 0..times {
        match what {
            what if datagrams::ALL.contains(&what) => {
                observed.hand_in(what);
            }
            "judge 6 candidates" => {
                black_box(judge_candidates(black_box(&candidates)));
            }
            "judge 6 candidates, hash maps" => {
                black_box(Baseline::from_candidates(black_box(&candidates)).judge());
            }
            "judge 5 servers on one base" => {
                black_box(judge_servers(black_box(&observations)));
            }
            "judge 5 servers on one base, hash maps" => {
                black_box(baseline_servers(black_box(&observations)));
            }
            "parse a line" => {
                let _ = black_box(Candidate::parse(black_box(REFLEXIVE)));
            }
            _ => return false,
        }
    }
    true
}

fn instructions(what: &str, times: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args([what, &times.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    report
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, times] = arguments.as_slice() {
        if let Ok(times) = times.parse() {
            assert!(run(what, times), "nothing is called {what}");
            return;
        }
    }
    for what in [
        "judge 6 candidates",
        "judge 6 candidates, hash maps",
        "judge 5 servers on one base",
        "judge 5 servers on one base, hash maps",
        "parse a line",
    ]
    .into_iter()
    .chain(datagrams::ALL)
    {
        match RUNS.map(|times| instructions(what, times)) {
            [Some(few), Some(many)] => println!(
                "{what}: {} instructions",
                (many - few) / (RUNS[1] - RUNS[0])
            ),
            _ => println!("{what}: not counted, valgrind is not here"),
        }
    }
}
