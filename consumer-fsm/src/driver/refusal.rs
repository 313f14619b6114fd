//! The event of a failed exchange with the service.

use crate::signalling::SignalError;
use crate::state::Event;

/// The event of an exchange that failed. An attempt that `gives_up` ends by it.
pub(super) const fn event(error: SignalError, gives_up: bool) -> Event {
    match error {
        _ if gives_up => Event::GaveUp,
        SignalError::Version
        | SignalError::Rejected
        | SignalError::Status(_)
        | SignalError::NoRoom => Event::Refused,
        _ => Event::ExchangeFailed,
    }
}
