//! Any packets of a peer, among any of ours, into what stands before SCTP: no panic, and nothing
//! passes over which the library, as it reads, would panic or step without end.

#![no_main]

use libfuzzer_sys::fuzz_target;

use self::admission::{Admission, WINDOW, is_to_be_acknowledged};

// the check needs nothing of its crate, so nothing of it is built
#[path = "../../src/transport/data_channel/admission.rs"]
mod admission;

/// A TSN farther ahead than this takes the library more than a moment: what a SACK can name, twice.
const A_MOMENT: u32 = 2 * 0xffff;

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A parameter as the library reads it, and for how long it takes it; `None` where it gives up.
fn parameter(bytes: &[u8]) -> Option<usize> {
    let length = if bytes.len() < 4 {
        return None;
    } else {
        u16_at(bytes, 2)
    };
    if length < 4 || length > bytes.len() {
        return None;
    }
    match u16_at(bytes, 0) {
        13 if length < 16 => None,
        13 => Some(16 + (length - 16) / 2 * 2),
        16 if length < 12 => None,
        16 => Some(12),
        0xc000 => Some(4),
        1 | 7 | 0x8000.. => Some(length),
        _ => None,
    }
}

/// Reads a packet as the library does, at the lengths that it takes things for; panics where it
/// would. What each chunk is, and its bytes, until it gives up.
fn read(packet: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut chunks, mut at) = (Vec::new(), 12);
    while at != packet.len() {
        let raw = packet.get(at..).filter(|raw| raw.len() >= 4)?;
        let length = u16_at(raw, 2);
        if length < 4 || length > raw.len() {
            return None;
        }
        let takes = match raw[0] {
            0 if length < 16 => return None,
            1 | 2 => {
                if length < 20 {
                    return None;
                }
                let mut end = 20;
                while end + 4 <= raw.len() {
                    end += padded(parameter(&raw[end..length])?);
                }
                end
            }
            3 => {
                let lists = if length < 16 {
                    return None;
                } else {
                    4 * (u16_at(raw, 12) + u16_at(raw, 14))
                };
                if length < 16 + lists {
                    return None;
                }
                16 + lists
            }
            4 => 4 + parameter(&raw[4..length])?,
            6 | 9 => {
                let mut end = 4;
                while end + 4 <= raw.len() {
                    let cause = &raw[end..length];
                    if cause.len() < 4 || u16_at(cause, 2) < 4 || u16_at(cause, 2) > cause.len() {
                        return None;
                    }
                    end += u16_at(cause, 2);
                }
                end
            }
            7 if raw.len() != 8 => return None,
            7 => {
                let _ = u32_at(&raw[..length], 4);
                8
            }
            8 | 11 | 14 => 4,
            130 => {
                let first = 4 + parameter(&raw[4..length])?;
                if length > padded(first) {
                    padded(first) + parameter(&raw[padded(first)..length])?
                } else {
                    first
                }
            }
            192 => {
                let _ = if raw.len() < 8 {
                    return None;
                } else {
                    u32_at(&raw[..length], 4)
                };
                let mut end = 8;
                while end < raw.len() {
                    if raw[end..length].len() < 4 {
                        return None;
                    }
                    end += 4;
                }
                end
            }
            _ => length,
        };
        chunks.push((raw[0], &raw[..length]));
        at += padded(takes);
        if at > packet.len() {
            return None;
        }
    }
    Some(chunks)
}

fuzz_target!(|input: &[u8]| {
    let admission = Admission::default();
    // where the library is
    let mut reached: Option<u32> = None;
    let (mut is_established, mut refused) = (false, 0);
    let mut rest = input;
    // each step: a byte of what, a byte of length, and that many bytes
    while let [what, length, tail @ ..] = rest {
        let (bytes, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;
        let packet = [&[0x13, 0x88, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0], bytes].concat();
        match what % 4 {
            0 => admission.read(bytes.len()),
            1 => {
                // an honest SACK of ours, from where the library is
                let Some(reached) = reached else { continue };
                is_established = true;
                let sack = [
                    &[3, 0, 0, 16],
                    &reached.to_be_bytes()[..],
                    &WINDOW.to_be_bytes(),
                    &[0; 4],
                ]
                .concat();
                admission.sent(&[&packet[..12], &sack].concat());
            }
            _ => {
                if !admission.admits(&packet) {
                    refused += 1;
                    continue;
                }
                let comes_twice = is_to_be_acknowledged(&packet);
                for (kind, chunk) in read(&packet).unwrap_or_default() {
                    assert!(
                        !comes_twice || matches!(kind, 0 | 3 | 192),
                        "{kind} would be answered twice"
                    );
                    match kind {
                        // it begins anew until the handshake is done
                        1 | 2 if !is_established => {
                            reached = Some(u32_at(chunk, 16).wrapping_sub(1))
                        }
                        192 => {
                            // it skips nothing before it knows that both sides can
                            let Some(at) = reached else { continue };
                            let tsn = u32_at(chunk, 4);
                            let ahead = tsn.wrapping_sub(at) as i32;
                            assert!(ahead.unsigned_abs() <= A_MOMENT, "{ahead}");
                            if ahead > 0 {
                                reached = Some(tsn);
                            }
                        }
                        0 => assert!(chunk.len() > 16, "no DATA without data"),
                        _ => {}
                    }
                }
            }
        }
    }
    assert_eq!(admission.refused(), refused);
});
