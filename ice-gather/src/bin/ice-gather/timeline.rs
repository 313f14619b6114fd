//! The course of an attempt in plain words.

use std::time::Duration;

use ice_gather::capture::CapturedPath;
use nat_summary::stage::{DtlsRole, HandshakeMessage, RefusedBy, Stage, StageVerdict};

/// One sentence for each step, in their order, and the conclusion.
pub(crate) fn sentences(path: &CapturedPath) -> Vec<String> {
    let report = &path.report;
    let mut lines = Vec::new();
    match path.paired_at {
        Some(at) => lines.push(format!(
            "The peer answered a check {} after the capture began: the pair of addresses works.",
            time(at)
        )),
        None => lines.push("The peer answered no check on this pair of addresses.".to_owned()),
    }
    if let Some((first, last)) = path.hellos {
        lines.push(format!(
            "Our ClientHello left {} in {}, the first {} after the capture began.",
            times(report.flights),
            time(last.saturating_sub(first)),
            time(first)
        ));
    }
    if report.role == DtlsRole::Server {
        lines.push("The ClientHello of the peer came in: this host is the DTLS server.".to_owned());
    }
    for (what, message) in [
        ("that came in", report.last_in),
        ("that left", report.last_out),
    ] {
        match message {
            HandshakeMessage::Unknown => {}
            HandshakeMessage::Encrypted => {
                lines.push(format!("The last handshake record {what} was encrypted."));
            }
            message => lines.push(format!(
                "The last handshake message {what} is {}.",
                message.as_str()
            )),
        }
    }
    lines.push(match path.last_record_in {
        Some(at) => format!(
            "The last DTLS record came in {} before the capture ended.",
            time(path.end.saturating_sub(at))
        ),
        None => "No DTLS record came in.".to_owned(),
    });
    if report.sent.data > 0 || report.received.data > 0 {
        lines.push(format!(
            "{} datagrams with application data left and {} came in, the longest of {} and {} bytes.",
            report.sent.data, report.received.data, report.sent.largest, report.received.largest
        ));
    }
    if report.received.clear_alerts > 0 {
        lines.push(format!(
            "{} alerts came in unencrypted, which any box on the path can forge.",
            report.received.clear_alerts
        ));
    }
    lines.push(format!(
        "{} of {} checks were answered since the pair works.",
        report.answers, report.asked
    ));
    lines.push(conclusion(path));
    lines
}

fn conclusion(path: &CapturedPath) -> String {
    let report = &path.report;
    match report.verdict {
        StageVerdict::HelloUnanswered => {
            "So the handshake is being dropped, or the peer does not answer it: checks pass, DTLS does not.".to_owned()
        }
        StageVerdict::HelloNeverCame => "So the hello of the peer is being dropped, or the peer never sent one.".to_owned(),
        StageVerdict::HandshakeStalled => {
            "So the handshake stalled: our repetitions got no answer, and checks went on passing.".to_owned()
        }
        StageVerdict::HandshakeRefused => match report.refused_by {
            RefusedBy::ThisSide => "So this host refused the handshake.".to_owned(),
            _ => "So the handshake was refused: a fatal alert came in unencrypted, from the peer or from a box on the path."
                .to_owned(),
        },
        StageVerdict::ChannelUnanswered => "So the channel got no answer: DTLS was done, and checks went on passing.".to_owned(),
        StageVerdict::FrozenAfterOpen => "So the path is frozen: data stopped coming in, and checks went on passing.".to_owned(),
        StageVerdict::PathLost => "So the path is lost: checks got no answer either.".to_owned(),
        StageVerdict::ClosedByPeer => "So the peer closed the channel.".to_owned(),
        _ if report.stage == Stage::Open => "Application data came in, and nothing that stopped the path is proven.".to_owned(),
        _ => "What stopped it is not proven by this capture.".to_owned(),
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
