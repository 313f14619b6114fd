//! The candidates and the password in a session description (RFC 8839 section 5): pure.

use std::fmt::Write as _;
use std::net::SocketAddr;

use nat_summary::{Address, Candidate};

use crate::agent::{RemoteCandidate, Remotes, Taken};
use crate::candidate::GatheredCandidate;

pub(super) const CANDIDATE: &str = "a=candidate:";

/// The peer's description, as the library gets it.
pub(super) struct Remote {
    /// Without the candidates that no check can be sent to, and those beyond the most.
    pub(super) sdp: String,
    /// The addresses of the candidates that are left.
    pub(super) addresses: Vec<SocketAddr>,
}

/// Reads the peer's description. `alias`: the address under which the library knows one, if it can.
pub(super) fn read_remote(
    sdp: &str,
    taken: &mut Remotes,
    mut alias: impl FnMut(SocketAddr) -> Option<SocketAddr>,
) -> Remote {
    let mut remote = Remote {
        sdp: String::with_capacity(sdp.len()),
        addresses: Vec::new(),
    };
    for line in sdp.lines() {
        if let Some(value) = line.strip_prefix(CANDIDATE) {
            if let Some((address, candidate)) = read_candidate(value, &mut alias)
                && taken.take(address) == Taken::New
            {
                remote.addresses.push(address);
                // writing to a string cannot fail
                let _ = write!(remote.sdp, "a={candidate}\r\n");
            }
            continue;
        }
        remote.sdp.push_str(line);
        remote.sdp.push_str("\r\n");
    }
    remote
}

/// The password that the peer's answers are signed with. The library takes the first, and refuses
/// descriptions in which they differ.
pub(super) fn password_in(sdp: &str) -> Option<&str> {
    let mut passwords = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=ice-pwd:"));
    passwords.next().map(str::trim)
}

/// A candidate that checks can be sent to: its address, and its line for the library.
pub(super) fn read_candidate(
    value: &str,
    alias: impl FnOnce(SocketAddr) -> Option<SocketAddr>,
) -> Option<(SocketAddr, String)> {
    let mut candidate = Candidate::parse(value).ok()?;
    let address = RemoteCandidate::from_candidate(&candidate)?.address;
    let known_as = alias(address)?;
    candidate.address = Address::Ip(known_as.ip());
    // of the other family, if at all, and of no use to a check
    candidate.related = None;
    Some((address, candidate.to_string()))
}

/// Our description with these candidates in place of those that the library gathered.
pub(super) fn with_candidates(sdp: &str, candidates: &[GatheredCandidate]) -> String {
    let mut out = String::with_capacity(sdp.len() + 100 * candidates.len());
    let mut media = 0;
    let write_candidates = |out: &mut String| {
        for candidate in candidates {
            // writing to a string cannot fail
            let _ = write!(out, "a={}\r\n", candidate.as_candidate());
        }
    };
    for line in sdp.lines() {
        if line.starts_with(CANDIDATE) || line == "a=end-of-candidates" {
            continue;
        }
        if line.starts_with("m=") {
            media += 1;
            if media == 2 {
                write_candidates(&mut out);
            }
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    if media == 1 {
        write_candidates(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use nat_summary::CandidateKind;

    use super::*;
    use crate::candidate::candidate;

    const SDP: &str = "v=0\r\ns=-\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:secretsecretsecretsecret\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\n\
        a=candidate:1 1 udp 2130706431 2001:db8::7 5000 typ host\r\n\
        a=candidate:1 1 udp 1 hidden.local 5 typ host\r\n\
        a=candidate:1 300 udp 1 192.0.2.8 5 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn only_candidates_that_can_be_checked_reach_the_library() {
        let alias = |address: SocketAddr| {
            let ip = if address.is_ipv6() {
                [240, 0, 0, 0]
            } else {
                [192, 0, 2, 7]
            };
            Some(SocketAddr::from((ip, address.port())))
        };
        let remote = read_remote(SDP, &mut Remotes::new(32), alias);
        assert_eq!(password_in(SDP), Some("secretsecretsecretsecret"));
        let expected =
            ["192.0.2.7:5000", "[2001:db8::7]:5000"].map(|a| a.parse::<SocketAddr>().unwrap());
        assert_eq!(remote.addresses, expected);
        assert_eq!(remote.sdp.matches(CANDIDATE).count(), 2);
        assert!(remote.sdp.contains("240.0.0.0 5000 typ host"));
        assert!(remote.sdp.ends_with("a=end-of-candidates\r\n"));
        assert_eq!(
            read_remote(SDP, &mut Remotes::new(1), alias)
                .addresses
                .len(),
            1
        );
    }

    #[test]
    fn our_candidates_stand_in_the_first_media_description() {
        let address = SocketAddr::from(([203, 0, 113, 7], 6000));
        let ours = [candidate(
            CandidateKind::ServerReflexive,
            address,
            address,
            1,
        )];
        let second = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";
        for (sdp, media) in [(SDP.to_owned(), 1), (format!("{SDP}{second}"), 2)] {
            let written = with_candidates(&sdp, &ours);
            assert_eq!(written.matches(CANDIDATE).count(), 1, "{written}");
            let first = written.split("m=audio").next().unwrap();
            assert!(first.contains("203.0.113.7 6000 typ srflx"), "{written}");
            assert_eq!(written.matches("m=").count(), media);
        }
    }
}
