//! STUN without a socket or a clock: one exchange as bytes in and out, the passwords that verify a
//! peer, and where a server is.
//!
//! The observer of nat-summary reads every message, here as under any other stack.

mod passwords;
#[cfg(feature = "agent")]
mod signed;
mod transaction;
mod uri;

pub use self::passwords::Passwords;
#[cfg(feature = "agent")]
pub(crate) use self::signed::{is_goodbye, write_goodbye};
#[cfg(feature = "webrtc")]
pub(crate) use self::signed::{is_success, write_check_response};
#[cfg(any(test, feature = "responder"))]
pub(crate) use self::transaction::write_success;
pub use self::transaction::{
    Answer, Change, Header, Reject, TransactionId, other_address, read_answer,
    write_change_request, write_request,
};
pub(crate) use self::transaction::{HEADER_LEN, is_claimed};
#[cfg(feature = "relay")]
pub(crate) use self::uri::read_turn;
pub use self::uri::{StunServer, UriError};
