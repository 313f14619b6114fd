//! Any text as a candidate line, as a text with candidates of two sides in it, and as a server URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nat_summary::{Candidate, Evidence, ServerId, Sides};

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
    let sides = Sides::of(text);
    let parts: Vec<Evidence> = sides
        .local()
        .into_iter()
        .chain(sides.remote())
        .chain(sides.unassigned())
        .collect();
    assert_eq!(sides.is_empty(), parts.is_empty(), "a part without anything in it");
    assert!(parts.len() <= 10, "more parts than there is room for");
    for part in &parts {
        assert!(
            part.summary().counts().server_addresses < 2
                || part.summary().mapping() != nat_summary::Mapping::EndpointIndependent
                || text.contains("stun:")
                || text.contains("turn:"),
            "lines of a text agreed without a server"
        );
    }
    let _ = sides.with_address().to_string();
    let evidence = Evidence::from_text(text);
    let _ = (
        evidence.summary().with_address().to_string(),
        ServerId::from_url(text),
    );
});
