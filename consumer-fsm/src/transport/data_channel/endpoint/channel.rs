//! Pure: the two messages that open a data channel (RFC 8832 section 5).

/// `DATA_CHANNEL_ACK` and `DATA_CHANNEL_OPEN`.
const ACK: u8 = 2;
const OPEN: u8 = 3;
/// The channel type's bit for unordered delivery.
const UNORDERED: u8 = 0x80;
/// Bytes before label and protocol.
const FIXED: usize = 12;

/// How a side sends over a channel (RFC 8832 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) is_unordered: bool,
    pub(super) effort: Effort,
}

/// When a message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    Never,
    /// After so many retransmissions.
    Retransmissions(u32),
    /// After so many milliseconds.
    Milliseconds(u32),
}

impl Delivery {
    /// Datagrams: in any order, each sent once.
    pub(super) const DATAGRAMS: Self = Self {
        is_unordered: true,
        effort: Effort::Retransmissions(0),
    };
    /// How both messages of this file are sent, and user messages until the acknowledgement has
    /// come (section 6).
    pub(super) const IN_ORDER: Self = Self {
        is_unordered: false,
        effort: Effort::Never,
    };
}

/// A message that opens a channel, or acknowledges one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control<'a> {
    Open { delivery: Delivery, label: &'a [u8] },
    Ack,
}

impl<'a> Control<'a> {
    /// Reads one; none if it is neither.
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        match *message {
            [ACK, ..] => Some(Self::Ack),
            [OPEN, kind, _, _, a, b, c, d, e, f, g, h, ref rest @ ..] => {
                let parameter = u32::from_be_bytes([a, b, c, d]);
                let effort = match kind & !UNORDERED {
                    0 => Effort::Never,
                    1 => Effort::Retransmissions(parameter),
                    2 => Effort::Milliseconds(parameter),
                    _ => return None,
                };
                let label = usize::from(u16::from_be_bytes([e, f]));
                let protocol = usize::from(u16::from_be_bytes([g, h]));
                if rest.len() < label + protocol {
                    return None;
                }
                Some(Self::Open {
                    delivery: Delivery {
                        is_unordered: kind & UNORDERED != 0,
                        effort,
                    },
                    label: &rest[..label],
                })
            }
            _ => None,
        }
    }

    /// Writes it. The priority is 256, "normal" (RFC 8831 section 6.4), and there is no protocol.
    pub(super) fn write(&self) -> Vec<u8> {
        let Self::Open { delivery, label } = self else {
            return vec![ACK];
        };
        let (kind, parameter) = match delivery.effort {
            Effort::Never => (0, 0),
            Effort::Retransmissions(count) => (1, count),
            Effort::Milliseconds(time) => (2, time),
        };
        let order = if delivery.is_unordered { UNORDERED } else { 0 };
        let mut message = Vec::with_capacity(FIXED + label.len());
        message.extend([OPEN, kind | order, 1, 0]);
        message.extend(parameter.to_be_bytes());
        message.extend(u16::try_from(label.len()).unwrap_or(u16::MAX).to_be_bytes());
        message.extend([0, 0]);
        message.extend(*label);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_channel_reads_back() {
        for is_unordered in [false, true] {
            for effort in [
                Effort::Never,
                Effort::Retransmissions(0),
                Effort::Retransmissions(7),
                Effort::Milliseconds(300),
            ] {
                let open = Control::Open {
                    delivery: Delivery {
                        is_unordered,
                        effort,
                    },
                    label: b"data",
                };
                assert_eq!(Control::read(&open.write()), Some(open));
            }
        }
        assert_eq!(Control::read(&Control::Ack.write()), Some(Control::Ack));
    }

    #[test]
    fn our_channel_is_opened_as_the_rfc_writes_it() {
        let open = Control::Open {
            delivery: Delivery::DATAGRAMS,
            label: b"data",
        };
        assert_eq!(
            open.write(),
            [
                3, 0x81, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, b'd', b'a', b't', b'a'
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_of_an_unknown_kind_opens_nothing() {
        let whole = [3, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 2, 1, 2, 3, 4, 5, 6];
        for length in 0..whole.len() {
            assert_eq!(Control::read(&whole[..length]), None, "{length}");
        }
        assert!(Control::read(&whole).is_some());
        let mut unknown = whole;
        unknown[1] = 3;
        assert_eq!(Control::read(&unknown), None);
        assert_eq!(Control::read(&[9]), None);
    }
}
