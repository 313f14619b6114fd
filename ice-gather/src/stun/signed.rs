//! Messages that carry a signature: the goodbye of a side that leaves, and answers to checks.

#[cfg(feature = "webrtc")]
use std::net::SocketAddr;

use nat_summary::observer::{
    Class, Integrity, Message, Method, Password, TransactionId, Verification,
};
use stun::attributes::AttrType;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
#[cfg(feature = "webrtc")]
use stun::message::BINDING_SUCCESS;
use stun::message::{CLASS_INDICATION, METHOD_BINDING, Message as Writer, MessageType, Setter};
#[cfg(feature = "webrtc")]
use stun::xoraddr::XorMappedAddress;

use super::passwords::Passwords;

/// Marks the Binding indication of a peer that leaves: see docs/goodbye.md. Comprehension is optional
/// (RFC 8489 section 14), so other stacks take the indication for a keepalive.
const GOODBYE: u16 = 0xE6BD;

/// Whether it is a Binding success response.
#[cfg(feature = "webrtc")]
pub(crate) fn is_success(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0x01, 0x01])
}

/// The answer to a connectivity check (RFC 8445 section 7.3.1.2), signed with the password of the
/// side that answers.
#[cfg(feature = "webrtc")]
pub(crate) fn write_check_response(
    id: TransactionId,
    mapped: SocketAddr,
    password: &str,
) -> Option<Vec<u8>> {
    let mut message = Writer::new();
    message.transaction_id.0 = id;
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    let (ip, port) = (mapped.ip(), mapped.port());
    XorMappedAddress { ip, port }.add_to(&mut message).ok()?;
    sign(message, password)
}

/// The last message of a path: a Binding indication that is signed with the password of the side
/// that it goes to, as the checks are.
pub(crate) fn write_goodbye(id: TransactionId, password: &str) -> Option<Vec<u8>> {
    let mut message = Writer::new();
    message.transaction_id.0 = id;
    message.set_type(MessageType::new(METHOD_BINDING, CLASS_INDICATION));
    message.write_header();
    message.add(AttrType(GOODBYE), &[]);
    sign(message, password)
}

fn sign(mut message: Writer, password: &str) -> Option<Vec<u8>> {
    let integrity = MessageIntegrity::new_short_term_integrity(password.to_owned());
    integrity.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}

/// Whether the peer leaves, by its own signed word.
pub(crate) fn is_goodbye(datagram: &[u8], passwords: &Passwords) -> bool {
    let is_marked = |message: &Message<'_>| {
        (message.class, message.method) == (Class::Indication, Method::Binding)
            && message.attribute(GOODBYE).is_some()
    };
    // the attribute first, because a signature costs more to check than to forge
    let message = Message::read(datagram).ok().filter(is_marked);
    message.is_some_and(|message| is_authentic(&message, passwords))
}

/// Whether a message to us is signed with our password.
fn is_authentic(message: &Message<'_>, passwords: &Passwords) -> bool {
    let verified = |signed| passwords.verify(Password::Local, message.username, &signed);
    message.signed().map(verified) == Some(Verification::Verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = [7; 12];

    fn of(password: &str) -> Passwords {
        let mut passwords = Passwords::default();
        passwords.set_local(password);
        passwords
    }

    #[test]
    fn a_goodbye_is_the_signed_word_of_a_side_that_knows_the_password() {
        let (password, key) = ("p".repeat(32), of(&"p".repeat(32)));
        let goodbye = write_goodbye(ID, &password).unwrap();
        assert!(is_goodbye(&goodbye, &key));
        assert!(!is_goodbye(&goodbye, &of(&"q".repeat(32))));
        assert!(!is_goodbye(&goodbye, &Passwords::default()));
        for at in 0..goodbye.len() - 8 {
            let mut changed = goodbye.clone();
            changed[at] ^= 1;
            assert!(!is_goodbye(&changed, &key), "byte {at}");
        }
        for length in 0..goodbye.len() {
            assert!(!is_goodbye(&goodbye[..length], &key), "{length} bytes");
        }
        let unsigned = b"\x00\x11\x00\x04\x21\x12\xA4\x42a random id.\xE6\xBD\x00\x00";
        assert!(
            Message::read(unsigned)
                .unwrap()
                .attribute(GOODBYE)
                .is_some()
        );
        assert!(!is_goodbye(unsigned, &key), "unsigned");

        // a keepalive that is signed, and a stranger's attribute behind the signature
        let is_authentic = |datagram: &[u8]| is_authentic(&Message::read(datagram).unwrap(), &key);
        let mut keepalive = Writer::new();
        keepalive.transaction_id.0 = ID;
        keepalive.set_type(MessageType::new(METHOD_BINDING, CLASS_INDICATION));
        keepalive.write_header();
        let integrity = MessageIntegrity::new_short_term_integrity(password);
        integrity.add_to(&mut keepalive).unwrap();
        assert!(is_authentic(&keepalive.raw) && !is_goodbye(&keepalive.raw, &key));
        keepalive.add(AttrType(GOODBYE), &[]);
        assert!(is_authentic(&keepalive.raw) && !is_goodbye(&keepalive.raw, &key));
    }

    #[test]
    fn other_stacks_take_a_goodbye_for_a_keepalive() {
        let goodbye = write_goodbye(ID, "password").unwrap();
        let mut read = Writer::new();
        read.unmarshal_binary(&goodbye).unwrap();
        FINGERPRINT.check(&read).unwrap();
        assert_eq!(read.typ, MessageType::new(METHOD_BINDING, CLASS_INDICATION));
        assert!(
            AttrType(GOODBYE).optional(),
            "others need not understand it"
        );
    }
}
