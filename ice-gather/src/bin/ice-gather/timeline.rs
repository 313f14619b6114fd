//! The course of an attempt in plain words.

use std::time::Duration;

use ice_gather::capture::CapturedPath;
use nat_summary::stage::{DtlsRole, DtlsVersion, HandshakeMessage, RefusedBy, Stage, StageVerdict};

/// One sentence for each step, in their order, and the conclusion.
pub(crate) fn sentences(path: &CapturedPath) -> Vec<String> {
    let report = &path.report;
    let before_end = |at: Duration| time(path.end.saturating_sub(at));
    let mut lines = Vec::new();
    match path.paired_at {
        Some(at) => lines.push(format!(
            "The peer answered a check {} after the capture began: the pair of addresses works.",
            time(at)
        )),
        None => lines.push("The peer answered no check on this pair of addresses.".to_owned()),
    }
    match path.hellos {
        Some((first, _)) if report.flights == 1 => lines.push(format!(
            "The ClientHello of this host left once, {} after the capture began.",
            time(first)
        )),
        Some((first, last)) => lines.push(format!(
            "The ClientHello of this host left {} times in {}, the first time {} after the capture began.",
            report.flights,
            time(last.saturating_sub(first)),
            time(first)
        )),
        None => {}
    }
    if report.role == DtlsRole::Server {
        lines.push("The ClientHello of the peer came in: this host is the DTLS server.".to_owned());
    }
    if report.stage == Stage::Handshake && report.version != DtlsVersion::Dtls13 {
        lines.push(format!(
            "Of the handshake, {} came in last, and {} left last.",
            message(report.last_in),
            message(report.last_out)
        ));
    }
    if report.role == DtlsRole::Server && report.stage == Stage::Handshake && report.flights > 1 {
        lines.push(format!(
            "This host sent its answer {} times, and nothing new came in after the first.",
            report.flights
        ));
    }
    if report.version == DtlsVersion::Dtls13 {
        lines.push(format!(
            "In DTLS 1.3, {} datagrams with encrypted records left and {} came in. A capture does not show whether they belong \
             to the handshake or hold data.",
            report.sent.unified, report.received.unified
        ));
    }
    if report.sent.data > 0 || report.received.data > 0 {
        lines.push(format!(
            "{} with application data left and {} came in.",
            counted(report.sent.data, "datagram"),
            report.received.data
        ));
    }
    if report.received.clear_alerts > 0 {
        lines.push(format!(
            "{} came in unencrypted, which any box on the path can forge.",
            counted(report.received.clear_alerts, "alert")
        ));
    }
    lines.push(match path.last_record_in {
        Some(at) => format!(
            "The last DTLS record came in {} before the capture ended.",
            before_end(at)
        ),
        None if report.received.clear_alerts > 0 => "No other DTLS record came in.".to_owned(),
        None => "No DTLS record came in.".to_owned(),
    });
    if let Some(at) = path.last_check_in {
        lines.push(format!(
            "{} of {} checks of this host were answered since the pair works. The last check or answer of the peer came in {} \
             before the capture ended.",
            report.answers,
            report.asked,
            before_end(at)
        ));
    }
    lines.push(conclusion(path));
    lines
}

/// A handshake message by its name in RFC 6347.
const fn message(message: HandshakeMessage) -> &'static str {
    match message {
        HandshakeMessage::ClientHello => "ClientHello",
        HandshakeMessage::ServerHello => "ServerHello",
        HandshakeMessage::HelloVerifyRequest => "HelloVerifyRequest",
        HandshakeMessage::Certificate => "Certificate",
        HandshakeMessage::ServerKeyExchange => "ServerKeyExchange",
        HandshakeMessage::CertificateRequest => "CertificateRequest",
        HandshakeMessage::ServerHelloDone => "ServerHelloDone",
        HandshakeMessage::CertificateVerify => "CertificateVerify",
        HandshakeMessage::ClientKeyExchange => "ClientKeyExchange",
        HandshakeMessage::Encrypted => "an encrypted record",
        _ => "a message of another type",
    }
}

fn conclusion(path: &CapturedPath) -> String {
    let report = &path.report;
    match report.verdict {
        StageVerdict::HelloUnanswered => {
            "So the handshake is being dropped, or the peer does not answer it, though it answers checks.".to_owned()
        }
        StageVerdict::HelloNeverCame => "So the ClientHello of the peer is being dropped, or the peer never sent one.".to_owned(),
        StageVerdict::HandshakeStalled => {
            "So the handshake stalled: this host repeated itself and got nothing new, though its checks were answered.".to_owned()
        }
        StageVerdict::HandshakeRefused => match report.refused_by {
            RefusedBy::ThisSide => "So this host refused the handshake.".to_owned(),
            _ => "So the handshake was refused: a fatal alert came in unencrypted, from the peer or from a box on the path."
                .to_owned(),
        },
        StageVerdict::ChannelUnanswered => "So the channel got no answer: DTLS was done, and checks were answered meanwhile.".to_owned(),
        StageVerdict::FrozenAfterOpen => "So the path is frozen: data stopped coming in, though checks were answered meanwhile.".to_owned(),
        StageVerdict::PathLost => "So the path is lost: from then on neither data nor an answer to a check came in.".to_owned(),
        StageVerdict::ClosedByPeer => "So the peer closed the channel.".to_owned(),
        _ if report.version == DtlsVersion::Dtls13 => {
            "Whether the path opened, and what stopped it if anything did, is not proven by this capture.".to_owned()
        }
        _ if report.stage == Stage::Paired => {
            "No handshake passed on this pair. If this host was to be the DTLS client, it sent no ClientHello; if the server, none \
             came in."
                .to_owned()
        }
        _ if report.stage == Stage::Open => "Application data came in: the path opened. Nothing that stopped it is proven.".to_owned(),
        _ => "What stopped it is not proven by this capture.".to_owned(),
    }
}

fn counted(count: u32, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

fn time(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        "less than 1 ms".to_owned()
    } else if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
