//! The messages of the client and of the service on the wire, compared with committed bytes.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::wire::{
    Description, Envelope, Genesis, IceCandidates, Kind, Offer, WireCandidate, read, write,
};
use consumer_fsm::signalling::{GENESIS, Signalling, Switchboard, SwitchboardTiming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::golden;

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n";
/// Stands for each reply-to id.
const ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const SESSION: &str = "16fd2706-8baf-433b-82eb-8c7fada847da";

fn offer() -> Offer {
    Offer {
        sdp: Description {
            kind: "offer".into(),
            sdp: SDP.into(),
        },
        tag: String::new(),
    }
}

fn answer() -> Description {
    Description {
        kind: "answer".into(),
        sdp: format!("{SDP}a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\n"),
    }
}

fn ice() -> IceCandidates {
    let host = WireCandidate {
        foundation: "1".into(),
        priority: 2_130_706_431,
        address: "192.168.1.5".into(),
        protocol: 1,
        port: 50_000,
        kind: "host".into(),
        component: 1,
        sdp_mid: "0".into(),
        ..WireCandidate::default()
    };
    let srflx = WireCandidate {
        priority: 1_694_498_815,
        address: "203.0.113.7".into(),
        port: 61_000,
        kind: "srflx".into(),
        related_address: "192.168.1.5".into(),
        related_port: 50_000,
        ..host.clone()
    };
    IceCandidates {
        candidates: vec![host, srflx],
        consumer_session_id: SESSION.into(),
    }
}

/// Every message: its name, its recipient, its kind and its payload.
fn messages() -> [(&'static str, &'static str, Kind, String); 4] {
    [
        (
            "genesis",
            GENESIS,
            Kind::Genesis,
            write(&Genesis::everywhere()),
        ),
        ("offer", ID, Kind::Offer, write(&offer())),
        ("answer", ID, Kind::Answer, write(&answer())),
        ("ice", ID, Kind::Ice, write(&ice())),
    ]
}

/// One request as `send` makes it, with the port that chance gave replaced by the usual one.
async fn request<F: Future>(send: impl FnOnce(HttpSignalling) -> F) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = HttpSignalling::new(&format!("http://{address}/v1/signal")).unwrap();
    let take = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        let mut buffer = [0; 4096];
        // the whole of it: the client waits for a response then
        while let Ok(Ok(length)) =
            tokio::time::timeout(Duration::from_millis(100), stream.read(&mut buffer)).await
        {
            assert!(length > 0, "{request}");
            request += std::str::from_utf8(&buffer[..length]).unwrap();
        }
        request
    };
    tokio::select! {
        request = take => request.replace(&address.to_string(), "localhost:9000"),
        _ = send(client) => unreachable!("nobody answers"),
    }
}

#[tokio::test]
async fn what_the_client_sends_is_what_it_always_sent() {
    let listen = request(|client| async move { drop(client.listen().await) }).await;
    golden::compare("tests/data/wire/listen.request", &listen);
    for (name, to, kind, payload) in messages() {
        let request =
            request(|client| async move { client.exchange(to, kind, &payload).await }).await;
        golden::compare(&format!("tests/data/wire/{name}.request"), &request);
    }
}

#[test]
fn what_was_always_sent_is_read_as_it_was_meant() {
    let body = |name: &str| {
        let path = format!(
            "{}/tests/data/wire/{name}.request",
            env!("CARGO_MANIFEST_DIR")
        );
        let request = std::fs::read_to_string(path).unwrap();
        let form = request.split("\r\n\r\n").nth(1).unwrap().to_owned();
        form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .next()
            .unwrap()
            .1
    };
    assert_eq!(read(&body("genesis")), Ok(Genesis::everywhere()));
    assert_eq!(read(&body("offer")), Ok(offer()));
    assert_eq!(read(&body("answer")), Ok(answer()));
    assert_eq!(read(&body("ice")), Ok(ice()));
}

async fn ask(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // the last request of its connection: the response ends with it
    let request = request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The whole response, without the headers that change from day to day.
async fn response(mut stream: TcpStream) -> String {
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("date:"))
        .collect()
}

/// The one exchange there is, in the very bytes that clients always sent: each response of the
/// service, in order.
#[tokio::test]
async fn what_the_service_answers_is_what_it_always_answered() {
    let mut timing = SwitchboardTiming::default();
    timing.listen = Duration::from_millis(300);
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::new(timing))
        .await
        .unwrap();
    let listen = request(|client| async move { drop(client.listen().await) }).await;
    let to = |name: &str, id: &str| {
        let path = format!(
            "{}/tests/data/wire/{name}.request",
            env!("CARGO_MANIFEST_DIR")
        );
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .replace(ID, id)
    };
    let reply_to = |response: &str| {
        let at = response
            .find("\"ReplyTo\":\"")
            .unwrap_or_else(|| panic!("{response}"))
            + 11;
        response[at..at + 36].to_owned()
    };
    let mut told = String::new();
    let mut tell = |title: &str, response: &str, ids: &[&str]| {
        let hidden = ids
            .iter()
            .fold(response.to_owned(), |text, id| text.replace(id, ID));
        let _ = write!(told, "== {title}\n{hidden}\n");
    };
    let mut ids = Vec::new();

    let address = service.address();
    let genesis = ask(address, &to("genesis", "")).await;
    let stream = response(ask(address, &listen).await).await;
    ids.push(reply_to(&stream));
    tell("to a listener", &stream, &[&ids[0]]);
    let offer = ask(address, &to("offer", &ids[0])).await;
    let offered = response(genesis).await;
    ids.push(reply_to(&offered));
    tell("to a genesis message: the offer", &offered, &[&ids[1]]);
    let answer = ask(address, &to("answer", &ids[1])).await;
    let answered = response(offer).await;
    ids.push(reply_to(&answered));
    tell("to an offer: the answer", &answered, &[&ids[2]]);
    tell(
        "to candidates",
        &response(ask(address, &to("ice", &ids[2])).await).await,
        &[],
    );
    let iced = response(answer).await;
    ids.push(reply_to(&iced));
    tell("to an answer: the candidates", &iced, &[&ids[3]]);

    tell(
        "to a message for who is gone",
        &response(ask(address, &to("ice", &ids[2])).await).await,
        &[],
    );
    let malformed = to("ice", &ids[2]).replace("data=", "date=");
    tell(
        "to a malformed message",
        &response(ask(address, &malformed).await).await,
        &[],
    );
    let old = listen.replace("v2.3.1", "v1.9.9");
    tell(
        "to another version",
        &response(ask(address, &old).await).await,
        &[],
    );
    let put = listen.replace("GET", "PUT");
    tell(
        "to a method that is none",
        &response(ask(address, &put).await).await,
        &[],
    );
    let options = "OPTIONS /v1/signal HTTP/1.1\r\nhost: x\r\norigin: https://example.org\r\naccess-control-request-method: POST\r\n\r\n";
    let options = response(ask(address, options).await).await;
    tell("to a browser that asks first", &options, &[]);

    let responses: Vec<&str> = told.split("== ").skip(1).collect();
    assert!(
        responses
            .iter()
            .all(|one| one.contains("access-control-allow-origin: *\r\n")),
        "{told}"
    );
    golden::compare("tests/data/wire/responses", &told);
}

/// A service that sends these lines at these times, and a client of it.
async fn stream_of(lines: Vec<(u64, &'static str)>) -> (HttpSignalling, crate::stage::Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client =
        HttpSignalling::new(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let serve = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let lines = lines.clone();
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let length = stream.read(&mut request).await.unwrap_or(0);
                if request[..length].starts_with(b"POST") {
                    // every offer loses the race; the recipient stands in the request
                    let _ = stream
                        .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                        .await;
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                for (wait, reply_to) in lines {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    let line = Envelope {
                        reply_to: reply_to.into(),
                        kind: Kind::Genesis,
                        payload: "{}".into(),
                    };
                    let _ = stream.write_all((write(&line) + "\n").as_bytes()).await;
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            });
        }
    };
    (client, crate::stage::Running(tokio::spawn(serve)))
}

/// The recipients of a consumer's first offers with this patience, so many of them.
async fn chosen(lines: Vec<(u64, &'static str)>, patience: u64, count: usize) -> Vec<String> {
    use crate::stage::{Spans, cache, responders, timing, transport};
    let (client, _service) = stream_of(lines).await;
    let recorder = Recorder {
        client,
        chosen: std::sync::Arc::default(),
    };
    let stun = responders(1, ice_gather::responder::Manner::Honest).await;
    let mut times = timing();
    times.patience = Duration::from_millis(patience);
    let (_spans, telemetry) = Spans::new();
    let mut consumer =
        consumer_fsm::Consumer::new(recorder.clone(), transport(), telemetry, cache(&stun))
            .with_timing(times);
    let cancel = tokio_util::sync::CancellationToken::new();
    let attempts = async {
        loop {
            consumer.attempt(&cancel).await;
        }
    };
    let is_enough = async {
        while recorder.chosen.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // a busy machine takes longer
    tokio::select! {
        () = attempts => {}
        () = is_enough => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => {}
    }
    recorder.chosen.lock().unwrap().clone()
}

/// Records the recipient of each message.
#[derive(Clone)]
struct Recorder {
    client: HttpSignalling,
    chosen: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Signalling for Recorder {
    type Listener = <HttpSignalling as Signalling>::Listener;

    async fn listen(&self) -> Result<Self::Listener, consumer_fsm::signalling::SignalError> {
        self.client.listen().await
    }

    async fn exchange(
        &self,
        to: &str,
        kind: Kind,
        payload: &str,
    ) -> Result<Option<Envelope>, consumer_fsm::signalling::SignalError> {
        self.chosen.lock().unwrap().push(to.to_owned());
        self.client.exchange(to, kind, payload).await
    }
}

#[tokio::test]
async fn whoever_announces_itself_within_the_patience_may_be_chosen_and_nobody_later() {
    let lines = vec![(0, "first"), (20, "second"), (0, "third"), (5_000, "late")];
    // twelve equal ones out of three by chance: once in 177,147 runs
    let mut chosen = chosen(lines, 60, 12).await;
    assert!(
        chosen.len() >= 12,
        "it listens again after each lost race: {chosen:?}"
    );
    chosen.sort();
    chosen.dedup();
    assert!(
        chosen.len() > 1 && !chosen.contains(&"late".to_owned()),
        "at random, of those in time: {chosen:?}"
    );
    let hasty = self::chosen(vec![(0, "first"), (300, "second")], 5, 5).await;
    assert!(
        hasty.len() >= 5 && hasty.iter().all(|id| id == "first"),
        "{hasty:?}"
    );
}
