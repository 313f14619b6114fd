//! Lines on their way to a stream whose reader may have stopped reading.

use core::fmt;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most lines that wait for the reader.
const QUEUE: usize = 8_192;

/// A stream with a thread of its own, because a write may block for as long as the reader likes.
/// Clones are the same stream.
#[derive(Debug, Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do for the thread.
    is_filled: Condvar,
    /// The thread has ended.
    is_ended: Condvar,
    /// Writes the line that stands in for so many dropped ones.
    missing: Box<dyn Fn(u64) -> String + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    /// Whether the thread writes another line at present.
    is_writing: bool,
    /// Lines that had no room, and for which no other line stands in yet.
    dropped: u64,
    is_closed: bool,
    is_ended: bool,
}

impl Lines {
    /// Starts the thread, which ends with the process at the latest. `missing` writes the line that
    /// stands in for so many dropped ones.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn to(
        stream: impl Write + Send + 'static,
        missing: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let lines = Self(Arc::new(Shared {
            queue: Mutex::default(),
            is_filled: Condvar::new(),
            is_ended: Condvar::new(),
            missing: Box::new(missing),
        }));
        let shared = Arc::clone(&lines.0);
        let write = move || shared.write(stream);
        thread::Builder::new().name("lines".into()).spawn(write)?;
        Ok(lines)
    }

    /// Hands over a line, with its break. Never waits; a line without room is dropped and counted.
    pub(crate) fn line(&self, line: String) {
        let mut queue = self.0.queue();
        if queue.lines.len() >= QUEUE || queue.is_closed {
            queue.dropped += 1;
            return;
        }
        if queue.dropped > 0 {
            let missing = (self.0.missing)(core::mem::take(&mut queue.dropped));
            queue.lines.push_back(missing);
        }
        queue.lines.push_back(line);
        self.0.is_filled.notify_one();
    }

    /// Takes no more lines, and waits at most `within` for the reader to take the queued ones.
    /// Returns the number of lines that reached the reader neither themselves nor as part of a
    /// count.
    pub(crate) fn close(&self, within: Duration) -> u64 {
        let mut queue = self.0.queue();
        queue.is_closed = true;
        self.0.is_filled.notify_one();
        let goes_on = |queue: &mut Queue| !queue.is_ended;
        let waited = self.0.is_ended.wait_timeout_while(queue, within, goes_on);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.dropped + queue.lines.len() as u64 + u64::from(queue.is_writing)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut stream: impl Write) {
        while let Some(line) = self.next() {
            // a reader that went away wants no more
            let _ = stream
                .write_all(line.as_bytes())
                .and_then(|()| stream.flush());
        }
        self.queue().is_ended = true;
        self.is_ended.notify_all();
    }

    /// The next line; nothing once all of a closed queue is written.
    fn next(&self) -> Option<String> {
        let mut queue = self.queue();
        queue.is_writing = false;
        let is_idle =
            |queue: &mut Queue| queue.lines.is_empty() && queue.dropped == 0 && !queue.is_closed;
        let waited = self.is_filled.wait_while(queue, is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let line = queue.lines.pop_front().or_else(|| {
            let dropped = core::mem::take(&mut queue.dropped);
            (dropped > 0).then(|| (self.missing)(dropped))
        });
        queue.is_writing = line.is_some();
        line
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// For a log, which writes a line at a time.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A stream that blocks until its reader takes the written line.
    struct Slow(SyncSender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let sent = self.0.send(text);
            sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Lines, Receiver<String>) {
        let (sender, reader) = sync_channel(0);
        let missing = |dropped| format!("missing {dropped}");
        (Lines::to(Slow(sender), missing).unwrap(), reader)
    }

    #[test]
    fn lines_come_in_order_and_those_without_room_are_counted_where_they_are_missing() {
        let (lines, reader) = slow();
        let sent = QUEUE + 1_000;
        for number in 0..sent {
            lines.line(number.to_string());
        }
        let mut read: Vec<String> = reader.iter().take(QUEUE).collect();
        lines.line("later".into());
        let closing = {
            let lines = lines.clone();
            thread::spawn(move || lines.close(LONG))
        };
        read.extend(reader.iter());
        assert_eq!(closing.join().unwrap(), 0);
        let missing = read.iter().position(|line| line.starts_with("missing"));
        let missing = missing.unwrap();
        // the thread may have taken the first one already as the queue filled
        assert!((QUEUE..=QUEUE + 1).contains(&missing), "{missing}");
        assert!(
            read[..missing]
                .iter()
                .enumerate()
                .all(|(n, line)| *line == n.to_string())
        );
        let rest = [format!("missing {}", sent - missing), "later".into()];
        assert_eq!(read[missing..], rest);
    }

    #[test]
    fn a_reader_that_never_reads_holds_nothing_up_and_misses_every_line() {
        let (lines, _reader) = slow();
        let started = Instant::now();
        lines.line("line".into());
        while !lines.0.queue().is_writing {
            thread::yield_now();
        }
        for _ in 1..100_000 {
            lines.line("line".into());
        }
        assert_eq!(lines.close(Duration::from_millis(100)), 100_000);
        lines.line("too late".into());
        assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    }

    #[test]
    fn a_reader_that_went_away_ends_nothing() {
        let (lines, reader) = slow();
        drop(reader);
        lines.line("line".into());
        assert_eq!(lines.close(LONG), 0);
    }
}
