//! A stack while it runs as a producer: a process of its own, or a thread of this one.

use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::webrtc17;
use crate::Failure;
use crate::interop::process::{self, Peer};
use crate::interop::services::Services;
use crate::kernel::namespace::Namespace;

/// How a stack is started.
pub(super) enum Launch {
    Process(process::Launch),
    /// webrtc 0.17, which these checks are built with.
    Webrtc17,
}

/// It ends when dropped.
pub(super) enum Running {
    Process(Peer),
    Thread { _thread: Thread },
}

impl Running {
    pub(super) fn start(
        namespace: &Namespace,
        launch: &Launch,
        services: &Services,
    ) -> Result<Self, Failure> {
        Ok(match launch {
            Launch::Process(launch) => Self::Process(Peer::start(namespace, launch, services)?),
            Launch::Webrtc17 => Self::Thread {
                _thread: Thread::start(namespace, services),
            },
        })
    }

    /// Everything that it wrote so far.
    pub(super) fn output(&self) -> String {
        match self {
            Self::Process(peer) => peer.output(),
            Self::Thread { .. } => String::new(),
        }
    }

    pub(super) fn complaint(&self) -> String {
        match self {
            Self::Process(peer) => peer.complaint(),
            Self::Thread { .. } => "it runs in this process".into(),
        }
    }
}

/// A thread in the namespace, with a runtime of its own.
pub(super) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(namespace: &Namespace, services: &Services) -> Self {
        let (url, stun) = (services.url.clone(), services.stun.clone());
        let namespace = namespace.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let served = namespace.block_on(|| async {
                tokio::select! {
                    served = webrtc17::serve(&url, &stun) => served,
                    _ = stopped => Ok(()),
                }
            });
            if let Err(failure) = served {
                eprintln!("webrtc 0.17: {failure}");
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // a panic in there was reported where it happened
            let _ = thread.join();
        }
    }
}
