//! `consumer`: a consumer, its producers, the service between them, and STUN servers to ask; each a
//! role of one program.

mod health;
mod lines;
#[cfg(feature = "manual")]
mod manual;
mod options;
mod output;
mod roles;
mod tally;
mod telemetry;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use otel_nat::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::output::Output;
use crate::telemetry::Export;

/// How long the roles may take to close their connections after a signal.
const CLOSING: Duration = Duration::from_millis(500);
/// How long the rest of the telemetry may take after that.
const FLUSHING: Duration = Duration::from_millis(200);
/// How long the reader of each stream may take for the remaining lines after that.
const READING: Duration = Duration::from_millis(50);
/// How long telemetry and readers may each take where no signal asked for the end.
const UNHURRIED: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // until signals are handled, a signal ends the process at once
    let options = Options::from_arguments();
    match start(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Result<bool, Box<dyn Error>> {
    let output = Output::new(options)?;
    output.log(options.log);
    // before the runtime starts, because this call blocks and must not block a thread of the
    // runtime
    let export = Export::of_environment(options.external_ip)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let stop = {
        let _entered = runtime.enter();
        Stop::new()?
    };
    let went_well = runtime.block_on(run(options, export, output, stop));
    runtime.shutdown_background();
    Ok(went_well)
}

/// Whether it went as it should. From here on nothing waits for a reader without an end.
async fn run(options: &Options, export: Export, output: Output, mut stop: Stop) -> bool {
    let cancel = CancellationToken::new();
    let done = role(options, export.telemetry(), &output, &cancel, &mut stop).await;
    let went_well = done.unwrap_or_else(|error| {
        output.warn(&error.to_string());
        false
    });
    let (flushing, reading) = if cancel.is_cancelled() {
        (FLUSHING, READING)
    } else {
        (UNHURRIED, UNHURRIED)
    };
    let closing = tokio::task::spawn_blocking(move || {
        export.close(flushing, &output);
        output.close(reading);
    });
    tokio::select! {
        // an error: it panicked, and the process ends all the same
        _ = closing => {}
        () = stop.asked_for() => {}
    }
    went_well
}

/// Runs the role and returns its result. The role is dropped before this returns.
async fn role(
    options: &Options,
    telemetry: Telemetry,
    output: &Output,
    cancel: &CancellationToken,
    stop: &mut Stop,
) -> Result<bool, Box<dyn Error>> {
    let role = roles::run(options, telemetry, output, cancel);
    tokio::pin!(role);
    tokio::select! {
        done = &mut role => return done,
        () = stop.asked_for() => cancel.cancel(),
    }
    tokio::select! {
        // a stop by a signal is no failure, whatever the attempts before it came to
        done = tokio::time::timeout(CLOSING, role) => done.map_or(Ok(true), |done| done.map(|_| true)),
        // a second signal: end at once, without closing
        () = stop.asked_for() => Ok(true),
    }
}

/// Ctrl-C, or the signal of a supervisor.
struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stop {
    /// Handles the signals from now on, so they no longer end the process by themselves. Needs a
    /// runtime.
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [interrupt, terminate] = signals;
        Ok(Self {
            signals: [interrupt?, terminate?],
        })
    }

    #[cfg(unix)]
    async fn asked_for(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
    const fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn asked_for(&mut self) {
        // an error: it cannot be asked for
        if tokio::signal::ctrl_c().await.is_err() {
            core::future::pending().await
        }
    }
}
