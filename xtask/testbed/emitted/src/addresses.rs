//! Finds addresses wherever they hide in a text.

use std::net::IpAddr;

/// Every word of `text` that reads as an address, with or without a prefix length or a port. A path
/// of Rust's, such as `it::run`, is one word and no address.
pub fn addresses(text: &str) -> Vec<IpAddr> {
    text.split(|c: char| !(c.is_alphanumeric() || "_.:".contains(c)))
        .flat_map(|word| {
            let bare = word.trim_matches(|c| c == '.' || c == ':');
            let socket = |word: &str| {
                word.parse::<std::net::SocketAddr>()
                    .ok()
                    .map(|socket| socket.ip())
            };
            [word.parse().ok(), bare.parse().ok(), socket(bare)]
        })
        .flatten()
        .collect()
}

#[test]
fn the_reader_finds_an_address_wherever_it_hides() {
    for text in [
        "at 203.0.113.7.",
        "(203.0.113.7:50000)",
        "203.0.113.7/32",
        "[2001:db8::7]:1",
        "x=\"2001:db8::7\"",
        "http://203.0.113.7:1/x",
        "\u{12}\r203.0.113.7\u{1a}",
    ] {
        assert!(!addresses(text).is_empty(), "{text}");
    }
    for text in [
        "Cone NAT",
        "0.1.0",
        "address-port dependent",
        "12:30",
        "it::run",
        "a::bad::c",
    ] {
        assert!(addresses(text).is_empty(), "{text}");
    }
}
