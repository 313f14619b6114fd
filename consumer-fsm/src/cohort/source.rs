//! The sources of STUN servers: a list, a file, or a function.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ice_gather::StunServer;

/// Longest file read, in bytes: room for more servers than are ever used.
const MAX_FILE: u64 = 1024 * 1024;
/// Longest wait for a source.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a source yields no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The source holds no server.
    Empty,
    /// The source could not be read.
    Unreadable,
    /// The file is longer than 1 MiB.
    TooLong,
    /// This line of the file, counted from 1, names no STUN server.
    Line(usize),
    /// The source did not answer within 10 s.
    TimedOut,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the source names no STUN server"),
            Self::Unreadable => f.write_str("the source of STUN servers could not be read"),
            Self::TooLong => f.write_str("the file of STUN servers is too long"),
            Self::Line(number) => write!(f, "line {number} of the file names no STUN server"),
            Self::TimedOut => f.write_str("the source of STUN servers did not answer in time"),
        }
    }
}

impl core::error::Error for SourceError {}

type Loading = Pin<Box<dyn Future<Output = Result<Vec<StunServer>, SourceError>> + Send>>;

/// A source of STUN servers.
#[derive(Clone)]
#[non_exhaustive]
pub enum StunSource {
    /// These servers.
    List(Vec<StunServer>),
    /// A file with one server a line; `#` starts a comment. Read again for each refill.
    File(PathBuf),
    /// The servers that this function yields within 10 s; called for each refill.
    Async(Arc<dyn Fn() -> Loading + Send + Sync>),
}

impl StunSource {
    /// The servers that `load` yields.
    pub fn from_fn<F>(load: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Vec<StunServer>, SourceError>> + Send + 'static,
    {
        Self::Async(Arc::new(move || Box::pin(load())))
    }

    /// The servers as of now, at least one.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn load(&self) -> Result<Vec<StunServer>, SourceError> {
        let servers = match self {
            Self::List(servers) => servers.clone(),
            Self::File(path) => {
                let path = path.clone();
                let reading = tokio::task::spawn_blocking(move || read(&path));
                bounded(async { reading.await.map_err(|_| SourceError::Unreadable)? }).await?
            }
            Self::Async(load) => bounded(load()).await?,
        };
        if servers.is_empty() {
            Err(SourceError::Empty)
        } else {
            Ok(servers)
        }
    }
}

impl fmt::Debug for StunSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List(_) => "List",
            Self::File(_) => "File",
            Self::Async(_) => "Async",
        })
    }
}

async fn bounded<T>(
    loading: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(TIMEOUT, loading)
        .await
        .map_err(|_| SourceError::TimedOut)?
}

fn read(path: &Path) -> Result<Vec<StunServer>, SourceError> {
    let unreadable = |_| SourceError::Unreadable;
    // reading a pipe might have no end
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SourceError::Unreadable);
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        Err(SourceError::TooLong)
    } else {
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Vec<StunServer>, SourceError> {
    let entries = (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split('#').next().unwrap_or("").trim()));
    let servers = entries.filter(|(_, entry)| !entry.is_empty());
    servers
        .map(|(number, entry)| entry.parse().map_err(|_| SourceError::Line(number)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str, name: &str) -> (StunSource, PathBuf) {
        let path = std::env::temp_dir().join(format!("consumer-fsm-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        (StunSource::File(path.clone()), path)
    }

    #[tokio::test]
    async fn a_file_has_one_server_a_line_and_is_read_anew_each_time() {
        let (file, path) = source(
            "# ours\nstun:198.51.100.1  # one\n\nstun.example.org:19302\r\n",
            "anew",
        );
        assert_eq!(file.load().await.map(|servers| servers.len()), Ok(2));
        std::fs::write(&path, "198.51.100.1\nturn:198.51.100.1\n").unwrap();
        assert_eq!(file.load().await, Err(SourceError::Line(2)));
        std::fs::write(&path, "#".repeat(MAX_FILE as usize + 1)).unwrap();
        assert_eq!(file.load().await, Err(SourceError::TooLong));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(file.load().await, Err(SourceError::Unreadable));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.load().await, Err(SourceError::Unreadable));
        assert_eq!(
            StunSource::File("/dev/zero".into()).load().await,
            Err(SourceError::Unreadable)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_never_answers_is_given_up() {
        let never = StunSource::from_fn(core::future::pending);
        assert_eq!(never.load().await, Err(SourceError::TimedOut));
    }

    #[test]
    fn no_error_shows_what_was_read() {
        assert_eq!(
            SourceError::Line(3).to_string(),
            "line 3 of the file names no STUN server"
        );
    }
}
