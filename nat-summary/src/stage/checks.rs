//! The checks of one pair of addresses, with their times: the proof that the pair works.

use core::time::Duration;

/// Checks kept. Of more, answered ones are forgotten where they are densest: fewer answers prove less,
/// never more.
const KEPT: usize = 24;
/// An answer so close to the beginning of the time in question shows that the path worked as that time
/// began: one second, or this part of a longer time.
const LEAD: Duration = Duration::from_secs(1);
const LEAD_PART: u32 = 8;
/// Fewest answers that prove a path.
const FEWEST: u32 = 3;
/// One check of so many may have no answer.
const LOST_ONE_OF: u32 = 8;
/// A check without an answer for so long has none: RFC 8489 section 6.2.1 repeats a request after
/// half of it, and no path of the field takes longer.
const WAIT: Duration = Duration::from_secs(1);

/// A time in milliseconds, in few bytes: 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time(u32);

impl Time {
    /// No time.
    const NEVER: Self = Self(u32::MAX);

    fn of(time: Duration) -> Self {
        Self(u32::try_from(time.as_millis()).unwrap_or(u32::MAX - 1))
    }

    fn get(self) -> Option<Duration> {
        (self != Self::NEVER).then(|| Duration::from_millis(self.0.into()))
    }
}

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Check {
    sent: Time,
    answered: Time,
}

impl Check {
    fn sent(&self) -> Duration {
        self.sent.get().unwrap_or_default()
    }

    fn answered(&self) -> Option<Duration> {
        self.answered.get()
    }
}

/// The connectivity and consent checks (RFC 8445 section 7, RFC 7675) of one pair of addresses, with
/// their times. It has a fixed size and takes nothing from the heap.
///
/// ```
/// use core::time::Duration;
/// use nat_summary::stage::CheckLog;
///
/// let mut checks = CheckLog::new();
/// checks.sent(Duration::ZERO);
/// checks.answered(Duration::ZERO, Duration::from_millis(40));
/// assert_eq!((checks.asked(), checks.answers()), (1, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckLog {
    kept: [Check; KEPT],
    len: usize,
    asked: u32,
    answers: u32,
    last_heard: Option<Duration>,
}

impl Default for CheckLog {
    fn default() -> Self {
        Self::new()
    }
}

impl CheckLog {
    /// Of a pair without checks so far.
    #[must_use]
    pub const fn new() -> Self {
        let none = Check {
            sent: Time::NEVER,
            answered: Time::NEVER,
        };
        Self {
            kept: [none; KEPT],
            len: 0,
            asked: 0,
            answers: 0,
            last_heard: None,
        }
    }

    /// A check leaves.
    pub fn sent(&mut self, now: Duration) {
        self.asked = self.asked.saturating_add(1);
        if self.len == KEPT {
            self.thin_out();
        }
        if let Some(place) = self.kept.get_mut(self.len) {
            *place = Check {
                sent: Time::of(now),
                answered: Time::NEVER,
            };
            self.len += 1;
        }
    }

    /// The answer to the check that was sent at `sent` came in. The caller has verified it, or
    /// matched it with its check. The answer to a check that is not in the log shows the peer, and counts
    /// for nothing else.
    pub fn answered(&mut self, sent: Duration, now: Duration) {
        self.heard(now);
        let sent = Time::of(sent);
        let mut known = self.kept.iter_mut().take(self.len);
        let asked = known.find(|check| check.sent == sent && check.answered().is_none());
        if let Some(check) = asked {
            check.answered = Time::of(now);
            self.answers = self.answers.saturating_add(1);
        }
    }

    /// A check of the peer came in, verified or matched.
    pub fn heard(&mut self, now: Duration) {
        self.last_heard = self.last_heard.max(Some(now));
    }

    /// The number of checks sent.
    #[must_use]
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// The number of answers.
    #[must_use]
    pub const fn answers(&self) -> u32 {
        self.answers
    }

    /// When a check or an answer of the peer last came in.
    #[must_use]
    pub const fn last_heard(&self) -> Option<Duration> {
        self.last_heard
    }

    /// Forgets the answered check whose neighbours are closest together; where none is answered, the
    /// oldest.
    fn thin_out(&mut self) {
        let kept = self.kept.get(..self.len).unwrap_or_default();
        let windows = kept.windows(3).enumerate();
        let densest = windows
            .filter(|(_, window)| matches!(window, [_, check, _] if check.answered().is_some()))
            .min_by_key(|(_, window)| match window {
                [before, _, after] => after.sent().saturating_sub(before.sent()),
                _ => Duration::MAX,
            })
            .map_or(0, |(at, _)| at + 1);
        self.kept.copy_within(densest + 1.., densest);
        self.len -= 1;
    }

    fn kept(&self) -> impl DoubleEndedIterator<Item = &Check> {
        self.kept.iter().take(self.len)
    }

    /// When the first answer came in.
    #[must_use]
    pub fn first_answer(&self) -> Option<Duration> {
        self.kept().filter_map(Check::answered).min()
    }

    /// Answers that came in from `from` until `until`.
    pub(super) fn answers_between(&self, from: Duration, until: Duration) -> u32 {
        let times = self.kept().filter_map(Check::answered);
        let count = times.filter(|at| (from..=until).contains(at)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether the pair is proven to have worked from `since` on: three answers or more, the first
    /// close to the beginning, spread over the time until now, at least one before `last_sign` and one
    /// after it, and next to no check without an answer.
    pub(super) fn is_alive(&self, since: Duration, last_sign: Duration, now: Duration) -> bool {
        let wait = now.saturating_sub(since);
        let lead = LEAD.max(wait / LEAD_PART);
        let opens = since.saturating_sub(lead);
        let times = || self.kept().filter_map(Check::answered);
        // the last answer before the time in question bounds it
        let before = times().filter(|at| (opens..=since).contains(at)).max();
        let first = before.or_else(|| times().filter(|at| *at > since).min());
        let (Some(first), Some(last)) = (first, times().max()) else {
            return false;
        };
        let count = self.answers_between(first, now);
        let has_between = times().any(|at| since <= at && at < last_sign);
        let unanswered = self
            .kept()
            .filter(|check| check.answered().is_none() && check.sent() >= first)
            .filter(|check| now.saturating_sub(check.sent()) >= WAIT)
            .count();
        let unanswered = u32::try_from(unanswered).unwrap_or(u32::MAX);
        let is_spread = last.saturating_sub(first) * 2 >= wait;
        count >= FEWEST
            && first <= since.saturating_add(lead)
            && has_between
            && last > last_sign
            && is_spread
            && unanswered.saturating_mul(LOST_ONE_OF) <= count
    }

    /// The number of checks since the last answer that waited long enough for theirs.
    pub(super) fn unanswered_in_a_row(&self, now: Duration) -> u32 {
        let last = self.kept().filter_map(Check::answered).max();
        let waiting = self
            .kept()
            .rev()
            .take_while(|check| check.answered().is_none());
        let count = waiting
            .filter(|check| last.is_none_or(|last| check.sent() >= last))
            .filter(|check| now.saturating_sub(check.sent()) >= WAIT)
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
