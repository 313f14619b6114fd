//! The judge as a WebAssembly module.
//!
//! A module exchanges numbers only, so text passes through memory: [`reserve`] returns a place for
//! a text of so many bytes, a call such as [`judge`] reads that place and returns the length of its
//! answer, and the answer is at [`output`]. `nat-summary.mjs` gives these calls a JavaScript form.

mod parts;

use std::cell::RefCell;
use std::fmt::Write;

use nat_summary::Sides;

/// Longest text, in bytes.
pub const MAX_TEXT: usize = 1 << 28;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A place for a text of `length` bytes; 0 if it is longer than [`max_text`] returns.
#[unsafe(no_mangle)]
pub extern "C" fn reserve(length: usize) -> *const u8 {
    if length > MAX_TEXT {
        return core::ptr::null();
    }
    INPUT.with_borrow_mut(|input| {
        // the memory of a long text is of no use to a short one
        *input = vec![0; length];
        input.as_ptr()
    })
}

/// Longest text, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn max_text() -> usize {
    MAX_TEXT
}

/// Judges the text as one with candidates in it. The answer is one line, or a line for each part;
/// its length is 0 if the text has no candidate.
#[unsafe(no_mangle)]
pub extern "C" fn summarize() -> usize {
    answer(|text, output| {
        let sides = Sides::of(text);
        if !sides.is_empty() {
            // writing to a string cannot fail
            let _ = write!(output, "{}", sides.with_address());
        }
    })
}

/// Judges the text as one with candidates in it. The answer is JSON: `{"parts":[…],"left_out":0}`,
/// where a part has its side, its verdict, and its evidence.
#[unsafe(no_mangle)]
pub extern "C" fn judge() -> usize {
    answer(|text, output| output.push_str(&parts::of_text(text)))
}

/// Judges a gathering of a browser, whose candidates are values and no text. The text is JSON:
/// `{"candidates":[{"candidate":"…","url":"…"}],"errors":[{"url":"…","code":701,"text":"…"}],"asked":2,"complete":true}`.
/// The answer is JSON with one part, or `{"error":"…"}`.
#[unsafe(no_mangle)]
pub extern "C" fn judge_gathered() -> usize {
    answer(|text, output| output.push_str(&parts::of_gathering(text)))
}

/// Every word that an answer may have for a type and for a rule, as JSON.
#[unsafe(no_mangle)]
pub extern "C" fn vocabulary() -> usize {
    answer(|_, output| output.push_str(&parts::vocabulary()))
}

/// The place of the answer.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}

fn answer(write: impl FnOnce(&str, &mut String)) -> usize {
    INPUT.with_borrow(|input| {
        OUTPUT.with_borrow_mut(|output| {
            output.clear();
            write(&String::from_utf8_lossy(input), output);
            output.len()
        })
    })
}
