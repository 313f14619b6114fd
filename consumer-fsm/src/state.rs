//! The vocabulary of the machine: states, events, transitions, endings, actions.

use core::fmt;

use otel_nat::FailureReason;

/// The state of an attempt. Operators know it by its [`number`](Self::number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// 0: no path. A cohort of STUN servers is taken, the connection object built.
    Preparing,
    /// 1: genesis messages of producers are collected, one producer is chosen.
    Listening,
    /// 2: the offer is out, and the cohort is asked meanwhile.
    Offering,
    /// 3: the answer is in, our candidates are on their way.
    Trickling,
    /// 4: checks run; the channel has to open in time.
    Opening,
    /// 5: a path. Datagrams move both ways.
    Established,
    /// Cancelled for good.
    Stopped,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Preparing,
        Self::Listening,
        Self::Offering,
        Self::Trickling,
        Self::Opening,
        Self::Established,
        Self::Stopped,
    ];

    /// 0 to 5; none once stopped.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Stopped => None,
            _ => Some(self as u8),
        }
    }

    /// The name of the variant.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Listening => "Listening",
            Self::Offering => "Offering",
            Self::Trickling => "Trickling",
            Self::Opening => "Opening",
            Self::Established => "Established",
            Self::Stopped => "Stopped",
        }
    }
}

/// The number and the name: `2 Offering`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(number) => write!(f, "{number} {}", self.as_str()),
            None => f.write_str(self.as_str()),
        }
    }
}

/// An input of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The connection object is built.
    Prepared,
    /// The connection object could not be built, or no STUN server is known.
    NotPrepared,
    /// A producer was chosen.
    Chosen,
    /// The stream of genesis messages ended without a message.
    NothingHeard,
    /// The service refused the request: a wrong protocol version, or a request that it does not
    /// take.
    Refused,
    /// The service could not be reached, or did not answer in time.
    ExchangeFailed,
    /// The attempt ends, because the service refused the request, could not be reached, or sent
    /// unusable messages only. This event occurs only in a consumer with a fixed number of attempts
    /// ([`Pool::with_attempts`](crate::Pool::with_attempts)). Any other consumer that listens or
    /// offers goes on with the same attempt after [`Refused`](Self::Refused) or
    /// [`ExchangeFailed`](Self::ExchangeFailed).
    GaveUp,
    /// The first STUN request of this attempt is about to leave.
    Asked,
    /// The answer is decoded, and at least one STUN server answered.
    Answered,
    /// Another consumer was faster (404).
    LostRace,
    /// The offer was not answered in time (200 with an empty body).
    PeerDied,
    /// The reply is not a usable answer.
    BadAnswer,
    /// STUN servers were asked, and the verdict is that UDP is blocked.
    UdpBlocked,
    /// No STUN server answered, which alone proves nothing.
    NoServerAnswered,
    /// The connection object broke.
    Broken,
    /// Our candidates were taken.
    Delivered,
    /// The partner hung up (404).
    PartnerGone,
    /// The channel is open.
    Opened,
    /// The channel did not open in time.
    TimedOut,
    /// Every pair of candidates failed.
    IceFailed,
    /// The channel did not come up over a pair that works, or the peer's description allows none.
    ChannelFailed,
    /// The path ended: closed, or the connection failed.
    Ended,
    /// The connection object is bound to addresses that the host no longer has.
    Moved,
    /// The owner cancelled the attempt.
    Cancelled,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 24] = [
        Self::Prepared,
        Self::NotPrepared,
        Self::Chosen,
        Self::NothingHeard,
        Self::Refused,
        Self::ExchangeFailed,
        Self::GaveUp,
        Self::Asked,
        Self::Answered,
        Self::LostRace,
        Self::PeerDied,
        Self::BadAnswer,
        Self::UdpBlocked,
        Self::NoServerAnswered,
        Self::Broken,
        Self::Delivered,
        Self::PartnerGone,
        Self::Opened,
        Self::TimedOut,
        Self::IceFailed,
        Self::ChannelFailed,
        Self::Ended,
        Self::Moved,
        Self::Cancelled,
    ];

    /// The name of the variant.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "Prepared",
            Self::NotPrepared => "NotPrepared",
            Self::Chosen => "Chosen",
            Self::NothingHeard => "NothingHeard",
            Self::Refused => "Refused",
            Self::ExchangeFailed => "ExchangeFailed",
            Self::GaveUp => "GaveUp",
            Self::Asked => "Asked",
            Self::Answered => "Answered",
            Self::LostRace => "LostRace",
            Self::PeerDied => "PeerDied",
            Self::BadAnswer => "BadAnswer",
            Self::UdpBlocked => "UdpBlocked",
            Self::NoServerAnswered => "NoServerAnswered",
            Self::Broken => "Broken",
            Self::Delivered => "Delivered",
            Self::PartnerGone => "PartnerGone",
            Self::Opened => "Opened",
            Self::TimedOut => "TimedOut",
            Self::IceFailed => "IceFailed",
            Self::ChannelFailed => "ChannelFailed",
            Self::Ended => "Ended",
            Self::Moved => "Moved",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step that the machine took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The event in that state.
    pub event: Event,
    /// The state after, which may be the same.
    pub to: State,
}

/// `2 Offering -> 3 Trickling  Answered`.
impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}  {}", self.from, self.to, self.event)
    }
}

/// How an attempt ended, as its span reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The channel opened.
    Success,
    /// The channel did not open, for this reason.
    Failure(FailureReason),
}

impl Ending {
    /// The reason of a failure.
    #[must_use]
    pub const fn failure_reason(self) -> Option<FailureReason> {
        match self {
            Self::Success => None,
            Self::Failure(reason) => Some(reason),
        }
    }
}

/// An action to carry out on a transition. A transition has several of them, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Emit the span. The machine lets at most one through per attempt, and only if a STUN server
    /// was asked.
    Report(Ending),
    /// Announce to the owner that a path is up.
    AnnouncePath,
    /// Announce to the owner that no path is up.
    AnnounceNoPath,
    /// The cohort of STUN servers failed: do not use it again before a refill.
    DropCohort,
    /// Close the connection object.
    Close,
    /// Wait a little before the next state's work, because no producer announced itself.
    Pause,
    /// Wait long before the next state's work, because the service failed or refused.
    BackOff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_the_name_of_its_variant() {
        for state in State::ALL {
            assert_eq!(state.as_str(), format!("{state:?}"));
        }
        for event in Event::ALL {
            assert_eq!(event.as_str(), format!("{event:?}"));
        }
    }
}
