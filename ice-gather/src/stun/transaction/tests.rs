use super::*;

const ID: TransactionId = [7; 12];

fn success(mapped: &str) -> Vec<u8> {
    super::write_success(ID, mapped.parse().unwrap())
}

fn with_attribute(typ: u16, attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut message = write_request(ID).to_vec();
    message[..2].copy_from_slice(&typ.to_be_bytes());
    message.extend_from_slice(&attribute.to_be_bytes());
    message.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = u16::try_from(message.len() - HEADER_LEN).unwrap();
    message[2..4].copy_from_slice(&length.to_be_bytes());
    message
}

#[test]
fn a_request_is_a_bare_header() {
    let request = write_request(ID);
    let message = Message::read(&request).unwrap();
    assert_eq!(
        (message.class, message.method, message.id),
        (Class::Request, Method::Binding, ID)
    );
    assert!(!message.is_check(), "it asks a server");
    let header = Header::peek(&request).unwrap();
    assert!(header.is_binding_request() && !header.is_response() && header.id == ID);
}

#[cfg(feature = "agent")]
#[test]
fn the_library_reads_a_request_and_an_answer() {
    let read = |bytes: &[u8]| {
        let mut message = stun::message::Message::new();
        message.unmarshal_binary(bytes).unwrap();
        assert_eq!(message.transaction_id.0, ID);
        message
    };
    assert_eq!(read(&write_request(ID)).typ, stun::message::BINDING_REQUEST);
    for mapped in ["203.0.113.7:50000", "[2001:db8::7]:50000"] {
        use stun::message::Getter;
        let mut address = stun::xoraddr::XorMappedAddress::default();
        address.get_from(&read(&success(mapped))).unwrap();
        assert_eq!(address.to_string(), mapped);
    }
}

#[test]
fn a_mapped_address_of_either_family_is_read() {
    for mapped in ["203.0.113.7:50000", "[2001:db8::7]:50000"] {
        assert_eq!(
            read_answer(&success(mapped)),
            Ok((ID, Answer::Mapped(mapped.parse().unwrap())))
        );
    }
}

#[test]
fn a_mapped_address_of_every_other_length_or_family_is_unreadable() {
    for family in 0..=3 {
        for length in 0..=24_usize {
            let mut value = vec![0; length];
            if let Some(byte) = value.get_mut(1) {
                *byte = family;
            }
            let fits = matches!((length, family), (8, 1) | (20, 2));
            let answer = read_answer(&with_attribute(0x0101, 0x0020, &value));
            assert_eq!(
                matches!(answer, Ok((_, Answer::Mapped(_)))),
                fits,
                "family {family}, {length} bytes"
            );
            assert!(
                fits || answer == Ok((ID, Answer::Unreadable)),
                "family {family}, {length} bytes: {answer:?}"
            );
        }
    }
}

#[test]
fn the_first_byte_of_a_mapped_address_is_ignored() {
    let good = success("203.0.113.7:50000");
    let mut odd = good.clone();
    odd[24] = 0xff;
    assert_eq!(
        read_answer(&odd),
        read_answer(&good),
        "RFC 8489 section 14.1"
    );
}

#[test]
fn a_plain_mapped_address_alone_is_no_evidence() {
    let answer = read_answer(&with_attribute(
        0x0101,
        0x0001,
        &[0, 1, 0x12, 0x34, 203, 0, 113, 7],
    ));
    assert_eq!(answer, Ok((ID, Answer::Unreadable)));
}

#[test]
fn an_error_code_is_read_even_with_a_broken_reason() {
    for (value, code) in [
        (&[0, 0, 3, 0, 0xff, 0xfe][..], 300),
        (&[0, 0, 4, 1, b'n', b'o'], 401),
        (&[0, 0, 6, 99], 699),
        (&[0, 0, 7, 0], 0),
        (&[0, 0, 4], 0),
        (&[], 0),
    ] {
        assert_eq!(
            read_answer(&with_attribute(0x0111, 0x0009, value)),
            Ok((ID, Answer::Refused(code)))
        );
    }
}

#[test]
fn a_datagram_that_is_no_binding_response_is_rejected() {
    let good = success("203.0.113.7:50000");
    assert_eq!(read_answer(b""), Err(Reject::NotStun));
    assert_eq!(read_answer(&good[..19]), Err(Reject::NotStun));
    assert_eq!(
        read_answer(&write_request(ID)),
        Err(Reject::NotABindingResponse)
    );
    assert_eq!(
        read_answer(&with_attribute(0x0103, 0x0020, &[0; 8])),
        Err(Reject::NotABindingResponse),
        "Allocate"
    );
    assert_eq!(
        read_answer(&with_attribute(0x0011, 0x0020, &[0; 8])),
        Err(Reject::NotABindingResponse),
        "indication"
    );
    assert_eq!(
        read_answer(&good[..good.len() - 1]),
        Err(Reject::Malformed),
        "truncated"
    );
    assert_eq!(
        read_answer(&[&good[..], &[0; 4]].concat()),
        Err(Reject::Malformed),
        "longer than announced"
    );
    let mut wrong_cookie = good.clone();
    wrong_cookie[4] ^= 1;
    assert_eq!(read_answer(&wrong_cookie), Err(Reject::NotStun));
    assert_eq!(
        read_answer(&with_attribute(0x0101, 0x8022, &[0; 2000])),
        Err(Reject::TooLong)
    );
}

proptest::proptest! {
    #[test]
    fn no_datagram_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = read_answer(&bytes);
        let mut stun = write_request(ID).to_vec();
        stun[0..4].copy_from_slice(&[1, 1, 0, u8::try_from(bytes.len()).unwrap()]);
        stun.extend_from_slice(&bytes);
        let _ = read_answer(&stun);
    }
}
