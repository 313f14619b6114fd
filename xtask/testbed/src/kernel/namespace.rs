//! Network namespaces without names: each lives as long as this process holds it open, so nothing
//! is left to remove.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns, unshare};
use nix::unistd::Pid;

use crate::Failure;

/// A network stack of its own, with nothing in it but a loopback interface. Clones share it.
///
/// No name means that parallel runs cannot collide, and that the kernel removes the namespace with
/// its interfaces and rules as soon as the last holder is gone, be it by a panic or by `kill -9`.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// An empty one, that forwards packets.
    ///
    /// # Errors
    /// If the kernel gives none, such as for want of privileges.
    pub fn new() -> Result<Self, Failure> {
        // a namespace is made for the calling thread: for one that ends right after
        let made = thread::spawn(|| -> Result<File, Failure> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        let file = made.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let namespace = Self {
            file: Arc::new(file),
        };
        namespace.settle()?;
        Ok(namespace)
    }

    /// A path by which other programs find it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Moves the calling thread in, for good.
    pub fn enter(&self) -> Result<(), Failure> {
        Ok(setns(self.file.as_raw_fd(), CloneFlags::CLONE_NEWNET)?)
    }

    /// Runs `work` inside, on a thread of its own. Sockets made there stay inside wherever they are
    /// used.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        thread::scope(|scope| {
            let running = scope.spawn(|| {
                self.enter()?;
                work()
            });
            running.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// The same for asynchronous work, on a runtime of its own.
    pub fn block_on<T: Send, F>(&self, work: impl FnOnce() -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.inside(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(work())
        })
    }

    /// The same on one processor, so that the kernel maps the packets one after the other, in the
    /// order they are sent, as it would packets off a wire. On two at once, it may choose a
    /// port for each before it knows of the other.
    pub fn block_on_in_order<T: Send, F>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.block_on(|| async {
            let this_thread = Pid::from_raw(0);
            let allowed = sched_getaffinity(this_thread)?;
            let processors = 0..CpuSet::count();
            let first = processors
                .into_iter()
                .find(|n| allowed.is_set(*n).unwrap_or(false))
                .ok_or("no processor")?;
            let mut one = CpuSet::new();
            one.set(first)?;
            sched_setaffinity(this_thread, &one)?;
            work().await
        })
    }

    /// Runs a program inside, with `input` on its standard input.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<(), Failure> {
        self.inside(|| {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{program}: {error}"))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let mut complaint = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut complaint)?;
            }
            let status = child.wait()?;
            if status.success() {
                Ok(())
            } else {
                Err(format!(
                    "{program} {}: {status}: {complaint}\n{input}",
                    arguments.join(" ")
                )
                .into())
            }
        })
    }

    /// Runs lines of `ip` inside.
    pub fn ip(&self, lines: &[String]) -> Result<(), Failure> {
        self.run("ip", &["-batch", "-"], &(lines.join("\n") + "\n"))
    }

    /// Sets the kernel's options, because the host's own settings must not decide: packets are
    /// forwarded by the routing table alone, and IPv6 addresses can be used at once.
    /// `/proc/sys/net` is that of the reading thread's namespace.
    fn settle(&self) -> Result<(), Failure> {
        self.inside(|| {
            for (setting, value) in [
                ("ipv4/ip_forward", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv6/conf/default/accept_dad", "0"),
            ] {
                std::fs::write(format!("/proc/sys/net/{setting}"), value)
                    .map_err(|e| format!("{setting}: {e}"))?;
            }
            Ok(())
        })?;
        self.ip(&["link set lo up".to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::UdpSocket;

    use super::Namespace;

    #[test]
    fn two_namespaces_have_the_same_address_and_port_each() {
        if let Some(reason) = common::needs::lab() {
            // past the capture of the test harness; nothing is left to do if even that fails
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            return;
        }
        let (one, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        let bind = |namespace: &Namespace| {
            namespace
                .inside(|| Ok(UdpSocket::bind("127.0.0.1:3478")?))
                .unwrap()
        };
        let sockets = (bind(&one), bind(&other));
        assert_eq!(
            sockets.0.local_addr().unwrap(),
            sockets.1.local_addr().unwrap()
        );
        sockets
            .0
            .send_to(b"x", sockets.1.local_addr().unwrap())
            .unwrap();
        assert_eq!(
            sockets.0.recv(&mut [0; 1]).unwrap(),
            1,
            "what is sent in one stays in it"
        );
    }
}
