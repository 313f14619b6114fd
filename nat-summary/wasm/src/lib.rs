//! The judge as a WebAssembly module: text with candidates in, the line for a person out, or a line
//! for each part of the text.
//!
//! A module has numbers only at its door, so text goes through memory: write it at [`input`], call
//! [`summarize`] with its length in bytes, read as many bytes as that returns at [`output`].
//! `summarize.mjs` does so.

use std::cell::RefCell;
use std::fmt::Write;

use nat_summary::Sides;

/// Room for the text that goes in. Longer texts do not fit, and `summarize` judges what did.
pub const CAPACITY: usize = 1 << 23;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; CAPACITY]);
    static OUTPUT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Where the text goes.
#[unsafe(no_mangle)]
pub extern "C" fn input() -> *const u8 {
    INPUT.with_borrow(|input| input.as_ptr())
}

/// How many bytes of text have room.
#[unsafe(no_mangle)]
pub extern "C" fn capacity() -> usize {
    CAPACITY
}

/// Judges the first `length` bytes at [`input`] as a text with candidates in it. Returns the length
/// of the answer, or 0 if there is no candidate.
#[unsafe(no_mangle)]
pub extern "C" fn summarize(length: usize) -> usize {
    INPUT.with_borrow(|input| {
        let text = String::from_utf8_lossy(input.get(..length).unwrap_or(input));
        OUTPUT.with_borrow_mut(|output| {
            output.clear();
            let sides = Sides::of(&text);
            if !sides.is_empty() {
                // writing to a string cannot fail
                let _ = write!(output, "{}", sides.with_address());
            }
            output.len()
        })
    })
}

/// Where the line is.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}
