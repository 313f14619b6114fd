//! A side of the siege, from outside: its process, and the looks that it answers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::side::{Look, Orders};
use crate::Failure;
use crate::kernel::namespace::Namespace;

/// Longest wait for a look: the process reads its standard input on a thread of its own.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks at a process that has not come so far yet.
const PAUSE: Duration = Duration::from_millis(20);

/// A running side; it ends with this value.
pub(super) struct Side {
    child: Child,
    /// Its end is the order to end.
    input: Option<ChildStdin>,
    looks: Receiver<Look>,
}

impl Side {
    /// Starts this program once more, in a namespace.
    pub(super) fn start(namespace: &Namespace, orders: &Orders) -> Result<Self, Failure> {
        let orders = serde_json::to_string(orders)?;
        let program = std::env::current_exe()?;
        let mut child = namespace.inside(|| {
            Ok(Command::new(program)
                .args(["siege-side", &orders])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?)
        })?;
        let (told, looks) = channel();
        let output = child.stdout.take().ok_or("a process without an output")?;
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(look) = serde_json::from_str(&line)
                    && told.send(look).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self {
            input: child.stdin.take(),
            child,
            looks,
        })
    }

    /// Its state at this moment.
    pub(super) fn look(&mut self) -> Result<Look, Failure> {
        let input = self.input.as_mut().ok_or("it was ended")?;
        let asked = input.write_all(b"look\n").is_ok();
        let look = self.looks.recv_timeout(ANSWER);
        match (asked, look, self.child.try_wait()?) {
            (true, Ok(look), _) => Ok(look),
            (_, _, Some(status)) => Err(format!("it ended by itself: {status}").into()),
            _ => Err("it does not answer any more".into()),
        }
    }

    /// Waits until it has come so far; none if it has not in time.
    pub(super) fn until(
        &mut self,
        within: Duration,
        is_so: impl Fn(&Look) -> bool,
    ) -> Result<Option<Look>, Failure> {
        let began = Instant::now();
        while began.elapsed() < within {
            let look = self.look()?;
            if is_so(&look) {
                return Ok(Some(look));
            }
            thread::sleep(PAUSE);
        }
        Ok(None)
    }

    /// Lets it end by itself; none if it does not in time.
    pub(super) fn end(&mut self, within: Duration) -> Result<Option<ExitStatus>, Failure> {
        drop(self.input.take());
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(PAUSE);
        }
        Ok(None)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // one that has ended cannot be killed any more
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
