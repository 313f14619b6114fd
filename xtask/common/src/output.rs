//! The output of the steps, shown as it comes. Each `skipped:` in it is kept, because a skipped
//! check has not passed.

use std::io::{BufRead, BufReader, pipe};
use std::process::{Command, Stdio};

use crate::Failure;

/// The output of one step.
pub struct StepOutput {
    /// The standard output is for the result alone.
    aside: bool,
    /// Each reason once.
    skipped: Vec<String>,
}

impl StepOutput {
    /// No output yet; shown beside the standard output where `aside` is set.
    #[must_use]
    pub const fn new(aside: bool) -> Self {
        Self {
            aside,
            skipped: Vec::new(),
        }
    }

    /// Shows a line, and keeps the reason if it says that a check was skipped.
    pub fn line(&mut self, line: &str) {
        if let Some(reason) = line.strip_prefix("skipped: ")
            && !self.skipped.iter().any(|known| known == reason)
        {
            self.skipped.push(reason.to_owned());
        }
        if self.aside {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
    }

    /// Runs it to its end; whether it succeeded.
    ///
    /// # Errors
    /// The program does not start, or its output cannot be read.
    pub fn run(&mut self, mut command: Command) -> Result<bool, Failure> {
        let (reader, writer) = pipe()?;
        let started = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn();
        let mut child =
            started.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        // dropped, because it holds the writing end, and the reader would never see the end
        drop(command);
        let (mut reader, mut line) = (BufReader::new(reader), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            self.line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(child.wait()?.success())
    }

    /// The reasons of skipped checks, each once.
    #[must_use]
    pub fn into_skipped(self) -> Vec<String> {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_kept_once_from_either_output_and_a_failure_is_one() {
        let shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            shell
        };
        let mut output = StepOutput::new(true);
        assert!(
            output.run(shell(
                "echo 'skipped: a'; echo 'skipped: b' >&2; echo ' skipped: c'; echo 'skipped: a'"
            ))
            .unwrap()
        );
        assert!(!output.run(shell("printf 'skipped: d'; exit 3")).unwrap());
        assert!(output.run(Command::new("/nowhere/at/all")).is_err());
        assert_eq!(output.into_skipped(), ["a", "b", "d"]);
    }
}
