//! `ice-gather`: asks STUN servers from one socket and reports what the NAT in front of it does.

mod ask;
mod from_capture;
#[cfg(feature = "manual")]
mod manual;
mod options;
mod outcome;
mod report;
mod style;
mod timeline;
mod watch;
mod words;

use std::process::ExitCode;

use ice_gather::StunServer;

use crate::ask::Asked;
use crate::options::Options;
use crate::outcome::{Problem, print, status};

fn main() -> ExitCode {
    let options = Options::from_arguments();
    match run(&options) {
        Ok(status) => ExitCode::from(status),
        Err(problem) => {
            eprintln!("ice-gather: {}", problem.message);
            ExitCode::from(problem.status)
        }
    }
}

fn run(options: &Options) -> Result<u8, Problem> {
    if let Some(file) = &options.from_capture {
        let text = from_capture::report(file, options.redact, options.json)
            .map_err(|error| Problem::new(status::FAILED, error.to_string()))?;
        print(&text);
        return Ok(status::OK);
    }
    let servers = options
        .servers()
        .map_err(|message| Problem::new(status::USAGE, message))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(status::FAILED, error.to_string()))?;
    let status = runtime.block_on(async {
        if options.watch {
            watch::watch(options, &servers).await
        } else {
            once(options, &servers).await
        }
    });
    // a name still being looked up must not hold the program up
    runtime.shutdown_background();
    status
}

async fn once(options: &Options, servers: &[StunServer]) -> Result<u8, Problem> {
    let asked = ask::ask(options, servers).await?;
    print(&if options.json {
        format!("{:#}\n", report::json(&asked))
    } else {
        report::text(&asked, style::Style::of_stdout())
    });
    Ok(status_of(options, &asked))
}

fn status_of(options: &Options, asked: &Asked) -> u8 {
    if asked.is_interrupted {
        status::INTERRUPTED
    } else if options.exit_code {
        status::of_type(asked.summary.nat_type())
    } else {
        status::OK
    }
}
