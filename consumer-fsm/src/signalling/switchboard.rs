//! The signalling service itself, without a wire: which message waits for which reply.

use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::budget::{Budget, Client, Share};
use super::wire::{Envelope, Kind, read, write};
use super::{GENESIS, SignalError};
use crate::wait::bounded;

/// Longest payload passed on, in bytes.
pub(super) const MAX_PAYLOAD: usize = 128 * 1024;
/// Longest envelope passed on, in bytes as JSON. An escape of JSON takes six bytes for one
/// character.
pub(super) const MAX_ENVELOPE: usize = 256 * 1024;
/// Memory of a message besides its text, in bytes: its entries in the tables, and its channel.
const OVERHEAD: usize = 512;
/// Distance in genesis messages between the beginnings of two streams that follow each other. A
/// consumer chooses among its first 256 messages, so consumers that all began with the same message
/// would race for the same few producers.
const TURN: usize = 256;

/// How long the service keeps streams and messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwitchboardTiming {
    /// How long a stream of genesis messages stays open; 20 s by default.
    pub listen: Duration,
    /// How long a genesis message waits for its reply; 5 s by default.
    pub genesis: Duration,
    /// How long an offer or an answer waits for its reply; 15 s by default.
    pub exchange: Duration,
}

impl Default for SwitchboardTiming {
    fn default() -> Self {
        Self {
            listen: Duration::from_secs(20),
            genesis: Duration::from_secs(5),
            exchange: Duration::from_secs(15),
        }
    }
}

impl SwitchboardTiming {
    /// Sets how long a stream of genesis messages stays open.
    #[must_use]
    pub const fn with_listen(mut self, listen: Duration) -> Self {
        self.listen = listen;
        self
    }

    /// Sets how long a genesis message waits for its reply.
    #[must_use]
    pub const fn with_genesis(mut self, genesis: Duration) -> Self {
        self.genesis = genesis;
        self
    }

    /// Sets how long an offer or an answer waits for its reply.
    #[must_use]
    pub const fn with_exchange(mut self, exchange: Duration) -> Self {
        self.exchange = exchange;
        self
    }

    pub(super) const fn bounded(self) -> Self {
        Self {
            listen: bounded(self.listen),
            genesis: bounded(self.genesis),
            exchange: bounded(self.exchange),
        }
    }
}

/// Bounds of the memory for messages, in bytes: messages that wait for a reply, messages that are
/// being sent to listeners, and request bodies that are still being received.
///
/// The bounds count per address, because strangers may post. An IPv6 network of 64 bits counts as
/// one address. One address gets at most `bytes_per_address`, and at most an eighth of the bytes
/// that are still free. A post beyond its bound fails with [`SignalError::NoRoom`]. Posts within
/// this process have no address, so [`bytes`](Self::bytes) alone bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SwitchboardLimits {
    /// Bytes of all messages together; 64 MiB by default.
    pub bytes: usize,
    /// Bytes of the messages of one address; 4 MiB by default.
    pub bytes_per_address: usize,
}

impl Default for SwitchboardLimits {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024 * 1024,
            bytes_per_address: 4 * 1024 * 1024,
        }
    }
}

impl SwitchboardLimits {
    /// Sets the bound of all messages together.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets the bound of the messages of one address.
    #[must_use]
    pub const fn with_bytes_per_address(mut self, bytes: usize) -> Self {
        self.bytes_per_address = bytes;
        self
    }
}

/// The result of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// The reply.
    Reply(Envelope),
    /// There was no reply in time, or no reply is due.
    Nothing,
}

/// The board of waiting messages, which hands each reply to the post that waits for it. Clones are
/// the same switchboard.
#[derive(Debug, Clone)]
pub struct Switchboard {
    inner: Arc<Inner>,
}

struct Inner {
    timing: SwitchboardTiming,
    bytes: Budget,
    board: Mutex<Board>,
    /// Changes with each new genesis message.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Board {
    /// By reply-to id.
    waiting: HashMap<Uuid, Waiting>,
    /// Those of the waiting messages that every listener hears, in the order they came.
    genesis: BTreeMap<u64, Bytes>,
    /// Number of the latest genesis message.
    latest: u64,
    /// Where the next listener begins.
    turn: u64,
}

struct Waiting {
    reply: oneshot::Sender<Bytes>,
    takes: Kind,
    /// Number of a genesis message.
    genesis: Option<u64>,
}

/// An envelope as it stands on the wire, a line with its break, and its part of the budget.
struct Line {
    text: String,
    _share: Share,
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Default for Switchboard {
    fn default() -> Self {
        Self::new(SwitchboardTiming::default())
    }
}

impl Switchboard {
    /// A switchboard with these times.
    #[must_use]
    pub fn new(timing: SwitchboardTiming) -> Self {
        Self::of(timing.bounded(), SwitchboardLimits::default())
    }

    /// A switchboard with the same times and these limits; messages stay with the one before.
    #[must_use]
    pub fn with_limits(self, limits: SwitchboardLimits) -> Self {
        Self::of(self.timing(), limits)
    }

    fn of(timing: SwitchboardTiming, limits: SwitchboardLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                timing,
                bytes: Budget::new(limits.bytes, limits.bytes_per_address),
                board: Mutex::default(),
                news: watch::Sender::new(()),
            }),
        }
    }

    /// The service's times.
    #[must_use]
    pub fn timing(&self) -> SwitchboardTiming {
        self.inner.timing
    }

    /// Messages that wait for a reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.board().waiting.len()
    }

    /// A part of the budget for this client.
    ///
    /// # Errors
    /// [`SignalError::NoRoom`].
    pub(super) fn room(&self, client: Option<Client>, bytes: usize) -> Result<Share, SignalError> {
        let room = self.inner.bytes.take(client, bytes);
        room.ok_or(SignalError::NoRoom)
    }

    /// Every genesis message that waits for a reply, and those from now on.
    pub(super) fn listen(&self) -> Announcements {
        let until = Instant::now() + self.timing().listen;
        let mut board = self.inner.board();
        let (turn, end) = (board.turn, board.latest + 1);
        board.turn = board.after_turn();
        Announcements {
            inner: Arc::clone(&self.inner),
            left: [end..u64::MAX, 0..turn, turn..end],
            news: self.inner.news.subscribe(),
            until,
        }
    }

    /// Passes one message on and waits for the reply. Cancel safe: a post that was given up takes
    /// no reply.
    ///
    /// # Errors
    /// [`SignalError::Gone`] if no message waits under the id `to`. [`SignalError::Rejected`] if
    /// the message is too long, or of a kind that does not reply to the waiting message, which then
    /// goes on waiting. [`SignalError::NoRoom`] beyond the [limits](SwitchboardLimits).
    pub async fn post(&self, to: &str, kind: Kind, payload: String) -> Result<Posted, SignalError> {
        let reply = self.post_from(None, to, kind, payload).await?;
        reply.map_or(Ok(Posted::Nothing), |reply| {
            Ok(Posted::Reply(envelope(&reply)?))
        })
    }

    /// The same for a client by its address; the reply as a line.
    pub(super) async fn post_from(
        &self,
        client: Option<Client>,
        to: &str,
        kind: Kind,
        payload: String,
    ) -> Result<Option<Bytes>, SignalError> {
        let is_genesis = kind == Kind::Genesis;
        if payload.len() > MAX_PAYLOAD || is_genesis != (to == GENESIS) {
            return Err(SignalError::Rejected);
        }
        let inner = &*self.inner;
        let post = Post {
            inner,
            reply_to: Uuid::new_v4(),
        };
        let text = write(&Envelope {
            reply_to: post.reply_to.to_string(),
            kind,
            payload,
        });
        let line = self.line(client, text)?;
        let reply = if is_genesis {
            Some(inner.board().announce(post.reply_to, line))
        } else {
            let to = to.parse().map_err(|_| SignalError::Gone)?;
            inner.board().reply(to, kind, post.reply_to, line)?
        };
        let Some(mut reply) = reply else {
            return Ok(None);
        };
        let patience = if is_genesis {
            inner.news.send_replace(());
            inner.timing.genesis
        } else {
            inner.timing.exchange
        };
        Ok(match timeout(patience, &mut reply).await {
            Ok(reply) => reply.ok(),
            Err(_) => {
                drop(post);
                // a reply may have come at the last moment, and its sender believes that it arrived
                reply.try_recv().ok()
            }
        })
    }

    fn line(&self, client: Option<Client>, mut text: String) -> Result<Bytes, SignalError> {
        if text.len() > MAX_ENVELOPE {
            return Err(SignalError::Rejected);
        }
        let share = self.room(client, text.len() + OVERHEAD)?;
        text.push('\n');
        text.shrink_to_fit();
        Ok(Bytes::from_owner(Line {
            text,
            _share: share,
        }))
    }
}

/// Reads a line of this switchboard.
pub(super) fn envelope(line: &[u8]) -> Result<Envelope, SignalError> {
    read(core::str::from_utf8(line).map_err(|_| SignalError::Malformed)?)
}

/// The one kind of message that replies to this one.
const fn reply_to(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Genesis => Some(Kind::Offer),
        Kind::Offer => Some(Kind::Answer),
        Kind::Answer => Some(Kind::Ice),
        Kind::Ice => None,
    }
}

impl Inner {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("timing", &self.timing)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Board {
    /// Where the listener after the next one begins.
    fn after_turn(&self) -> u64 {
        let later = self.genesis.range(self.turn..);
        let earlier = self.genesis.range(..self.turn);
        later
            .chain(earlier)
            .map(|(number, _)| *number)
            .nth(TURN)
            .unwrap_or(0)
    }

    /// Lets a genesis message wait.
    fn announce(&mut self, id: Uuid, line: Bytes) -> oneshot::Receiver<Bytes> {
        self.latest += 1;
        self.genesis.insert(self.latest, line);
        self.wait(id, Kind::Offer, Some(self.latest))
    }

    /// Passes a reply on, and lets it wait if one is due to it.
    fn reply(
        &mut self,
        to: Uuid,
        kind: Kind,
        id: Uuid,
        line: Bytes,
    ) -> Result<Option<oneshot::Receiver<Bytes>>, SignalError> {
        let takes = self.waiting.get(&to).ok_or(SignalError::Gone)?.takes;
        if takes != kind {
            return Err(SignalError::Rejected);
        }
        let recipient = self.take(to).ok_or(SignalError::Gone)?;
        let reply = reply_to(kind).map(|takes| self.wait(id, takes, None));
        recipient.send(line).map_err(|_| SignalError::Gone)?;
        Ok(reply)
    }

    fn wait(&mut self, id: Uuid, takes: Kind, genesis: Option<u64>) -> oneshot::Receiver<Bytes> {
        let (sender, reply) = oneshot::channel();
        let waiting = Waiting {
            reply: sender,
            takes,
            genesis,
        };
        self.waiting.insert(id, waiting);
        reply
    }

    /// Ends the wait under this id.
    fn take(&mut self, id: Uuid) -> Option<oneshot::Sender<Bytes>> {
        let Waiting { reply, genesis, .. } = self.waiting.remove(&id)?;
        if let Some(number) = genesis {
            self.genesis.remove(&number);
        }
        Some(reply)
    }
}

/// A post in progress: its reply-to id ends with it.
struct Post<'a> {
    inner: &'a Inner,
    reply_to: Uuid,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        let ended = self.inner.board().take(self.reply_to);
        drop(ended);
    }
}

/// Genesis messages as lines, each once, for as long as the service holds a stream open.
#[derive(Debug)]
pub(super) struct Announcements {
    inner: Arc<Inner>,
    /// Numbers of the messages that are still to come, the next ones last.
    left: [Range<u64>; 3],
    news: watch::Receiver<()>,
    until: Instant,
}

impl Announcements {
    /// The next one; `None` once the time is over. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        // compared each time: a listener that always has something at hand is never timed out
        while Instant::now() < self.until {
            if let Some(line) = self.waiting() {
                return Some(line);
            }
            timeout_at(self.until, self.news.changed())
                .await
                .ok()?
                .ok()?;
        }
        None
    }

    fn waiting(&mut self) -> Option<Bytes> {
        let board = self.inner.board();
        self.left.iter_mut().rev().find_map(|left| {
            let (number, line) = board.genesis.range(left.clone()).next()?;
            left.start = number + 1;
            Some(line.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    type Posts = JoinSet<Result<Posted, SignalError>>;

    /// One that so many producers wait at.
    async fn with_waiting(producers: usize) -> (Switchboard, Posts) {
        let switchboard = Switchboard::default();
        let mut posts = JoinSet::new();
        for _ in 0..producers {
            let switchboard = switchboard.clone();
            posts.spawn(async move { switchboard.post(GENESIS, Kind::Genesis, "{}".into()).await });
        }
        while switchboard.waiting() < producers {
            tokio::task::yield_now().await;
        }
        (switchboard, posts)
    }

    /// The reply-to ids of the messages that a new listener receives at once.
    fn heard(switchboard: &Switchboard) -> Vec<String> {
        let mut announcements = switchboard.listen();
        core::iter::from_fn(|| announcements.waiting())
            .map(|line| {
                str::from_utf8(&line["{'ReplyTo':'".len()..][..36])
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn for_ever_is_a_time_as_well() {
        let ever = Duration::MAX;
        let timing = SwitchboardTiming::default()
            .with_listen(ever)
            .with_genesis(ever)
            .with_exchange(ever);
        let timing = Switchboard::new(timing).timing();
        for time in [timing.listen, timing.genesis, timing.exchange] {
            assert!(std::time::Instant::now().checked_add(time).is_some());
        }
    }

    #[tokio::test]
    async fn each_of_a_thousand_listeners_hears_all_of_a_thousand_producers_and_begins_elsewhere() {
        let (switchboard, _posts) = with_waiting(1_000).await;
        let mut heard_early = HashMap::<String, usize>::new();
        for _ in 0..1_000 {
            let mut heard = heard(&switchboard);
            assert_eq!(heard.len(), 1_000);
            let early = heard.split_off(TURN);
            for id in &heard {
                *heard_early.entry(id.clone()).or_default() += 1;
            }
            heard.extend(early);
            heard.sort_unstable();
            heard.dedup();
            assert_eq!(heard.len(), 1_000, "each once");
        }
        assert_eq!(heard_early.len(), 1_000);
        let is_even = heard_early.values().all(|times| *times == TURN);
        assert!(is_even, "{heard_early:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_hears_what_waits_and_what_comes_once_each_until_its_time_is_over() {
        let (switchboard, _posts) = with_waiting(3).await;
        let mut announcements = switchboard.listen();
        let mut heard = Vec::new();
        for number in 0..6 {
            if number >= 3 {
                let late = switchboard.clone();
                tokio::spawn(async move { late.post(GENESIS, Kind::Genesis, "{}".into()).await });
            }
            let line = announcements.next().await.unwrap();
            heard.push(envelope(&line).unwrap().reply_to);
        }
        heard.sort_unstable();
        heard.dedup();
        assert_eq!(heard.len(), 6);
        let started = Instant::now();
        assert_eq!(announcements.next().await, None);
        assert_eq!(started.elapsed().as_secs(), 20);
    }

    #[tokio::test]
    async fn a_producer_that_was_answered_or_gave_up_is_heard_no_more() {
        let (switchboard, mut posts) = with_waiting(2).await;
        let ids = heard(&switchboard);
        let offer = tokio::spawn({
            let (switchboard, to) = (switchboard.clone(), ids[0].clone());
            async move { switchboard.post(&to, Kind::Offer, "{}".into()).await }
        });
        let answered = posts.join_next().await;
        assert!(matches!(answered, Some(Ok(Ok(Posted::Reply(_))))));
        assert_eq!(heard(&switchboard), ids[1..]);
        posts.shutdown().await;
        offer.abort();
        assert!(offer.await.is_err());
        assert!(heard(&switchboard).is_empty());
        assert_eq!(switchboard.waiting(), 0);
    }

    #[tokio::test]
    async fn a_reply_of_the_wrong_kind_is_refused_and_the_recipient_goes_on_waiting() {
        let (switchboard, mut posts) = with_waiting(1).await;
        let to = heard(&switchboard).remove(0);
        for kind in [Kind::Answer, Kind::Ice] {
            let refused = switchboard.post(&to, kind, "{}".into()).await;
            assert_eq!(refused, Err(SignalError::Rejected), "{kind:?}");
        }
        assert_eq!(switchboard.waiting(), 1);
        let offering = switchboard.post(&to, Kind::Offer, "{}".into());
        let answering = async {
            let offer = posts.join_next().await.unwrap().unwrap();
            let Ok(Posted::Reply(offer)) = offer else {
                panic!("{offer:?}");
            };
            for kind in [Kind::Offer, Kind::Ice] {
                let refused = switchboard.post(&offer.reply_to, kind, "{}".into()).await;
                assert_eq!(refused, Err(SignalError::Rejected), "{kind:?}");
            }
            let answer = switchboard.post(&offer.reply_to, Kind::Answer, "{}".into());
            tokio::join!(answer, async {
                while switchboard.waiting() > 1 {
                    tokio::task::yield_now().await;
                }
            })
            .0
        };
        let (answer, candidates) = tokio::join!(
            async {
                let answer = offering.await;
                let Ok(Posted::Reply(answer)) = answer else {
                    panic!("{answer:?}");
                };
                let ice = switchboard.post(&answer.reply_to, Kind::Ice, "{}".into());
                (answer.kind, ice.await)
            },
            answering
        );
        assert_eq!(answer, (Kind::Answer, Ok(Posted::Nothing)));
        assert!(matches!(candidates, Ok(Posted::Reply(ice)) if ice.kind == Kind::Ice));
    }

    #[tokio::test]
    async fn a_message_has_its_place_in_the_budget_until_its_last_reader_is_done() {
        let limits = SwitchboardLimits::default()
            .with_bytes(4 * OVERHEAD)
            .with_bytes_per_address(4 * OVERHEAD);
        let switchboard = Switchboard::default().with_limits(limits);
        let mut announcements = switchboard.listen();
        let announce = || {
            let switchboard = switchboard.clone();
            tokio::spawn(async move { switchboard.post(GENESIS, Kind::Genesis, "{}".into()).await })
        };
        let posts = [announce(), announce(), announce()];
        let mut lines = Vec::new();
        for _ in &posts {
            lines.push(announcements.next().await.unwrap());
        }
        assert_eq!(announce().await.unwrap(), Err(SignalError::NoRoom));
        for post in posts {
            post.abort();
            assert!(post.await.is_err());
        }
        assert_eq!(switchboard.waiting(), 0);
        assert_eq!(announce().await.unwrap(), Err(SignalError::NoRoom));
        drop(lines.pop());
        let another = announce();
        assert!(announcements.next().await.is_some());
        another.abort();
    }

    #[tokio::test]
    async fn a_message_too_long_for_a_listener_is_refused() {
        let switchboard = Switchboard::default();
        // JSON writes it in six characters
        let long = "\u{1}".repeat(MAX_ENVELOPE / 6);
        let refused = switchboard.post(GENESIS, Kind::Genesis, long).await;
        assert_eq!(refused, Err(SignalError::Rejected));
    }
}
