//! `page`: builds the page that judges a text or a browser, and the package for Node and browsers;
//! `--test` drives the page in headless Chromium.

use std::process::Command;

use common::commands::Page;

use crate::{Failure, root, wasm, workspace};

/// The reason why it cannot be built here, or not be tested.
pub(crate) fn missing() -> Option<String> {
    let no_browser = || {
        let has_browser = workspace::runs("chromium", &["--version"]);
        (!has_browser).then(|| "there is no Chromium, whose package in Debian is `chromium`".into())
    };
    wasm::missing().or_else(no_browser)
}

pub(crate) fn run(options: &Page) -> Result<bool, Failure> {
    let missing = if options.test {
        missing()
    } else {
        wasm::missing()
    };
    missing.map_or(Ok(()), Err)?;
    let root = root();
    let (sources, folder) = (root.join("nat-summary/wasm"), root.join("target/page"));
    let module = wasm::nat_summary()?;
    let mut bundle = Command::new("node");
    bundle
        .arg(sources.join("page/bundle.mjs"))
        .arg(module)
        .arg(&folder);
    if !bundle.status()?.success() {
        return Err("the page could not be put together".into());
    }
    let page = folder.join("index.html");
    let mut pack = Command::new("npm");
    pack.current_dir(folder.join("npm"))
        .args(["pack", "--silent", "--pack-destination", ".."]);
    let is_packed = !options.test && workspace::runs("npm", &["--version"]);
    if is_packed && !pack.stdout(std::io::stderr()).status()?.success() {
        return Err("the package could not be packed".into());
    }
    if !options.test {
        eprintln!("{}", page.display());
        return Ok(true);
    }
    let mut test = Command::new("node");
    test.arg(sources.join("page/test.mjs")).arg(&page);
    if options.json {
        test.arg("--json");
    }
    Ok(test.status()?.success())
}
