//! DTLS records for the tests: shape only, no keys.

/// A record of this type, epoch and body.
fn record(typ: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [
        &[typ, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0][..],
        &length,
        body,
    ]
    .concat()
}

/// A handshake message in the clear, in one fragment.
pub(crate) fn message(typ: u8, length: usize) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(length).unwrap().to_be_bytes();
    let header = [typ, a, b, c, 0, 0, 0, 0, 0, a, b, c];
    record(22, 0, &[&header[..], &vec![7; length]].concat())
}

pub(crate) fn client_hello() -> Vec<u8> {
    message(1, 150)
}

pub(crate) fn server_hello() -> Vec<u8> {
    message(2, 90)
}

/// ServerHello, Certificate, ServerHelloDone.
pub(crate) fn server_flight(certificate: usize) -> Vec<u8> {
    [server_hello(), message(11, certificate), message(14, 0)].concat()
}

/// Certificate, ClientKeyExchange, ChangeCipherSpec, Finished.
pub(crate) fn client_flight(certificate: usize) -> Vec<u8> {
    [message(11, certificate), message(16, 66), finished()].concat()
}

/// ChangeCipherSpec, Finished.
pub(crate) fn finished() -> Vec<u8> {
    [record(20, 0, &[1]), record(22, 1, &[7; 40])].concat()
}

pub(crate) fn alert() -> Vec<u8> {
    record(21, 0, &[2, 40])
}

pub(crate) fn data(length: usize) -> Vec<u8> {
    record(23, 1, &vec![7; length])
}

/// A record of DTLS 1.3.
pub(crate) fn unified(length: usize) -> Vec<u8> {
    [&[0x2e, 0, 1][..], &vec![7; length]].concat()
}
