//! The reader of STUN: the test vectors of RFC 5769, and messages that are not well formed.

use nat_summary::observer::{Class, Malformed, Message, Method};

use super::stun::{self, ERROR, SUCCESS, id, is_signed_with, message, request, success};

const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 section 2.1.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x10STUN test client\
    \x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
    \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
/// RFC 5769 section 2.2.
const ANSWER_V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\
    \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";
/// RFC 5769 section 2.3.
const ANSWER_V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector\x20\
    \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
    \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
    \x80\x28\x00\x04\xc8\xfb\x0b\x4c";
/// RFC 5769 section 2.4.
const LONG_TERM: &[u8] = b"\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
    \x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00\
    \x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\
    \x00\x14\x00\x0bexample.org\x00\
    \x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";

#[test]
fn the_vectors_of_rfc_5769_are_read_and_their_signatures_verified() {
    let request = Message::read(REQUEST).unwrap();
    assert_eq!(
        (request.class, request.method, request.id),
        (Class::Request, Method::Binding, ID)
    );
    assert_eq!(request.username, Some(&b"evtj:h6vY"[..]));
    assert!(request.is_check() && !request.is_response());

    let answers = [
        (ANSWER_V4, "192.0.2.1:32853"),
        (ANSWER_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ];
    for (bytes, mapped) in answers {
        let answer = Message::read(bytes).unwrap();
        assert_eq!(
            (answer.class, answer.method, answer.id),
            (Class::Success, Method::Binding, ID)
        );
        assert_eq!(answer.mapped, Some(mapped.parse().unwrap()));
        assert!(answer.is_response() && !answer.is_check());
    }

    for bytes in [REQUEST, ANSWER_V4, ANSWER_V6] {
        let signed = Message::read(bytes).unwrap().signed().unwrap();
        assert!(is_signed_with(PASSWORD, &signed));
        assert!(!is_signed_with("another", &signed));
        for at in (8..bytes.len() - 8).filter(|at| *at != 6 && *at != 7) {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let is_signed = Message::read(&changed)
                .ok()
                .and_then(|message| message.signed())
                .is_some_and(|signed| is_signed_with(PASSWORD, &signed));
            assert!(!is_signed, "byte {at}");
        }
    }
}

#[test]
fn a_request_with_long_term_credentials_asks_a_server() {
    let request = Message::read(LONG_TERM).unwrap();
    assert_eq!(request.username.map(<[u8]>::len), Some(18));
    assert!(!request.is_check());
}

#[test]
fn a_message_that_is_not_whole_or_not_alone_is_malformed() {
    for bytes in [REQUEST, ANSWER_V4, ANSWER_V6, LONG_TERM] {
        for length in 0..bytes.len() {
            let expected = if length < 8 {
                Malformed::NotStun
            } else {
                Malformed::Length
            };
            assert_eq!(Message::read(&bytes[..length]), Err(expected), "{length}");
        }
        let longer = [bytes, &[0; 4]].concat();
        assert_eq!(Message::read(&longer), Err(Malformed::Length));
    }
    let mut no_cookie = REQUEST.to_vec();
    no_cookie[4] ^= 1;
    assert_eq!(Message::read(&no_cookie), Err(Malformed::NotStun));
    let mut first_bits = REQUEST.to_vec();
    first_bits[0] |= 0x40;
    assert_eq!(Message::read(&first_bits), Err(Malformed::NotStun));
    let odd = [&stun::message(SUCCESS, id(1), &[])[..], b"abc"].concat();
    let mut odd_length = odd.clone();
    odd_length[3] = 3;
    assert_eq!(
        Message::read(&odd_length),
        Err(Malformed::Length),
        "not padded"
    );
    let mut behind = stun::message(SUCCESS, id(1), &[(0x8022, b"abcd")]);
    behind[23] = 5;
    assert_eq!(Message::read(&behind), Err(Malformed::Attribute));
    let long = stun::message(SUCCESS, id(1), &[(0x8022, &[0; 1500])]);
    assert_eq!(Message::read(&long), Err(Malformed::TooLong));
}

#[test]
fn only_a_mapped_address_of_the_right_length_and_family_is_read() {
    for family in 0..=3 {
        for length in 0..=24_usize {
            let mut value = vec![0; length];
            if let Some(byte) = value.get_mut(1) {
                *byte = family;
            }
            let bytes = message(SUCCESS, id(1), &[(0x0020, &value)]);
            let fits = matches!((length, family), (8, 1) | (20, 2));
            let read = Message::read(&bytes).unwrap();
            assert_eq!(read.mapped.is_some(), fits, "family {family}, {length}");
        }
    }
    let plain = message(SUCCESS, id(1), &[(0x0001, &[0, 1, 0, 9, 203, 0, 113, 7])]);
    assert_eq!(Message::read(&plain).unwrap().mapped, None);
}

#[test]
fn the_first_attribute_of_a_kind_counts_and_none_behind_the_signature() {
    let [first, second] = ["203.0.113.7:1", "203.0.113.8:2"]
        .map(|mapped| stun::xor_mapped(mapped.parse().unwrap(), id(1)));
    let twice = message(SUCCESS, id(1), &[(0x0020, &first), (0x0020, &second)]);
    let mapped = |bytes: &[u8]| Message::read(bytes).unwrap().mapped;
    assert_eq!(mapped(&twice), mapped(&success(1, "203.0.113.7:1")));
    let broken_first = message(SUCCESS, id(1), &[(0x0020, &[0; 3]), (0x0020, &second)]);
    assert_eq!(mapped(&broken_first), None);

    for (kind, length) in [(0x0008, 20), (0x001C, 32)] {
        let behind = message(
            SUCCESS,
            id(1),
            &[(kind, &[0; 32][..length]), (0x0020, &first)],
        );
        assert_eq!(mapped(&behind), None);
        let before = message(
            SUCCESS,
            id(1),
            &[(0x0020, &first), (kind, &[0; 32][..length])],
        );
        assert!(mapped(&before).is_some());
    }
    let short = message(SUCCESS, id(1), &[(0x0008, &[0; 19])]);
    assert_eq!(Message::read(&short).unwrap().signed(), None);
}

#[test]
fn classes_methods_and_error_codes_are_those_of_the_rfc() {
    for (typ, class, method) in [
        (0x0001, Class::Request, Method::Binding),
        (0x0011, Class::Indication, Method::Binding),
        (0x0101, Class::Success, Method::Binding),
        (0x0111, Class::Error, Method::Binding),
        (0x0003, Class::Request, Method::Allocate),
        (0x0113, Class::Error, Method::Allocate),
        (0x0016, Class::Indication, Method::Send),
        (0x0017, Class::Indication, Method::Data),
        (0x0108, Class::Success, Method::Other(8)),
        (0x02ef, Class::Request, Method::Other(0xff)),
    ] {
        let bytes = message(typ, id(1), &[]);
        let read = Message::read(&bytes).unwrap();
        assert_eq!((read.class, read.method), (class, method), "{typ:#06x}");
    }
    for (value, code) in [
        (&[0, 0, 4, 1, b'n', b'o'][..], Some(401)),
        (&[0, 0, 3, 0, 0xff, 0xfe], Some(300)),
        (&[0, 0, 6, 99], Some(699)),
        (&[0, 0, 7, 0], None),
        (&[0, 0, 4, 100], None),
        (&[0, 0, 4], None),
    ] {
        let bytes = message(ERROR, id(1), &[(0x0009, value)]);
        assert_eq!(Message::read(&bytes).unwrap().error_code, code);
    }
    assert_eq!(Message::read(&request(1)).unwrap().username, None);
}
