//! The signalling service, asked as any client would ask it.

use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{
    GENESIS, Kind, Listener, SignalError, Signalling, Switchboard, SwitchboardTiming,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn service() -> SignallingService {
    let mut timing = SwitchboardTiming::default();
    timing.genesis = Duration::from_millis(300);
    timing.exchange = Duration::from_millis(300);
    timing.listen = Duration::from_millis(600);
    SignallingService::bind("127.0.0.1:0", Switchboard::new(timing))
        .await
        .unwrap()
}

/// Sends a request as it stands and reads the whole response.
async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn post(form: &str) -> String {
    format!(
        "POST /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

#[tokio::test]
async fn the_version_is_checked_by_its_major_and_every_reply_is_open_to_browsers() {
    let service = service().await;
    for (version, status) in [
        ("X-BF-Version: v2.3.1\r\n", "404"),
        ("X-BF-Version: v2.99.0\r\n", "404"),
        ("X-BF-Version: v1.3.1\r\n", "418"),
        ("X-BF-Version: nonsense\r\n", "418"),
        ("", "418"),
    ] {
        let request =
            post("data=%7B%7D&send-to=nobody&type=1").replace("X-BF-Version: v2.3.1\r\n", version);
        let response = raw(service.address(), &request).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{version}{response}"
        );
        assert!(
            response
                .to_lowercase()
                .contains("access-control-allow-origin: *"),
            "{response}"
        );
    }
    let options = "OPTIONS /v1/signal HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = raw(service.address(), options).await.to_lowercase();
    assert!(response.starts_with("http/1.1 200"), "{response}");
    assert!(
        response.contains("access-control-allow-headers: x-bf-version, content-type"),
        "{response}"
    );
}

#[tokio::test]
async fn malformed_posts_are_400() {
    let service = service().await;
    for form in [
        "",
        "data=x",
        "data=x&send-to=y",
        "data=x&send-to=y&type=9",
        "data=x&send-to=genesis&type=1",
    ] {
        let response = raw(service.address(), &post(form)).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{form}: {response}");
    }
}

#[tokio::test]
async fn the_whole_exchange_stands_on_the_wire_as_it_should() {
    let service = service().await;
    let client = HttpSignalling::new(&service.url()).unwrap();
    let address = service.address();
    let producer = async {
        let offer = client
            .exchange(GENESIS, Kind::Genesis, "{\"g\":1}")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (offer.kind, offer.payload.as_str()),
            (Kind::Offer, "{\"o\":2}")
        );
        let ice = client
            .exchange(&offer.reply_to, Kind::Answer, "{\"a\":3}")
            .await
            .unwrap()
            .unwrap();
        assert_eq!((ice.kind, ice.payload.as_str()), (Kind::Ice, "{\"i\":4}"));
    };
    let consumer = async {
        let mut listener = client.listen().await.unwrap();
        let genesis = listener.next().await.unwrap().unwrap();
        assert_eq!(
            (genesis.kind, genesis.payload.as_str()),
            (Kind::Genesis, "{\"g\":1}")
        );
        let response = raw(
            address,
            &post(&format!(
                "data=%7B%22o%22%3A2%7D&send-to={}&type=1",
                genesis.reply_to
            )),
        )
        .await;
        let body = response.split("\r\n\r\n").nth(1).unwrap();
        assert!(body.starts_with("{\"ReplyTo\":\""), "{body}");
        assert!(
            body.ends_with("\",\"Type\":2,\"Payload\":\"{\\\"a\\\":3}\"}"),
            "{body}"
        );
        let reply_to = &body["{\"ReplyTo\":\"".len()..][..36];
        assert_eq!(
            client.exchange(reply_to, Kind::Ice, "{\"i\":4}").await,
            Ok(None),
            "candidates end at once"
        );
        assert_eq!(
            client.exchange(reply_to, Kind::Ice, "{}").await,
            Err(SignalError::Gone),
            "one message each"
        );
        let late = client.exchange(&genesis.reply_to, Kind::Offer, "{}").await;
        assert_eq!(late, Err(SignalError::Gone), "the race is lost");
    };
    tokio::join!(producer, consumer);
    assert_eq!(service.switchboard().waiting(), 0);
}

#[tokio::test]
async fn nobody_answers_in_time_is_200_with_an_empty_body_and_then_nobody_can() {
    let service = service().await;
    let client = HttpSignalling::new(&service.url()).unwrap();
    let mut listener = client.listen().await.unwrap();
    assert_eq!(
        client.exchange(GENESIS, Kind::Genesis, "{}").await,
        Ok(None)
    );
    let genesis = listener.next().await.unwrap().unwrap();
    assert_eq!(
        client.exchange(&genesis.reply_to, Kind::Offer, "{}").await,
        Err(SignalError::Gone)
    );
    assert_eq!(
        listener.next().await,
        None,
        "the stream is held for a while, not for ever"
    );
}

#[tokio::test]
async fn a_genesis_message_that_still_waits_reaches_who_comes_later() {
    let service = service().await;
    let client = HttpSignalling::new(&service.url()).unwrap();
    let announce = client.exchange(GENESIS, Kind::Genesis, "{}");
    let listen = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut listener = client.listen().await.unwrap();
        let genesis = listener.next().await.unwrap().unwrap();
        client.exchange(&genesis.reply_to, Kind::Offer, "{}").await
    };
    let (offer, _) = tokio::join!(announce, listen);
    assert_eq!(offer.unwrap().unwrap().kind, Kind::Offer);
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nobody_waiting() {
    let service = service().await;
    let client = HttpSignalling::new(&service.url()).unwrap();
    let announce = client.exchange(GENESIS, Kind::Genesis, "{}");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), announce)
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(service.switchboard().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_reads_has_its_time_and_no_more() {
    let switchboard = Switchboard::default();
    let service = SignallingService::bind("127.0.0.1:0", switchboard.clone())
        .await
        .unwrap();
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    // more than the kernel takes for somebody who does not read
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let switchboard = switchboard.clone();
        posts.spawn(async move {
            switchboard
                .post(GENESIS, Kind::Genesis, "x".repeat(100_000))
                .await
        });
    }
    while switchboard.waiting() < 200 {
        tokio::task::yield_now().await;
    }
    let mut deaf = TcpStream::connect(service.address()).await.unwrap();
    deaf.write_all(b"GET /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(35)).await;
    while posts.join_next().await.is_some() {}
    assert!(alive() > before, "it is believed in for a while");
    // 20 s are the service's, 10 s each a header's and a body's
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(alive(), before, "something is kept for it");
}
