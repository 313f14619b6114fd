//! Headless Chromium, of Debian: a page of ours in it is the producer. It hides its host addresses behind mDNS names.

use std::ffi::OsString;
use std::path::Path;

use super::Program;
use super::process::{Launch, packaged, program};
use super::services::Services;

pub(super) const PROGRAM: Program = Program {
    name: "chromium",
    install: |_| packaged(&["chromium"]),
    prepare: |_| {
        let chromium =
            program("chromium", "--version").map_err(|why| format!("{why}; Debian's package is `chromium`"))?;
        Ok(Launch { program: chromium, first: Vec::new(), arguments, last: Vec::new() })
    },
};

/// Nothing that asks the network for anything but the page.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--enable-logging=stderr",
];

fn arguments(services: &Services, folder: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    let mut own = OsString::from("--user-data-dir=");
    own.push(folder.join("profile"));
    arguments.push(own);
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("signal", &services.url)
        .append_pair("stun", &services.stun)
        .finish();
    arguments.push(format!("{}?{query}", services.pages).into());
    arguments
}
