//! A signalling service that misbehaves on the wire, in each of the three exchanges.

use std::time::Duration;

use consumer_fsm::Event;
use consumer_fsm::signalling::SignalError;
use consumer_fsm::signalling::http::HttpSignalling;
use ice_gather::responder::Manner;

use crate::stage::{Stage, Until, cache, ghost, responders, service_timing, timing};
use crate::wire::{Reply, Script, answer, genesis, ok, response, serve, status};

/// Long enough for a time-out of the client.
const WHILE: Until = Until::Milliseconds(550);

async fn listening(stage: &Stage, listen: Reply) {
    meet(
        stage,
        Script {
            listen,
            ..Script::default()
        },
        WHILE,
    )
    .await;
}

async fn offering(stage: &Stage, offer: Reply) {
    meet(
        stage,
        Script {
            offer,
            ..Script::default()
        },
        WHILE,
    )
    .await;
}

async fn trickling(stage: &Stage, ice: Reply) {
    meet(
        stage,
        Script {
            ice,
            ..Script::default()
        },
        Until::End,
    )
    .await;
}

async fn meet(stage: &Stage, script: Script, until: Until) {
    let stun = responders(2, Manner::Honest).await;
    let (client, service) = serve(script).await;
    let report = stage
        .attempt(&mut stage.patient_consumer(client, cache(&stun)), until)
        .await;
    // each try waits for more genesis messages, or longer after a refusal
    let most = 2 * report.elapsed.as_millis() / timing().patience.as_millis() + 2;
    assert!(
        service.requests() as u128 <= most,
        "{} requests in {:?}",
        service.requests(),
        report.elapsed
    );
    assert!(
        report
            .gathering
            .is_none_or(|gathering| gathering.packets_sent <= 2),
        "asked once, however many offers"
    );
    drop(service);
}

/// Bytes that are not HTTP.
fn garbage() -> Reply {
    Reply::Bytes(b"220 mail.example.org SMTP ready\r\n\r\n".to_vec())
}

fn endless_header() -> Reply {
    Reply::Endless(
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"X-More: of the same\r\n".repeat(100),
    )
}

fn redirect() -> Reply {
    response(
        "302 Found",
        "Location: http://127.0.0.1:9/v1/signal\r\n",
        b"",
    )
}

/// A body that ends with the connection.
fn until_closed(again: &[u8]) -> Reply {
    Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), again.to_vec())
}

/// Promises more than it keeps.
fn cut(body: &str) -> Reply {
    Reply::Bytes(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len() + 100
        )
        .into_bytes(),
    )
}

pub(crate) async fn not_there(stage: &Stage) {
    let stun = responders(1, Manner::Honest).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = HttpSignalling::new(&format!("http://{closed}/")).unwrap();
    stage
        .attempt(&mut stage.consumer(client, &stun), WHILE)
        .await;
}

pub(crate) async fn tls(_: &Stage) {
    let refused = HttpSignalling::new("https://signal.example.org/v1/signal");
    assert_eq!(refused.err(), Some(SignalError::Url));
}

pub(crate) async fn another_version(stage: &Stage) {
    listening(stage, status("418 I'm a teapot")).await;
}

pub(crate) async fn takes_no_listener(stage: &Stage) {
    listening(stage, status("400 Bad Request")).await;
}

pub(crate) async fn fails_a_listener(stage: &Stage) {
    listening(stage, status("500 Internal Server Error")).await;
}

pub(crate) async fn redirects_a_listener(stage: &Stage) {
    listening(stage, redirect()).await;
}

pub(crate) async fn speaks_no_http(stage: &Stage) {
    listening(stage, garbage()).await;
}

pub(crate) async fn resets_a_listener(stage: &Stage) {
    listening(stage, Reply::Reset).await;
}

pub(crate) async fn never_answers_a_listener(stage: &Stage) {
    listening(stage, Reply::Hang(Vec::new())).await;
}

pub(crate) async fn drips_its_header(stage: &Stage) {
    listening(stage, Reply::Drip(b"HTTP/1.1 200 OK\r\n".repeat(1_000))).await;
}

pub(crate) async fn header_without_end(stage: &Stage) {
    listening(stage, endless_header()).await;
}

pub(crate) async fn line_without_end(stage: &Stage) {
    listening(stage, until_closed(&[b'x'; 65_536])).await;
}

pub(crate) async fn lines_of_another_shape(stage: &Stage) {
    let lines = "\n\n[]\n{}\n\"x\"\n{\"ReplyTo\":1,\"Type\":0,\"Payload\":\"\"}\n{\"ReplyTo\":\"x\",\"Type\":9,\"Payload\":\"\"}\n";
    let nested = "[".repeat(100_000);
    listening(stage, ok(&format!("{lines}{nested}\n"))).await;
}

pub(crate) async fn stream_that_breaks(stage: &Stage) {
    listening(stage, cut(&genesis()[..20])).await;
}

pub(crate) async fn broken_line_first(stage: &Stage) {
    let lines = format!("{{\"half\":\n{}\n{{\"half\":", genesis());
    meet(
        stage,
        Script {
            listen: cut(&lines),
            ..Script::default()
        },
        Until::End,
    )
    .await;
}

pub(crate) async fn flood_of_genesis(stage: &Stage) {
    let listen = until_closed((genesis() + "\n").repeat(500).as_bytes());
    meet(
        stage,
        Script {
            listen,
            ..Script::default()
        },
        Until::End,
    )
    .await;
}

pub(crate) async fn flood_of_broken_lines(stage: &Stage) {
    let first = format!("HTTP/1.1 200 OK\r\n\r\n{}\n", genesis());
    let listen = Reply::Endless(first.into_bytes(), b"x\n".repeat(32 * 1024));
    meet(
        stage,
        Script {
            listen,
            ..Script::default()
        },
        Until::End,
    )
    .await;
}

pub(crate) async fn nothing_but_broken_lines(stage: &Stage) {
    listening(stage, until_closed(&b"x\n".repeat(32 * 1024))).await;
}

pub(crate) async fn head_with_the_first_genesis(stage: &Stage) {
    late(stage, &(genesis() + "\n"), Until::End).await;
}

pub(crate) async fn head_with_its_end(stage: &Stage) {
    late(stage, "", WHILE).await;
}

/// Says nothing to a listener for longer than a connection may take, and for less than a listener
/// waits.
async fn late(stage: &Stage, body: &str, until: Until) {
    let Reply::Bytes(bytes) = ok(body) else {
        unreachable!()
    };
    let listen = Reply::Late(Duration::from_millis(250), bytes);
    let stun = responders(2, Manner::Honest).await;
    let (client, service) = serve(Script {
        listen,
        ..Script::default()
    })
    .await;
    let mut timing = service_timing();
    timing.listen = Duration::from_millis(400);
    let client = client
        .with_timing(timing)
        .with_slack(Duration::from_millis(100));
    let report = stage
        .attempt(&mut stage.patient_consumer(client, cache(&stun)), until)
        .await;
    assert!(
        report
            .transitions
            .iter()
            .all(|step| step.event != Event::ExchangeFailed),
        "it is well"
    );
    drop(service);
}

pub(crate) async fn lost_race(stage: &Stage) {
    offering(stage, status("404 Not Found")).await;
}

pub(crate) async fn empty_reply(stage: &Stage) {
    offering(stage, ok("")).await;
}

pub(crate) async fn version_that_changes(stage: &Stage) {
    offering(stage, status("418 I'm a teapot")).await;
}

pub(crate) async fn takes_no_offer(stage: &Stage) {
    offering(stage, status("400 Bad Request")).await;
}

pub(crate) async fn fails_an_offer(stage: &Stage) {
    offering(
        stage,
        response("500 Internal Server Error", "", &[b'x'; 10_000]),
    )
    .await;
}

pub(crate) async fn redirects_an_offer(stage: &Stage) {
    offering(stage, redirect()).await;
}

pub(crate) async fn reply_that_is_no_json(stage: &Stage) {
    offering(stage, ok("<html>")).await;
}

pub(crate) async fn reply_of_another_shape(stage: &Stage) {
    offering(
        stage,
        ok("{\"ReplyTo\":\"a\",\"Type\":2,\"Payload\":{\"type\":\"answer\",\"sdp\":\"\"}}"),
    )
    .await;
}

pub(crate) async fn reply_of_another_kind(stage: &Stage) {
    offering(
        stage,
        ok(&answer(&ghost()).replace("\"Type\":2", "\"Type\":1")),
    )
    .await;
}

pub(crate) async fn reply_that_is_no_text(stage: &Stage) {
    offering(stage, response("200 OK", "", b"\xff\xfe\x00{")).await;
}

pub(crate) async fn reply_of_ten_megabytes(stage: &Stage) {
    // the announced length is the true one, and neither side keeps the whole reply
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10_000_000);
    offering(stage, Reply::Endless(head.into_bytes(), vec![b' '; 10_000])).await;
}

pub(crate) async fn reply_without_end(stage: &Stage) {
    offering(stage, until_closed(&[b' '; 65_536])).await;
}

pub(crate) async fn drips_its_reply(stage: &Stage) {
    offering(
        stage,
        Reply::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{".repeat(100)),
    )
    .await;
}

pub(crate) async fn never_answers_an_offer(stage: &Stage) {
    offering(stage, Reply::Hang(Vec::new())).await;
}

pub(crate) async fn never_ends_its_reply(stage: &Stage) {
    offering(
        stage,
        Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()),
    )
    .await;
}

pub(crate) async fn shorter_than_it_says(stage: &Stage) {
    offering(stage, cut(&answer(&ghost()))).await;
}

pub(crate) async fn length_that_is_none(stage: &Stage) {
    offering(
        stage,
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello".to_vec()),
    )
    .await;
}

pub(crate) async fn longer_than_it_says(stage: &Stage) {
    let reply = answer(&ghost());
    let short = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{reply}",
        reply.len() - 10
    );
    offering(stage, Reply::Bytes(short.into_bytes())).await;
}

pub(crate) async fn resets_an_offer(stage: &Stage) {
    offering(stage, Reply::Reset).await;
}

pub(crate) async fn offer_header_without_end(stage: &Stage) {
    offering(stage, endless_header()).await;
}

pub(crate) async fn partner_gone(stage: &Stage) {
    trickling(stage, status("404 Not Found")).await;
}

pub(crate) async fn version_that_changes_late(stage: &Stage) {
    trickling(stage, status("418 I'm a teapot")).await;
}

pub(crate) async fn fails_the_candidates(stage: &Stage) {
    trickling(stage, status("500 Internal Server Error")).await;
}

pub(crate) async fn redirects_the_candidates(stage: &Stage) {
    trickling(stage, redirect()).await;
}

pub(crate) async fn resets_the_candidates(stage: &Stage) {
    trickling(stage, Reply::Reset).await;
}

pub(crate) async fn never_takes_the_candidates(stage: &Stage) {
    trickling(stage, Reply::Hang(Vec::new())).await;
}
