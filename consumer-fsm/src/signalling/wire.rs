//! The messages as they stand on the wire: the field names and numbers are fixed.

use std::net::IpAddr;

use ice_gather::{GatheredCandidate, RemoteCandidate};
use nat_summary::{Address, Candidate, CandidateKind, TransportProtocol};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::SignalError;
use crate::sdp::MID;

/// The kind of a message, which goes over the wire as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Kind {
    /// A producer announces itself.
    Genesis = 0,
    /// A consumer's offer.
    Offer = 1,
    /// A producer's answer.
    Answer = 2,
    /// A consumer's candidates.
    Ice = 3,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Genesis, Self::Offer, Self::Answer, Self::Ice];
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for Kind {
    type Error = SignalError;

    fn try_from(number: u8) -> Result<Self, SignalError> {
        let mut kinds = Self::ALL.into_iter();
        kinds
            .find(|kind| u8::from(*kind) == number)
            .ok_or(SignalError::Malformed)
    }
}

/// A message with the id that takes one reply to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Envelope {
    /// Takes exactly one message.
    pub reply_to: String,
    /// The kind of the payload.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// JSON.
    pub payload: String,
}

/// Payload of [`Kind::Genesis`]: the hosts that a producer offers a path to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Genesis {
    /// The hosts that the producer reaches.
    pub path_assertion: PathAssertion,
    /// A flag that newer producers send. No decision depends on it here.
    #[serde(rename = "JITUnavailable", default)]
    pub jit_unavailable: bool,
}

/// The hosts that a producer reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PathAssertion {
    /// Reachable hosts.
    pub allow: Option<Vec<Endpoint>>,
    /// Unreachable hosts.
    pub deny: Option<Vec<Endpoint>>,
}

/// A host and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// A host name, `*` for every host.
    pub host: String,
    /// Hops.
    pub distance: u32,
}

impl Genesis {
    /// A producer that reaches every host directly.
    #[must_use]
    pub fn everywhere() -> Self {
        let everywhere = Endpoint {
            host: "*".into(),
            distance: 1,
        };
        Self {
            path_assertion: PathAssertion {
                allow: Some(vec![everywhere]),
                deny: None,
            },
            jit_unavailable: false,
        }
    }
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `offer` or `answer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The description itself.
    pub sdp: String,
}

/// Payload of [`Kind::Offer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The description.
    #[serde(rename = "SDP")]
    pub sdp: Description,
    /// Free text.
    #[serde(rename = "Tag", default)]
    pub tag: String,
}

/// Payload of [`Kind::Ice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCandidates {
    /// The consumer's candidates.
    #[serde(rename = "Candidates")]
    pub candidates: Vec<WireCandidate>,
    /// Names the client: the same in all its attempts.
    #[serde(rename = "ConsumerSessionID", default)]
    pub consumer_session_id: String,
}

/// A candidate as the Go library writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are those of `nat_summary::Candidate`, under the names of the Go library"
)]
pub struct WireCandidate {
    pub foundation: String,
    pub priority: u32,
    pub address: String,
    /// 1 UDP, 2 TCP.
    pub protocol: u8,
    pub port: u16,
    /// `host`, `srflx`, `prflx` or `relay`.
    #[serde(rename = "type")]
    pub kind: String,
    pub component: u16,
    pub related_address: String,
    pub related_port: u16,
    pub tcp_type: String,
    /// The media section of the description, by its `a=mid`.
    #[serde(deserialize_with = "null_is_zero")]
    pub sdp_mid: String,
    /// The media section, by its number from 0 on.
    #[serde(rename = "sdpMLineIndex", deserialize_with = "null_is_zero")]
    pub sdp_m_line_index: u16,
}

/// As the Go library reads it: `null` is the zero value.
fn null_is_zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl From<&GatheredCandidate> for WireCandidate {
    fn from(candidate: &GatheredCandidate) -> Self {
        let related = (candidate.kind != CandidateKind::Host).then_some(candidate.base);
        Self {
            foundation: candidate.foundation.clone(),
            priority: candidate.priority,
            address: candidate.address.ip().to_string(),
            protocol: 1,
            port: candidate.address.port(),
            kind: candidate.kind.to_string(),
            component: 1,
            related_address: related
                .map(|base| base.ip().to_string())
                .unwrap_or_default(),
            related_port: related.map_or(0, |base| base.port()),
            tcp_type: String::new(),
            sdp_mid: MID.into(),
            sdp_m_line_index: 0,
        }
    }
}

impl WireCandidate {
    /// As a candidate that checks can be sent to, if it is one.
    #[must_use]
    pub fn to_remote(&self) -> Option<RemoteCandidate> {
        RemoteCandidate::from_candidate(&Candidate {
            foundation: &self.foundation,
            component: self.component,
            transport: if self.protocol == 1 {
                TransportProtocol::Udp
            } else {
                TransportProtocol::Tcp
            },
            priority: self.priority,
            address: Address::Ip(self.address.parse::<IpAddr>().ok()?.to_canonical()),
            port: self.port,
            kind: match self.kind.as_str() {
                "host" => CandidateKind::Host,
                "srflx" => CandidateKind::ServerReflexive,
                "prflx" => CandidateKind::PeerReflexive,
                "relay" => CandidateKind::Relayed,
                _ => return None,
            },
            ..Candidate::default()
        })
    }
}

/// Reads a payload.
///
/// # Errors
/// [`SignalError::Malformed`] if it is not JSON of the expected shape.
pub fn read<'a, T: Deserialize<'a>>(payload: &'a str) -> Result<T, SignalError> {
    serde_json::from_str(payload).map_err(|_| SignalError::Malformed)
}

/// Writes a payload.
#[must_use]
pub fn write<T: Serialize>(payload: &T) -> String {
    // these types have string keys only, and writing to a string cannot fail
    serde_json::to_string(payload).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_written_as_it_stands_on_the_wire() {
        assert_eq!(
            write(&Genesis::everywhere()),
            r#"{"PathAssertion":{"Allow":[{"Host":"*","Distance":1}],"Deny":null},"JITUnavailable":false}"#
        );
        let sdp = Description {
            kind: "offer".into(),
            sdp: "v=0\r\n".into(),
        };
        assert_eq!(
            write(&Offer {
                sdp,
                tag: String::new()
            }),
            r#"{"SDP":{"type":"offer","sdp":"v=0\r\n"},"Tag":""}"#
        );
        let envelope = Envelope {
            reply_to: "id".into(),
            kind: Kind::Answer,
            payload: "{}".into(),
        };
        assert_eq!(
            write(&envelope),
            r#"{"ReplyTo":"id","Type":2,"Payload":"{}"}"#
        );
        assert_eq!(
            write(&IceCandidates {
                candidates: vec![WireCandidate::default()],
                consumer_session_id: "s".into()
            }),
            concat!(
                r#"{"Candidates":[{"foundation":"","priority":0,"address":"","protocol":0,"port":0,"type":"","#,
                r#""component":0,"relatedAddress":"","relatedPort":0,"tcpType":"","sdpMid":"","#,
                r#""sdpMLineIndex":0}],"ConsumerSessionID":"s"}"#
            )
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_absent_ones_take_zero_values() {
        let text = r#"{"Candidates":[{"statsID":"x","address":"203.0.113.7","port":5,"type":"host","component":1,
            "protocol":1}],"More":[]}"#;
        let ice: IceCandidates = read(text).unwrap();
        assert_eq!(
            ice.candidates[0].to_remote().unwrap().address,
            "203.0.113.7:5".parse::<std::net::SocketAddr>().unwrap()
        );
        assert_eq!(ice.consumer_session_id, "");
    }

    #[test]
    fn a_genesis_message_and_a_candidate_are_read_with_and_without_their_newer_fields() {
        let old = r#"{"PathAssertion":{"Allow":[{"Host":"*","Distance":1}],"Deny":null}}"#;
        assert_eq!(read(old), Ok(Genesis::everywhere()));
        let new = old.replace("null}}", r#"null},"JITUnavailable":true}"#);
        assert!(read::<Genesis>(&new).unwrap().jit_unavailable);
        for (text, mid, index) in [
            ("{}", "", 0),
            (r#"{"sdpMid":"data","sdpMLineIndex":2}"#, "data", 2),
            (r#"{"sdpMid":null,"sdpMLineIndex":null}"#, "", 0),
        ] {
            let read: WireCandidate = read(text).unwrap();
            assert_eq!((&*read.sdp_mid, read.sdp_m_line_index), (mid, index));
        }
    }

    #[test]
    fn what_is_not_json_or_of_another_shape_is_malformed() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"ReplyTo":"x","Type":9,"Payload":""}"#,
            r#"{"ReplyTo":1}"#,
        ] {
            assert_eq!(
                read::<Envelope>(text),
                Err(SignalError::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn candidates_nobody_can_reach_are_left_out() {
        let good = WireCandidate {
            address: "203.0.113.7".into(),
            port: 5,
            kind: "srflx".into(),
            component: 1,
            protocol: 1,
            ..Default::default()
        };
        assert!(good.to_remote().is_some());
        for bad in [
            WireCandidate {
                address: "hidden.local".into(),
                ..good.clone()
            },
            WireCandidate {
                kind: "magic".into(),
                ..good.clone()
            },
            WireCandidate {
                component: 0,
                ..good.clone()
            },
            WireCandidate {
                protocol: 2,
                ..good.clone()
            },
        ] {
            assert_eq!(bad.to_remote(), None, "{bad:?}");
        }
    }
}
