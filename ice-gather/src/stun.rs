//! STUN without a socket or a clock: one exchange as bytes in and out, and where a server is.

mod passwords;
mod transaction;
mod uri;

pub use self::passwords::Passwords;
#[cfg(feature = "relay")]
pub(crate) use self::transaction::error_code;
#[cfg(any(test, feature = "responder"))]
pub(crate) use self::transaction::write_success;
pub use self::transaction::{
    Answer, Change, Header, Reject, TransactionId, other_address, read_answer,
    write_change_request, write_request,
};
pub(crate) use self::transaction::{
    HEADER_LEN, authenticated, integrity_key, is_goodbye, mapped_in, write_goodbye,
};
#[cfg(feature = "webrtc")]
pub(crate) use self::transaction::{is_success, write_check_response};
#[cfg(feature = "relay")]
pub(crate) use self::uri::read_turn;
pub use self::uri::{StunServer, UriError};
