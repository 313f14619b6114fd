//! Whole lines into a stream that may fail in the middle of one.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A stream of lines. A line that an error cut off is ended before the next line begins, because
/// the next line would otherwise be lost with it.
pub(super) struct Lines<W> {
    stream: W,
    /// Whether the last line has no break yet, as far as this knows.
    is_torn: bool,
    /// Whether the stream ends within a line, as far as the stream itself knows.
    ends_torn: fn(&W) -> Option<bool>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(stream: W) -> Self {
        Self {
            stream,
            is_torn: false,
            ends_torn: |_| None,
        }
    }

    /// Writes one line, which brings its break.
    ///
    /// # Errors
    /// If the text did not arrive as a whole. Where only its break is missing, it has arrived: the
    /// next line brings the break.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if (self.ends_torn)(&self.stream).unwrap_or(self.is_torn) {
            // an error: the line would be lost with the torn one
            self.stream.write_all(b"\n")?;
            self.is_torn = false;
        }
        let (written, result) = self.write_counted(line);
        self.is_torn = 0 < written && written < line.len();
        if written + 1 == line.len() {
            return Ok(());
        }
        result?;
        self.stream.flush().inspect_err(|_| self.is_torn = true)
    }

    /// As `write_all`, which keeps to itself how far it came.
    fn write_counted(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

impl Lines<File> {
    /// Appends to a file, which is created if it does not exist. If the last line of the file is
    /// incomplete, it is ended first, even if another program wrote it.
    pub(super) fn append(path: &Path) -> io::Result<Self> {
        let stream = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        Ok(Self {
            stream,
            is_torn: false,
            ends_torn,
        })
    }
}

/// Whether the file ends within a line; `None` for a pipe or a device.
fn ends_torn(mut file: &File) -> Option<bool> {
    let mut last = [0];
    // appended is at the end, wherever this reads
    file.seek(SeekFrom::End(-1)).ok()?;
    file.read_exact(&mut last).ok()?;
    Some(last != *b"\n")
}
