//! Walks one fault again and again in a process of its own, and counts the leftovers.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::FAULTS;
use crate::alive::{Alive, heap};
use crate::fault::{Fault, LeadsTo, Span};
use crate::planted::PLANTED;
use crate::stage::Stage;

/// Names the fault to the process that walks it.
const NAME: &str = "CONSUMER_FSM_FAULT";
/// Once around, at most.
const LONGEST_ROUND: Duration = Duration::from_secs(60);
/// Most rounds. A leak grows with each round; a warm-up does not.
const MOST_ROUNDS: usize = 12;
/// Most heap bytes alive during a round, beyond those before: a fault must not grow memory while it
/// lasts either.
const MOST_BYTES: i64 = 4 << 20;

/// Faults walked at once where all of them are: they wait nearly all the time, and there are fewer
/// cores, and so tests at once, than that.
const AT_ONCE: usize = 12;

/// The output of the walking process if the walk failed; an error if no process could start.
type Walked = Result<Result<(), String>, String>;

/// Walks the fault in a process of its own, so that faults neither hide nor stop each other.
pub(crate) fn apart(name: &str) {
    match outcome(name) {
        Ok(Ok(())) => {}
        Ok(Err(told)) => panic!("{name}:\n{told}"),
        Err(reason) => eprintln!("skipped: {name}: {reason}"),
    }
}

/// Walks it now, or waits for the walk that has begun already where every test of this program
/// runs.
fn outcome(name: &str) -> Walked {
    static AHEAD: LazyLock<HashMap<&str, Mutex<Receiver<Walked>>>> = LazyLock::new(walk_all);
    let runs_all = std::env::args()
        .skip(1)
        .all(|argument| matches!(&*argument, "--quiet" | "-q" | "--nocapture"));
    if runs_all {
        let ahead = AHEAD[name]
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        ahead.recv().expect("walked, and asked for once")
    } else {
        walked(name)
    }
}

/// Begins to walk all of them, the last first: the longest stand there.
fn walk_all() -> HashMap<&'static str, Mutex<Receiver<Walked>>> {
    let (mut left, mut ahead) = (Vec::new(), HashMap::new());
    for fault in PLANTED.iter().chain(FAULTS) {
        let (done, walked) = channel();
        left.push((fault.name, done));
        ahead.insert(fault.name, Mutex::new(walked));
    }
    let left = Arc::new(Mutex::new(left));
    for _ in 0..AT_ONCE {
        let left = Arc::clone(&left);
        let next = move || left.lock().ok()?.pop();
        std::thread::spawn(move || {
            while let Some((name, done)) = next() {
                // the receiver is gone once a test has failed
                let _ = done.send(walked(name));
            }
        });
    }
    ahead
}

fn walked(name: &str) -> Walked {
    let started = Instant::now();
    let output = command(name)?.output().expect("this program runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let rounds = told
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    eprintln!("{name}: {:.1} s{rounds}", started.elapsed().as_secs_f32());
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(told)
    })
}

/// How this program walks one fault.
fn command(name: &str) -> Result<Command, String> {
    let fault = crate::find(name);
    let program = std::env::current_exe().expect("this program has a name");
    let mut command = match fault.wrapper {
        None => Command::new(program),
        Some(wrap) => {
            let mut wrapped = wrap()?;
            wrapped.arg(program);
            wrapped
        }
    };
    command
        .args([
            "--exact",
            "walks_the_fault_it_is_told",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(NAME, name)
        .stdin(Stdio::null());
    Ok(command)
}

/// The walking process of [`apart`]. Does nothing if the environment names no fault.
pub(crate) fn told() {
    let Ok(name) = std::env::var(NAME) else {
        return;
    };
    let fault = crate::find(&name);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(walk(fault));
}

async fn walk(fault: &Fault) {
    // the first walk allocates state that is kept, such as tables of the runtime
    once(fault).await;
    let first = Alive::settled(None).await;
    assert_eq!(
        first.tasks, 0,
        "{}: tasks left behind after the first time",
        fault.name
    );
    let mut seen: Vec<i64> = Vec::with_capacity(MOST_ROUNDS);
    loop {
        once(fault).await;
        let alive = Alive::settled(Some(first)).await;
        assert_eq!(alive.tasks, 0, "{}: tasks left behind", fault.name);
        assert!(
            alive.descriptors <= first.descriptors,
            "{}: descriptors left behind: {first:?} {alive:?}",
            fault.name
        );
        seen.push(alive.bytes - first.bytes);
        if seen.len().is_multiple_of(2) && !grows(&seen) {
            break;
        }
        assert!(
            seen.len() < MOST_ROUNDS,
            "{}: heap bytes left behind, after each time: {seen:?}",
            fault.name
        );
    }
    eprintln!("{}: heap bytes beyond the first time: {seen:?}", fault.name);
}

/// Whether the minimum of the later half exceeds that of the earlier half. A long series drops its
/// first round, which may still warm up.
fn grows(seen: &[i64]) -> bool {
    let seen = if seen.len() > MOST_ROUNDS / 2 {
        &seen[1..]
    } else {
        seen
    };
    let (earlier, later) = seen.split_at(seen.len() / 2);
    later.iter().min() > earlier.iter().min()
}

async fn once(fault: &Fault) {
    let stage = Stage::new(fault.span);
    let before = heap();
    let watch = async {
        let mut most = 0;
        loop {
            most = most.max(heap() - before);
            assert!(most < MOST_BYTES, "{}: {most} bytes at once", fault.name);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let walked = async {
        tokio::select! {
            () = (fault.stage)(&stage) => {}
            () = watch => {}
        }
    };
    timeout(LONGEST_ROUND, walked)
        .await
        .unwrap_or_else(|_| panic!("{}: no end within {LONGEST_ROUND:?}", fault.name));
    let reports = stage.reports();
    if let LeadsTo::Event(state, event) = fault.leads_to {
        let happened = reports
            .iter()
            .flat_map(|report| &report.transitions)
            .any(|taken| {
                (taken.from, taken.event) == (state, event)
                    && consumer_fsm::next(state, event).is_some_and(|step| step.state == taken.to)
            });
        let all: Vec<_> = reports.iter().map(|report| &report.transitions).collect();
        assert!(
            happened,
            "{}: {event:?} never happened in {state:?}: {all:?}",
            fault.name
        );
    }
    let told = stage.spans.told();
    let expected = match fault.span {
        Span::None => vec![],
        Span::Success => vec![("nat_success".to_owned(), None)],
        Span::Failure(reason) => vec![("nat_failure".to_owned(), Some(reason.to_owned()))],
        Span::Each(_) => told.clone(),
    };
    assert_eq!(
        told,
        expected,
        "{}: {:?}",
        fault.name,
        reports.iter().map(|r| &r.transitions).collect::<Vec<_>>()
    );
}

#[test]
fn what_leaks_now_and_then_grows_and_what_is_made_once_does_not() {
    let leaks = |every: usize| {
        (0..MOST_ROUNDS)
            .map(|round| (round / every) as i64)
            .collect::<Vec<_>>()
    };
    assert!((1..=4).all(|every| grows(&leaks(every))));
    let mut made_once = vec![247; MOST_ROUNDS];
    made_once[0] = 96;
    assert!(!grows(&made_once) && grows(&made_once[..2]));
}

#[test]
fn what_is_left_behind_is_seen() {
    for (name, seen) in [
        ("planted::byte", "heap bytes left behind"),
        ("planted::task", "tasks left behind"),
        ("planted::descriptor", "descriptors left behind"),
        ("planted::memory", "bytes at once"),
        ("planted::span", "assertion"),
        ("planted::transition", "never happened"),
    ] {
        let told = outcome(name).unwrap().expect_err(name);
        assert!(told.contains(seen), "{name}:\n{told}");
    }
}
