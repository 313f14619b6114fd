//! The manual page and the completions of the program, for packagers (feature `manual`).

use std::error::Error;
use std::io::{self, Write};
use std::process;

use clap::Command;

/// Prints the manual page (`man`) or the completions of the shell of this name, and ends the program.
pub(crate) fn print(command: &mut Command, of: &str) -> ! {
    let printed = text(command, of).and_then(|text| Ok(io::stdout().write_all(&text)?));
    match printed {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("--manual {of}: {error}");
            process::exit(2);
        }
    }
}

fn text(command: &mut Command, of: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut text = Vec::new();
    if of == "man" {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
    } else {
        let shell: clap_complete::Shell = of.parse()?;
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, command, name, &mut text);
    }
    Ok(text)
}
