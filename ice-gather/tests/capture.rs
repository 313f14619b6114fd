//! Captures, written byte by byte.

fn main() {}
