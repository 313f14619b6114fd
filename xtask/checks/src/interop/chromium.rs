//! Headless Chromium, of Debian: a page of ours in it is the producer. It hides its host addresses
//! behind mDNS names.

use std::ffi::OsString;
use std::path::Path;

use super::Program;
use super::process::{Launch, packaged, program};
use super::services::Services;

pub(crate) const PROGRAM: Program = Program {
    name: "chromium",
    tells_addresses: true,
    refuses_hosts: false,
    install: |_| packaged(&["chromium"]),
    prepare: |_| {
        let chromium = program("chromium", "--version")
            .map_err(|why| format!("{why}; Debian's package is `chromium`"))?;
        Ok(Launch {
            program: chromium,
            first: Vec::new(),
            arguments,
            last: Vec::new(),
        })
    },
};

/// The same without mDNS names: it signals its host addresses.
pub(crate) const WITHOUT_MDNS: Program = Program {
    name: "chromium, mDNS off",
    prepare: |root| {
        let mut launch = (PROGRAM.prepare)(root)?;
        let off = "--disable-features=WebRtcHideLocalIpsWithMdns";
        launch.first.push(off.into());
        Ok(launch)
    },
    ..PROGRAM
};

/// The same without a STUN server: its answer has nothing but names in it, and it has to find us.
pub(crate) const NAMES_ONLY: Program = Program {
    name: "chromium, names only",
    tells_addresses: false,
    refuses_hosts: false,
    prepare: |root| {
        Ok(Launch {
            arguments: |services, folder| command_line(services, folder, None),
            ..(PROGRAM.prepare)(root)?
        })
    },
    ..PROGRAM
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
    command_line(services, folder, Some(&services.stun))
}

fn command_line(services: &Services, folder: &Path, stun: Option<&str>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = FLAGS.iter().map(OsString::from).collect();
    let mut own = OsString::from("--user-data-dir=");
    own.push(folder.join("profile"));
    arguments.push(own);
    let told = [("signal", services.url.as_str())]
        .into_iter()
        .chain(stun.map(|stun| ("stun", stun)));
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(told)
        .finish();
    arguments.push(format!("{}?{query}", services.pages).into());
    arguments
}
