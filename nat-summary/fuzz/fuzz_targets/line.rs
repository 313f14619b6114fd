//! Any text as a candidate line, as a text with candidates in it, and as a server URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nat_summary::{Candidate, Evidence, ServerId};

fuzz_target!(|text: &str| {
    match Candidate::parse(text) {
        Ok(candidate) => {
            let printed = candidate.to_string();
            assert_eq!(
                Candidate::parse(&printed),
                Ok(candidate),
                "what is printed is not read back"
            );
            assert!(!printed.contains(['\n', '\r']), "a line break got through");
        }
        Err(error) => assert!(
            text.is_char_boundary(error.position),
            "no place in the text"
        ),
    }
    for candidate in Candidate::all_in(text) {
        if let Err(error) = candidate {
            assert!(
                text.is_char_boundary(error.position),
                "no place in the text"
            );
        }
    }
    let evidence = Evidence::from_text(text);
    let _ = (
        evidence.summary().with_address().to_string(),
        ServerId::from_url(text),
    );
});
