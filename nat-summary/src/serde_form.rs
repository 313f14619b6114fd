//! How evidence and summaries are written down, under names that stay.

use core::fmt;
use core::marker::PhantomData;
use core::net::{IpAddr, SocketAddr};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::evidence::{Discarded, Evidence, ListFacts, Observation, Outcome, Seen, Truncated};
use crate::failure::FailureCause;
use crate::peer::PeerEvidence;
use crate::server::ServerId;
use crate::summary::{BaseVerdict, Bases, MAX_BASES};

/// `198.51.100.1:3478`, `name:0123456789abcdef:3478` or `anonymous:0`.
struct Written(ServerId);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServerId::Address(ip, port) => SocketAddr::new(ip, port).fmt(f),
            ServerId::Name(hash, port) => write!(f, "name:{hash:016x}:{port}"),
            ServerId::Anonymous(number) => write!(f, "anonymous:{number}"),
        }
    }
}

fn read_server(text: &str) -> Option<ServerId> {
    if let Some(number) = text.strip_prefix("anonymous:") {
        return number.parse().ok().map(ServerId::Anonymous);
    }
    if let Some((hash, port)) = text
        .strip_prefix("name:")
        .and_then(|rest| rest.split_once(':'))
    {
        return Some(ServerId::Name(
            u64::from_str_radix(hash, 16).ok()?,
            port.parse().ok()?,
        ));
    }
    text.parse::<SocketAddr>().ok().map(ServerId::from)
}

impl Serialize for ServerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Written(*self))
    }
}

impl<'de> Deserialize<'de> for ServerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ServerId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`address:port`, `name:hash:port` or `anonymous:number`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ServerId, E> {
                read_server(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[derive(Serialize, Deserialize)]
struct SeenForm {
    base: SocketAddr,
    server: ServerId,
    mapped: SocketAddr,
    sequence: u32,
    #[serde(default)]
    rewritten: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    resent: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    of_text: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    session: u32,
}

/// Its word.
impl Serialize for FailureCause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FailureCause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = FailureCause;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word of a cause")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<FailureCause, E> {
                FailureCause::of_word(word)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(word), &self))
            }
        }
        deserializer.deserialize_str(Word)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
struct AskedForm {
    server: ServerId,
    outcome: Outcome,
}

impl From<&Seen> for SeenForm {
    fn from(seen: &Seen) -> Self {
        let observation = Observation::from(seen);
        Self {
            base: observation.base,
            server: observation.server,
            mapped: observation.mapped,
            sequence: observation.sequence,
            rewritten: seen.rewritten(),
            resent: seen.is_resent(),
            of_text: seen.is_of_text(),
            session: seen.session,
        }
    }
}

/// A sequence made on the way out.
struct Each<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let asked = |(server, outcome): &(ServerId, Outcome)| AskedForm {
            server: *server,
            outcome: *outcome,
        };
        let mut form = serializer.serialize_struct("Evidence", FIELDS.len())?;
        form.serialize_field(
            "observations",
            &Each(|| self.observed().iter().map(SeenForm::from)),
        )?;
        form.serialize_field("servers", &Each(|| self.servers().iter().map(asked)))?;
        form.serialize_field("locals", self.locals())?;
        form.serialize_field("list", &self.list())?;
        form.serialize_field("signs_of_life", &self.signs_of_life())?;
        form.serialize_field("crowded", &self.truncated())?;
        form.serialize_field("discarded", &self.discarded())?;
        form.end()
    }
}

const FIELDS: &[&str] = &[
    "observations",
    "servers",
    "locals",
    "list",
    "signs_of_life",
    "crowded",
    "discarded",
];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Field {
    Observations,
    Servers,
    Locals,
    List,
    SignsOfLife,
    Crowded,
    Discarded,
    #[serde(other)]
    Other,
}

/// Takes the elements of a sequence into some evidence, one at a time.
struct Take<'a, E, T, F>(&'a mut E, F, PhantomData<T>);

impl<'de, E, T: Deserialize<'de>, F: Fn(&mut E, T)> DeserializeSeed<'de> for Take<'_, E, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, E, T: Deserialize<'de>, F: Fn(&mut E, T)> Visitor<'de> for Take<'_, E, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of facts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut facts: A) -> Result<(), A::Error> {
        while let Some(fact) = facts.next_element()? {
            (self.1)(self.0, fact);
        }
        Ok(())
    }
}

fn take<E, T, F: Fn(&mut E, T)>(evidence: &mut E, how: F) -> Take<'_, E, T, F> {
    Take(evidence, how, PhantomData)
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Facts;
        impl<'de> Visitor<'de> for Facts {
            type Value = Evidence;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("evidence")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Evidence, A::Error> {
                let mut evidence = Evidence::new();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Observations => map.next_value_seed(take(
                            &mut evidence,
                            |e: &mut Evidence, seen: SeenForm| {
                                let SeenForm {
                                    base,
                                    server,
                                    mapped,
                                    sequence,
                                    rewritten,
                                    resent,
                                    of_text,
                                    session,
                                } = seen;
                                let observation = Observation {
                                    base,
                                    server,
                                    mapped,
                                    sequence,
                                };
                                let seen = Seen::new(&observation, rewritten)
                                    .resent(resent)
                                    .in_text(of_text)
                                    .in_session(session);
                                e.see(seen);
                            },
                        ))?,
                        Field::Servers => map.next_value_seed(take(
                            &mut evidence,
                            |e: &mut Evidence, asked: AskedForm| {
                                e.record_outcome(asked.server, asked.outcome);
                            },
                        ))?,
                        Field::Locals => map.next_value_seed(take(
                            &mut evidence,
                            |e: &mut Evidence, ip: IpAddr| {
                                e.add_local(ip);
                            },
                        ))?,
                        Field::List => {
                            if let Some(list) = map.next_value::<Option<ListFacts>>()? {
                                evidence.merge_list(list);
                            }
                        }
                        Field::SignsOfLife => evidence.merge_signs(map.next_value()?),
                        Field::Crowded => evidence
                            .merge_loss(map.next_value::<Truncated>()?, Discarded::default()),
                        Field::Discarded => {
                            evidence.merge_loss(Truncated::default(), map.next_value()?)
                        }
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(evidence)
            }
        }
        deserializer.deserialize_struct("Evidence", FIELDS, Facts)
    }
}

impl Serialize for PeerEvidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = serializer.serialize_struct("PeerEvidence", PEER_FIELDS.len())?;
        form.serialize_field("answers", self.answer_evidence())?;
        form.serialize_field("arrivals", &Each(|| self.unsolicited_checks()))?;
        form.serialize_field("overflow", &self.lost_checks())?;
        form.end()
    }
}

const PEER_FIELDS: &[&str] = &["answers", "arrivals", "overflow"];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PeerField {
    Answers,
    Arrivals,
    Overflow,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for PeerEvidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Facts;
        impl<'de> Visitor<'de> for Facts {
            type Value = PeerEvidence;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("evidence of the peer")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PeerEvidence, A::Error> {
                let mut evidence = PeerEvidence::new();
                while let Some(field) = map.next_key()? {
                    match field {
                        PeerField::Answers => evidence.merge_answers(&map.next_value()?),
                        PeerField::Arrivals => {
                            map.next_value_seed(take(
                                &mut evidence,
                                |e: &mut PeerEvidence, check| {
                                    e.record_unsolicited(check);
                                },
                            ))?;
                        }
                        PeerField::Overflow => evidence.lose(map.next_value()?),
                        PeerField::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(evidence)
            }
        }
        deserializer.deserialize_struct("PeerEvidence", PEER_FIELDS, Facts)
    }
}

/// The verdicts that are there, as a sequence.
impl Serialize for Bases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().flatten())
    }
}

impl<'de> Deserialize<'de> for Bases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Verdicts;
        impl<'de> Visitor<'de> for Verdicts {
            type Value = Bases;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_BASES} verdicts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut verdicts: A) -> Result<Bases, A::Error> {
                let mut bases = [None; MAX_BASES];
                let mut len = 0;
                while let Some(verdict) = verdicts.next_element::<BaseVerdict>()? {
                    *bases
                        .get_mut(len)
                        .ok_or_else(|| A::Error::invalid_length(len + 1, &self))? = Some(verdict);
                    len += 1;
                }
                Ok(Bases(bases))
            }
        }
        deserializer.deserialize_seq(Verdicts)
    }
}
