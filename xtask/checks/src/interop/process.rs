//! A peer's process, inside its namespace, ended with its owner.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::interop::services::Services;
use crate::kernel::namespace::Namespace;
use crate::{Failure, python};

/// Most of what a peer said that is shown.
const COMPLAINT: usize = 400;

/// How a peer is started.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    /// From the services' addresses, and a folder of its own that is empty.
    pub(crate) arguments: fn(&Services, &std::path::Path) -> Vec<OsString>,
    /// Before those.
    pub(crate) first: Vec<OsString>,
    /// After those.
    pub(crate) last: Vec<OsString>,
}

/// A running peer. It gets a signal when the thread that started it ends, so it cannot outlive us.
pub(crate) struct Peer {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

impl Peer {
    pub(crate) fn start(
        namespace: &Namespace,
        launch: &Launch,
        services: &Services,
    ) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!(
            "interop-{}-{:x}",
            std::process::id(),
            rand::random::<u32>()
        ));
        std::fs::create_dir_all(&folder)?;
        let said = std::fs::File::create(folder.join("said"))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&launch.program)
            .args(&launch.first);
        command
            .args((launch.arguments)(services, &folder))
            .args(&launch.last)
            .env("HOME", &folder);
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let namespace = namespace.clone();
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || {
            let child = namespace.enter().and_then(|()| Ok(command.spawn()?));
            match child {
                Ok(child) => {
                    let _ = started.send(Ok(()));
                    // an error is the owner's end as well
                    let _ = stopped.recv();
                    end(child);
                }
                Err(failure) => drop(started.send(Err(failure))),
            }
        });
        let peer = Self {
            stop: Some(stop),
            thread: Some(thread),
            folder,
        };
        starting.recv()??;
        Ok(peer)
    }

    /// Everything that it wrote so far.
    pub(crate) fn output(&self) -> String {
        let written = std::fs::read(self.folder.join("said")).unwrap_or_default();
        String::from_utf8_lossy(&written).into_owned()
    }

    /// The end of what it said.
    pub(crate) fn complaint(&self) -> String {
        let said = self.output();
        let skip = said.chars().count().saturating_sub(COMPLAINT);
        let shown: String = said.chars().skip(skip).collect();
        if shown.trim().is_empty() {
            "it said nothing".into()
        } else {
            format!("it said: {}", shown.trim())
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
        // processes of a browser write a little longer
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.folder).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn end(mut child: Child) {
    // it may have ended already
    let _ = child.kill();
    let _ = child.wait();
}

/// Where a program is, if it runs at all.
pub(crate) fn program(name: &str, argument: &str) -> Result<PathBuf, String> {
    let output = Command::new(name)
        .arg(argument)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(name.into()),
        _ => Err(format!("`{name}` does not run here")),
    }
}

/// Installs packages of Debian, where they are missing.
pub(crate) fn packaged(packages: &[&str]) -> Result<(), String> {
    let is_there = |package: &str| {
        let asked = Command::new("dpkg-query")
            .args(["-W", "-f=${db:Status-Status}", package])
            .output();
        asked.is_ok_and(|asked| asked.stdout == b"installed")
    };
    if packages.iter().all(|package| is_there(package)) {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    python::succeed(
        &mut install,
        &format!("the packages {}", packages.join(", ")),
    )
}
