//! `consumer`: a consumer, its producers, the service between them, and STUN servers to ask; each a
//! role of one program.

mod options;
mod output;
mod roles;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::options::Options;

/// How long the roles may take to close their connections, once they are cancelled.
const CLOSING: Duration = Duration::from_millis(600);
/// How long the rest of the telemetry may take then.
const FLUSHING: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let options = match Options::from_arguments() {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("consumer: {message}");
            eprintln!("consumer --help says what it takes");
            return ExitCode::from(2);
        }
    };
    output::log(options.log);
    match start(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("consumer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    // in front of the runtime: its threads are not ours to block
    let telemetry = telemetry::Export::of_environment(options.external_ip)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let cancel = CancellationToken::new();
    let done = runtime.block_on(async {
        let role = roles::run(options, telemetry.telemetry(), &cancel);
        tokio::pin!(role);
        tokio::select! {
            done = &mut role => return done,
            stopped = stop_asked_for() => stopped?,
        }
        cancel.cancel();
        tokio::select! {
            // to be stopped is no failure, whatever came of the attempts until then
            done = tokio::time::timeout(CLOSING, role) => done.map_or(Ok(true), |done| done.map(|_| true)),
            // somebody is in a hurry
            _ = stop_asked_for() => Ok(true),
        }
    });
    runtime.shutdown_background();
    telemetry.close(if cancel.is_cancelled() {
        FLUSHING
    } else {
        Duration::from_secs(5)
    });
    done
}

/// Ctrl-C, or what a supervisor sends.
async fn stop_asked_for() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
