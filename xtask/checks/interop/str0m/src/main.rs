//! A producer on str0m: `str0m-producer SIGNAL STUN,STUN`. It answers one consumer after the other, and sends every
//! datagram back. Its socket is observed: a line `seam {…}` on standard output is the verdict so far.

use std::error::Error;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::change::SdpOffer;
use str0m::{Candidate, Event, Rtc};
use str0m_observed::Observed;

type Failure = Box<dyn Error + Send + Sync>;

/// A session that is still there by then has lost its consumer.
const LONGEST: Duration = Duration::from_secs(60);

/// One message, and the reply to it; nothing if there is none.
fn exchange(signal: &str, to: &str, kind: u8, data: &Value) -> Result<Option<Value>, Failure> {
    let (data, kind) = (data.to_string(), kind.to_string());
    let fields = [("data", data.as_str()), ("send-to", to), ("type", &kind)];
    let request = ureq::post(signal).header("X-BF-Version", "v2.3.1");
    let body = request.send_form(fields)?.body_mut().read_to_string()?;
    Ok(if body.is_empty() {
        None
    } else {
        Some(serde_json::from_str(&body)?)
    })
}

fn text<'v>(value: &'v Value, name: &str) -> Result<&'v str, Failure> {
    value[name]
        .as_str()
        .ok_or_else(|| format!("no {name}").into())
}

/// A candidate of the wire as a line. One of another protocol than UDP is left out.
fn candidate(wire: &Value) -> Option<Candidate> {
    let word = |name: &str| wire[name].to_string().trim_matches('"').to_owned();
    let (foundation, priority) = (word("foundation"), word("priority"));
    let (address, port, kind) = (word("address"), word("port"), word("type"));
    let related = match wire["relatedAddress"].as_str() {
        Some(address) if !address.is_empty() => {
            format!(" raddr {address} rport {}", word("relatedPort"))
        }
        _ => String::new(),
    };
    let line =
        format!("candidate:{foundation} 1 udp {priority} {address} {port} typ {kind}{related}");
    Candidate::from_sdp_string(&line).ok()
}

/// Prints the verdict if it has changed.
fn report(socket: &Observed, printed: &mut Value) {
    let summary = socket.observer.evidence().summary();
    let seam = json!({
        "verdict": summary.nat_type().as_legacy(),
        "rule": summary.rule().as_str(),
        "text": summary.to_string(),
    });
    if seam != *printed {
        println!("seam {seam}");
        *printed = seam;
    }
}

fn serve(signal: &str, servers: &[SocketAddr], local: IpAddr) -> Result<(), Failure> {
    let genesis =
        json!({ "PathAssertion": { "Allow": [{ "Host": "*", "Distance": 1 }], "Deny": null } });
    let Some(offer) = exchange(signal, "genesis", 0, &genesis)? else {
        return Ok(());
    };
    let description: Value = serde_json::from_str(text(&offer, "Payload")?)?;
    let offered = text(&description["SDP"], "sdp")?;
    let mut printed = Value::Null;
    let mut rtc = Rtc::new(Instant::now());
    let mut socket = Observed::bind(SocketAddr::new(local, 0))?;
    socket.gather(&mut rtc, servers)?;
    report(&socket, &mut printed);
    let answer = rtc
        .sdp_api()
        .accept_offer(SdpOffer::from_sdp_string(offered)?)?
        .to_sdp_string();
    socket.set_passwords(&answer, offered);
    let answer = json!({ "type": "answer", "sdp": answer });
    let Some(ice) = exchange(signal, text(&offer, "ReplyTo")?, 2, &answer)? else {
        return Ok(());
    };
    let ice: Value = serde_json::from_str(text(&ice, "Payload")?)?;
    let end = Instant::now() + LONGEST;
    for wire in ice["Candidates"].as_array().into_iter().flatten() {
        if let Some(candidate) = candidate(wire) {
            rtc.add_remote_candidate(candidate);
            // one change of str0m at a time: its output is polled in between
            socket.next_event(&mut rtc, Instant::now())?;
        }
    }
    while let Some(event) = socket.next_event(&mut rtc, end)? {
        match event {
            Event::ChannelData(data) => {
                if let Some(mut channel) = rtc.channel(data.id) {
                    channel.write(data.binary, &data.data)?;
                }
            }
            Event::ChannelClose(_) => break,
            _ => {}
        }
        report(&socket, &mut printed);
    }
    Ok(())
}

/// The address that packets toward `server` leave from. It sends none.
fn local_ip(server: SocketAddr) -> Result<IpAddr, Failure> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    Ok(socket.local_addr()?.ip())
}

fn main() -> Result<(), Failure> {
    str0m::crypto::from_feature_flags().install_process_default();
    let mut arguments = std::env::args().skip(1);
    let (Some(signal), Some(stun)) = (arguments.next(), arguments.next()) else {
        return Err("usage: str0m-producer SIGNAL STUN,STUN".into());
    };
    let server = |url: &str| url.trim_start_matches("stun:").parse();
    let servers = stun
        .split(',')
        .map(server)
        .collect::<Result<Vec<SocketAddr>, _>>()?;
    let local = local_ip(*servers.first().ok_or("no server")?)?;
    loop {
        serve(&signal, &servers, local)?;
    }
}
