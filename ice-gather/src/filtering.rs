//! Active discovery of how a NAT filters (RFC 5780 section 4.4). Opt-in: it costs packets and a
//! socket of its own.
//!
//! A probe on the base itself would open the base's filter and so spoil the observation. Each
//! discovery takes a fresh socket, and one server that has a second address (OTHER-ADDRESS, or
//! CHANGED-ADDRESS of older servers).
//!
//! An answer from an address that was never sent to is proof. Silence is none, because the server may
//! ignore the change that it was asked for, or packets may be lost. So after silence the filter is
//! opened on purpose and the same is asked again, as often; only if every one of those answers
//! arrives did the filter cause the silence before.

use std::net::SocketAddr;
use std::time::Duration;

use nat_summary::Filtering;
use tokio::time::{Instant, timeout_at};

use crate::base::Base;
use crate::stun::{
    Change, TransactionId, other_address, read_answer, write_change_request, write_request,
};

/// Copies of each request; each has a transaction of its own, so that its answers can be counted.
const COPIES: usize = 4;
/// Between two copies.
const SPACING: Duration = Duration::from_millis(30);
/// Wait behind the last copy: three round trips, and at least this long.
const SHORTEST_WAIT: Duration = Duration::from_millis(80);
/// The whole discovery.
const LONGEST: Duration = Duration::from_millis(1500);

/// The finding about a NAT's filter with the help of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finding {
    /// How the filter works.
    Known(Filtering),
    /// The server did not answer.
    Silent,
    /// The server has no second address.
    NoOtherAddress,
    /// Packets were lost, the server does not answer from where it was asked to, or answers came in
    /// on a [port](crate::BindConfig::ports) that may have been another socket's: nothing is
    /// proven.
    Inconclusive,
}

impl Finding {
    /// The filtering that several findings agree on: unknown if they contradict each other.
    ///
    /// ```
    /// use ice_gather::Finding::{Known, Silent};
    /// use nat_summary::Filtering::{AddressDependent, EndpointIndependent, Unknown};
    ///
    /// assert_eq!(ice_gather::Finding::agree([Known(AddressDependent), Silent]), AddressDependent);
    /// assert_eq!(ice_gather::Finding::agree([Known(AddressDependent), Known(EndpointIndependent)]), Unknown);
    /// ```
    #[must_use]
    pub fn agree(findings: impl IntoIterator<Item = Self>) -> Filtering {
        let mut agreed = None;
        for finding in findings {
            if let Self::Known(filtering) = finding {
                if agreed.is_some_and(|known| known != filtering) {
                    return Filtering::Unknown;
                }
                agreed = Some(filtering);
            }
        }
        agreed.unwrap_or_default()
    }
}

/// Finds out how the filter in front of `extra` works, with the help of `server`, within 1.5 s.
/// `extra` has to be a fresh base that never sent anything; it is closed behind it.
pub async fn discover_filtering(extra: Base, server: SocketAddr) -> Finding {
    let deadline = Instant::now() + LONGEST;
    let mut probe = Probe {
        base: extra,
        server,
        round_trip: Duration::ZERO,
    };
    timeout_at(deadline, probe.run())
        .await
        .unwrap_or(Finding::Inconclusive)
}

struct Probe {
    base: Base,
    server: SocketAddr,
    round_trip: Duration,
}

/// A question: where it is sent, which change of the answer's source it asks for, and where the
/// answer must come from.
#[derive(Clone, Copy)]
struct Question {
    to: SocketAddr,
    change: Option<Change>,
    from: SocketAddr,
}

impl Probe {
    async fn run(&mut self) -> Finding {
        let server = self.server;
        let plain = |to| Question {
            to,
            change: None,
            from: to,
        };
        let asked = Instant::now();
        let Some(first) = self.first_answer(plain(server)).await else {
            return Finding::Silent;
        };
        self.round_trip = asked.elapsed();
        let Some(other) =
            other_address(&first).filter(|o| o.ip() != server.ip() && o.port() != server.port())
        else {
            return Finding::NoOtherAddress;
        };
        let other_port = SocketAddr::new(server.ip(), other.port());
        let from_other = Question {
            to: server,
            change: Some(Change::AddressAndPort),
            from: other,
        };
        let from_other_port = Question {
            to: server,
            change: Some(Change::Port),
            from: other_port,
        };

        let [by_other, by_port] = self.ask([from_other, from_other_port]).await;
        if by_other > 0 {
            return self.let_in(Filtering::EndpointIndependent);
        }
        // now with the filter opened toward where the answers come from
        let [alive, opened] = self.ask([plain(other), from_other]).await;
        if alive < COPIES || opened < COPIES {
            return Finding::Inconclusive;
        }
        if by_port > 0 {
            return self.let_in(Filtering::AddressDependent);
        }
        let [alive, opened] = self.ask([plain(other_port), from_other_port]).await;
        if alive < COPIES || opened < COPIES {
            return Finding::Inconclusive;
        }
        Finding::Known(Filtering::AddressAndPortDependent)
    }

    /// The finding from an answer that was let in: none, if an earlier socket may have opened the
    /// filter on this port.
    fn let_in(&self, filtering: Filtering) -> Finding {
        if self.base.shared().is_port_old() {
            Finding::Inconclusive
        } else {
            Finding::Known(filtering)
        }
    }

    /// The first answer to `question`, of any kind.
    async fn first_answer(&self, question: Question) -> Option<Vec<u8>> {
        let mut ids = Vec::new();
        let mut buffer = [0; 1500];
        for _ in 0..COPIES {
            ids.push(self.send(question).await?);
            let until = Instant::now() + 2 * SHORTEST_WAIT;
            while let Ok(Some((length, source))) =
                timeout_at(until, self.base.shared().recv_extra(&mut buffer)).await
            {
                let datagram = &buffer[..length];
                if source == question.from
                    && read_answer(datagram).is_ok_and(|(id, _)| ids.contains(&id))
                {
                    return Some(datagram.to_vec());
                }
            }
        }
        None
    }

    /// Sends every copy of two questions, the first one's a little ahead; how many answers each got
    /// from where they had to come.
    async fn ask(&self, questions: [Question; 2]) -> [usize; 2] {
        let mut pending: Vec<(TransactionId, usize)> = Vec::with_capacity(2 * COPIES);
        let mut answers = [0; 2];
        let mut buffer = [0; 1500];
        for copy in 0..=COPIES {
            let last = copy == COPIES;
            if !last {
                for (number, question) in questions.into_iter().enumerate() {
                    if let Some(id) = self.send(question).await {
                        pending.push((id, number));
                    }
                }
            }
            let wait = if last {
                SHORTEST_WAIT.max(3 * self.round_trip)
            } else {
                SPACING
            };
            let until = Instant::now() + wait;
            while let Ok(Some((length, source))) =
                timeout_at(until, self.base.shared().recv_extra(&mut buffer)).await
            {
                let Ok((id, _)) = read_answer(&buffer[..length]) else {
                    continue;
                };
                let Some(at) = pending.iter().position(|(asked, _)| *asked == id) else {
                    continue;
                };
                if questions
                    .get(pending[at].1)
                    .is_some_and(|question| question.from == source)
                {
                    answers[pending.swap_remove(at).1] += 1;
                }
                if last && pending.is_empty() {
                    return answers;
                }
            }
        }
        answers
    }

    async fn send(&self, question: Question) -> Option<TransactionId> {
        let id = rand::random();
        let sent = match question.change {
            None => {
                self.base
                    .shared()
                    .send_extra(&write_request(id), question.to)
                    .await
            }
            Some(change) => {
                self.base
                    .shared()
                    .send_extra(&write_change_request(id, change), question.to)
                    .await
            }
        };
        sent.then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_contradict_each_other_prove_nothing() {
        use Filtering::{AddressDependent, EndpointIndependent, Unknown};
        let known = Finding::Known;
        assert_eq!(Finding::agree([]), Unknown);
        assert_eq!(
            Finding::agree([
                Finding::Silent,
                Finding::NoOtherAddress,
                Finding::Inconclusive
            ]),
            Unknown
        );
        assert_eq!(
            Finding::agree([
                Finding::Silent,
                known(AddressDependent),
                known(AddressDependent)
            ]),
            AddressDependent
        );
        assert_eq!(
            Finding::agree([known(AddressDependent), known(EndpointIndependent)]),
            Unknown
        );
    }
}
