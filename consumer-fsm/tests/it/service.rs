//! The signalling service, asked as any client would ask it.

use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, ServiceConfig, SignallingService};
use consumer_fsm::signalling::{
    GENESIS, Kind, Listener, SignalError, Signalling, Switchboard, SwitchboardLimits,
    SwitchboardTiming,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

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

#[tokio::test]
async fn a_reply_of_the_wrong_kind_is_400_and_the_volunteer_is_still_there() {
    let service = service().await;
    let client = HttpSignalling::new(&service.url()).unwrap();
    let announce = client.exchange(GENESIS, Kind::Genesis, "{}");
    let reply = async {
        let mut listener = client.listen().await.unwrap();
        let genesis = listener.next().await.unwrap().unwrap();
        for kind in ["2", "3"] {
            let form = format!("data=%7B%7D&send-to={}&type={kind}", genesis.reply_to);
            let response = raw(service.address(), &post(&form)).await;
            assert!(response.starts_with("HTTP/1.1 400"), "{kind}: {response}");
        }
        client.exchange(&genesis.reply_to, Kind::Offer, "{}").await
    };
    let (offer, _) = tokio::join!(announce, reply);
    assert_eq!(offer.unwrap().unwrap().kind, Kind::Offer);
}

const LISTEN: &str = "GET /v1/signal HTTP/1.1\r\nHost: x\r\nX-BF-Version: v2.3.1\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped_within_seconds() {
    let switchboard = Switchboard::default();
    let service = SignallingService::bind("127.0.0.1:0", switchboard.clone())
        .await
        .unwrap();
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    // more than the kernel takes for a client that does not read
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
    let before = alive();
    let mut deaf = TcpStream::connect(service.address()).await.unwrap();
    deaf.write_all(LISTEN.as_bytes()).await.unwrap();
    while alive() == before {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(alive() > before, "it has a while to read on");
    posts.abort_all();
    while posts.join_next().await.is_some() {}
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(alive() + 200, before, "something is kept for it");
    assert_eq!(service.refused().deaf, 1);
}

/// Whether the service holds a connection open.
async fn is_open(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    let read = stream.read(&mut byte);
    tokio::time::timeout(Duration::from_millis(200), read)
        .await
        .is_err()
}

#[tokio::test]
async fn connections_of_an_address_beyond_its_limit_are_closed_at_once_and_others_served() {
    let service = service().await;
    let address = service.address();
    let connect = |from: [u8; 4]| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(connect([127, 0, 0, 5]).await);
    }
    let mut one_more = connect([127, 0, 0, 5]).await;
    assert!(!is_open(&mut one_more).await);
    assert_eq!(service.refused().connections, 1);
    assert!(is_open(&mut connect([127, 0, 0, 6]).await).await);
    assert!(is_open(&mut idle[0]).await);
    drop(idle);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        is_open(&mut connect([127, 0, 0, 5]).await).await,
        "there is room again"
    );
}

#[tokio::test]
async fn behind_a_proxy_clients_are_counted_by_the_header_that_was_named() {
    let config = ServiceConfig::default()
        .with_connections_per_address(2)
        .with_client_header("X-Forwarded-For")
        .unwrap();
    let service = SignallingService::bind_with("127.0.0.1:0", Switchboard::default(), config)
        .await
        .unwrap();
    let mut open = Vec::new();
    for (client, is_served) in [
        ("203.0.113.7", true),
        // the first address is the client's claim, and the last is the one that the proxy saw
        ("198.51.100.1, 203.0.113.7", true),
        ("198.51.100.2, 203.0.113.7", false),
        ("203.0.113.8", true),
        ("2001:db8::1", true),
        ("2001:db8::2:1", true),
        ("2001:db8::3:1", false),
        // around the proxy
        ("", true),
        ("", true),
        ("", false),
    ] {
        let mut stream = TcpStream::connect(service.address()).await.unwrap();
        let header = format!("\r\nX-Forwarded-For: {client}\r\n\r\n");
        let request = LISTEN.replace("\r\n\r\n", &header);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let status = if is_served { "200" } else { "503" };
        assert_eq!(
            str::from_utf8(&head),
            Ok(&*format!("HTTP/1.1 {status}")),
            "{client}"
        );
        open.push(stream);
    }
    assert_eq!(service.refused().requests, 3);
    assert!(
        ServiceConfig::default()
            .with_client_header("no name")
            .is_err()
    );
}

#[tokio::test]
async fn what_has_no_room_is_503_and_a_client_knows_it() {
    let limits = SwitchboardLimits::default().with_bytes_per_address(10_000);
    let switchboard = Switchboard::default().with_limits(limits);
    let service = SignallingService::bind("127.0.0.1:0", switchboard)
        .await
        .unwrap();
    let client = HttpSignalling::new(&service.url()).unwrap();
    let long = "x".repeat(20_000);
    let refused = client.exchange(GENESIS, Kind::Genesis, &long).await;
    assert_eq!(refused, Err(SignalError::NoRoom));
    assert_eq!(service.refused().requests, 1);
}

#[tokio::test]
async fn headers_and_bodies_have_a_greatest_length() {
    let service = service().await;
    let header = format!("X-More: {}\r\nHost: x", "x".repeat(20_000));
    let response = raw(service.address(), &LISTEN.replace("Host: x", &header)).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let form = format!("send-to=genesis&type=0&data={}", "x".repeat(500_000));
    // it may be answered and closed before all of it is sent
    let _ = stream.write_all(post(&form).as_bytes()).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 400");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_drop_by_drop_has_its_time_and_no_more() {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default())
        .await
        .unwrap();
    for begun in [
        String::from("GET /v1/signal HTTP/1.1\r\nX-Drop: "),
        post(""),
    ] {
        let begun = begun.replace("Length: 0", "Length: 1000");
        let mut stream = TcpStream::connect(service.address()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let started = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let dropped = stream.write_all(b"x").await;
            let answered = tokio::time::timeout(Duration::from_millis(1), stream.readable()).await;
            if dropped.is_err() || answered.is_ok() {
                break;
            }
        }
        let seconds = started.elapsed().as_secs();
        assert!((10..=12).contains(&seconds), "{seconds} s");
    }
}
