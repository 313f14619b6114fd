//! Two str0m sessions on loopback that gather, connect and exchange a message; and the verdict on the NAT in
//! front of the first.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ice_gather::stun::{Header, TransactionId};
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::{Event, Rtc};
use str0m_observed::{Failure, Observed};

/// All is done by then, or has failed.
const WITHIN: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    str0m::crypto::from_feature_flags().install_process_default();
    let deadline = Instant::now() + WITHIN;
    // two STUN servers see the same mapping of a NAT, which exists in their answers only
    let mapped: SocketAddr = "203.0.113.7:50000".parse()?;
    let servers = [
        server("127.0.0.11:0", mapped)?,
        server("127.0.0.12:0", mapped)?,
    ];

    let mut caller = Rtc::new(Instant::now());
    let mut socket = Observed::bind("127.0.0.1:0".parse()?)?;
    socket.gather(&mut caller, &servers)?;
    let mut change = caller.sdp_api();
    change.add_channel("data".into());
    let (offer, pending) = change.apply().ok_or("nothing to offer")?;
    let offer_text = offer.to_sdp_string();

    // signalling is a variable here
    let (answer, callee) = answer(&offer_text, deadline)?;
    socket.set_passwords(&offer_text, &answer);
    caller
        .sdp_api()
        .accept_answer(pending, SdpAnswer::from_sdp_string(&answer)?)?;

    let mut greeting = None;
    while let Some(event) = socket.next_event(&mut caller, deadline)? {
        match event {
            Event::ChannelOpen(id, _) => {
                let mut channel = caller.channel(id).ok_or("the channel is open")?;
                channel.write(false, b"hello")?;
            }
            Event::ChannelData(data) => {
                greeting = Some(String::from_utf8_lossy(&data.data).into_owned());
                break;
            }
            _ => {}
        }
    }
    let greeting = greeting.ok_or("no answer came through the channel")?;
    callee.join().map_err(|_| "the callee ended in a panic")??;

    let evidence = socket.observer.evidence();
    println!("the peer answered: {greeting}");
    println!("the NAT: {}", evidence.summary());
    let checks = socket.observer.checks();
    println!(
        "checks: {} sent, {} answered, {}",
        checks.sent,
        checks.answered,
        socket.observer.trust().as_str()
    );
    Ok(())
}

type Callee = thread::JoinHandle<Result<(), Failure>>;

/// The other session, on a thread: its answer, and the thread, which echoes one message.
fn answer(offer: &str, deadline: Instant) -> Result<(String, Callee), Failure> {
    let mut rtc = Rtc::new(Instant::now());
    let mut socket = Observed::bind("127.0.0.1:0".parse()?)?;
    socket.gather(&mut rtc, &[])?;
    let answer = rtc
        .sdp_api()
        .accept_offer(SdpOffer::from_sdp_string(offer)?)?;
    let callee = thread::spawn(move || {
        let mut has_echoed = false;
        // a little longer than the echo, because it may have to be sent again
        let mut until = deadline;
        while let Some(event) = socket.next_event(&mut rtc, until)? {
            if let Event::ChannelData(data) = event {
                let mut channel = rtc.channel(data.id).ok_or("the channel is open")?;
                has_echoed = channel.write(data.binary, &data.data)?;
                until = Instant::now() + Duration::from_millis(500);
            }
        }
        has_echoed
            .then_some(())
            .ok_or_else(|| "no message came in".into())
    });
    Ok((answer.to_sdp_string(), callee))
}

/// A STUN server that reports `mapped`, until the program ends.
fn server(at: &str, mapped: SocketAddr) -> Result<SocketAddr, Failure> {
    let socket = Arc::new(UdpSocket::bind(at)?);
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut buffer) {
            if let Some(header) = Header::peek(&buffer[..length]).filter(|h| h.is_binding_request())
            {
                let _ = socket.send_to(&success(header.id, mapped), source);
            }
        }
    });
    Ok(address)
}

/// A Binding success response with XOR-MAPPED-ADDRESS (RFC 8489 section 14.2), for IPv4.
fn success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
    const COOKIE: u32 = 0x2112_A442;
    let mut bytes = vec![0x01, 0x01, 0x00, 0x0C];
    bytes.extend(COOKIE.to_be_bytes());
    bytes.extend(id);
    bytes.extend([0x00, 0x20, 0x00, 0x08, 0x00, 0x01]);
    bytes.extend((mapped.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    if let SocketAddr::V4(mapped) = mapped {
        bytes.extend((u32::from(*mapped.ip()) ^ COOKIE).to_be_bytes());
    }
    bytes
}
