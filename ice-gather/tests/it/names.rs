//! Servers by name, in front of a name server that answers nothing.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use ice_gather::{Base, BindConfig, GatherConfig, StunServer};
use nat_summary::Outcome;
use tokio::task::{JoinSet, spawn_blocking};

/// Most threads that look names up.
const THREADS: usize = 4;

/// Runs the test `inner` of this file alone with a network and a view of the file system of its
/// own, or prints why not where these cannot be had.
fn alone(inner: &str) {
    let own = ["--map-root-user", "--net", "--mount"];
    let may = Command::new("unshare")
        .args(own)
        .args(["ip", "link", "set", "lo", "up"])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        println!("skipped: no network namespace can be made here, or there is no `ip`");
        return;
    }
    let output = Command::new("unshare")
        .args(own)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", inner, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Within this view of the file system, all names are looked up at a server that never answers.
fn silence_the_name_server() -> UdpSocket {
    let run = |line: &str| {
        let mut words = line.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    };
    run("ip link set lo up");
    let silent = UdpSocket::bind("127.0.0.53:53").unwrap();
    let file = std::env::temp_dir().join(format!("resolv-{}", std::process::id()));
    std::fs::write(
        &file,
        "nameserver 127.0.0.53\noptions timeout:2 attempts:1\n",
    )
    .unwrap();
    run(&format!("mount --bind {} /etc/resolv.conf", file.display()));
    std::fs::remove_file(file).unwrap();
    silent
}

#[test]
#[cfg(target_os = "linux")]
fn two_thousand_gatherings_by_name_block_no_other_work_and_leave_no_thread() {
    alone("names::inner_silent");
}

#[test]
#[ignore = "changes the host's name server: only with a view of its own"]
fn inner_silent() {
    let _silent = silence_the_name_server();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        spawn_blocking(|| ()).await.unwrap();
        let before = threads();
        let mut gatherings = JoinSet::new();
        for number in 0..2_000 {
            gatherings.spawn(async move {
                let bind = BindConfig::address([127, 0, 0, 1].into());
                let base = Base::bind(bind).await.unwrap();
                let name = format!("stun{}.example.org", number % 20);
                let mut config = GatherConfig::default();
                config.deadline = Duration::from_secs(3);
                base.gather(&[StunServer::Name(name, 3478)], &config).await
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let meanwhile = threads();
        let asked = Instant::now();
        spawn_blocking(|| ()).await.unwrap();
        let waited = asked.elapsed();
        println!("{before} threads, {meanwhile} meanwhile; other work waited {waited:?}");
        assert!(meanwhile <= before + THREADS, "{before}, {meanwhile}");
        assert!(waited < Duration::from_millis(500), "{waited:?}");
        for gathering in gatherings.join_all().await {
            assert_eq!(gathering.servers[0].outcome, Outcome::Unresolved);
        }
        // lookups that the gatherings left behind end with the last that began, and its thread soon
        // after
        let left = Instant::now();
        while threads() > before {
            assert!(left.elapsed() < Duration::from_secs(10), "{}", threads());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}
