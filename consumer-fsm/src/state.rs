//! The words of the machine: states, events, actions.

use otel_nat::FailureReason;

/// Where an attempt stands. [`number`](Self::number) is the name operators know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// 0: no path. A cohort of STUN servers is taken, the connection object built.
    Preparing,
    /// 1: genesis messages of producers are collected, one is chosen.
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
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The connection object is built.
    Prepared,
    /// It could not be built, or there is no STUN server to ask.
    NotPrepared,
    /// A producer was chosen.
    Chosen,
    /// The stream of genesis messages ended without one.
    NothingHeard,
    /// The service refused us: a wrong protocol version, or a request it does not take.
    Refused,
    /// The service could not be reached, or did not answer in time.
    ExchangeFailed,
    /// One of both, or what is no message in place of genesis messages or of the reply to the
    /// offer, in an attempt that is to end by it: whoever counts attempts wants no endless one.
    GaveUp,
    /// The first STUN request of this attempt is about to leave.
    Asked,
    /// The answer is decoded, and at least one STUN server answered.
    Answered,
    /// Another consumer was faster (404).
    LostRace,
    /// Nobody answered the offer in time (200 with an empty body).
    PeerDied,
    /// The reply is no answer that can be used.
    BadAnswer,
    /// STUN servers were asked and the verdict is that UDP is blocked.
    UdpBlocked,
    /// No STUN server answered, and that proves nothing.
    NoServerAnswered,
    /// The connection object broke.
    Broken,
    /// Our candidates were taken.
    Delivered,
    /// The partner hung up (404).
    PartnerGone,
    /// The channel is open.
    Opened,
    /// It did not open in time.
    TimedOut,
    /// Every pair of candidates failed.
    IceFailed,
    /// The channel did not come up over a pair that works, or the peer's description allows none.
    ChannelFailed,
    /// The path ended: closed, or the connection failed.
    Ended,
    /// The host's addresses are no longer those that the connection object is bound to.
    Moved,
    /// Our owner wants no more.
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
}

/// How an attempt ended, as its span says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The channel opened.
    Success,
    /// It did not, for this reason.
    Failure(FailureReason),
}

/// What to do on a transition, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Emit the span. The machine lets at most one through per attempt, and only if a STUN server
    /// was asked.
    Report(Ending),
    /// Tell our owner that a path is up.
    AnnouncePath,
    /// Tell our owner that there is no path.
    AnnounceNoPath,
    /// The cohort of STUN servers failed: never use it again before a refill.
    DropCohort,
    /// Close the connection object.
    Close,
    /// Wait a little before the next state's work: there was nothing to hear.
    Pause,
    /// Wait long before the next state's work: something refused us.
    BackOff,
}
