//! The service behind TLS: who it is, is checked; whatever goes wrong there is an error of its own,
//! in bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consumer_fsm::signalling::http::{HttpSignalling, SignallingService};
use consumer_fsm::signalling::{Kind, SignalError, Signalling, Switchboard};
use consumer_fsm::{Consumer, Ending, Event, State, Transition};
use ice_gather::responder::Manner;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::runner::{Until, run};
use crate::stage::{Running, Spans, attempt, cache, producer, responders, timing, transport};

/// TLS in front of a service, with a certificate for `localhost` that no client trusts by default.
struct Front {
    address: SocketAddr,
    trusting: Arc<ClientConfig>,
    _task: Running,
}

async fn front(service: SocketAddr) -> Front {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut outside) = acceptor.accept(stream).await {
                    let mut inside = TcpStream::connect(service).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    Front {
        address,
        trusting: trusting(roots),
        _task: Running(task),
    }
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_goes_through_over_tls() {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default())
        .await
        .unwrap();
    let front = front(service.address()).await;
    let url = format!("https://localhost:{}/v1/signal", front.address.port());
    let signalling = HttpSignalling::secure(&url, Arc::clone(&front.trusting)).unwrap();
    let _producer = producer(signalling.clone());
    let stun = responders(2, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let report = attempt(signalling, cache(&stun), telemetry, Duration::from_secs(10)).await;
    assert_eq!(
        report.ending,
        Some(Ending::Success),
        "{:?}",
        report.transitions
    );
    assert_eq!(spans.all().len(), 1);
}

#[tokio::test]
async fn who_cannot_show_that_it_is_the_service_hears_nothing() {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default())
        .await
        .unwrap();
    let front = front(service.address()).await;
    let port = front.address.port();
    for (url, config, why) in [
        (
            format!("https://localhost:{port}/"),
            trusting(RootCertStore::empty()),
            "nobody is trusted",
        ),
        (
            format!("https://127.0.0.1:{port}/"),
            Arc::clone(&front.trusting),
            "the name is another",
        ),
    ] {
        let client = HttpSignalling::secure(&url, config).unwrap();
        assert_eq!(
            client.exchange("x", Kind::Offer, "{}").await,
            Err(SignalError::Untrusted),
            "{why}"
        );
        assert_eq!(
            client.listen().await.err(),
            Some(SignalError::Untrusted),
            "{why}"
        );
    }
    let client = HttpSignalling::secure(
        &format!("https://localhost:{port}/"),
        trusting(RootCertStore::empty()),
    );
    let stun = responders(1, Manner::Honest).await;
    let (spans, telemetry) = Spans::new();
    let mut consumer =
        Consumer::new(client.unwrap(), transport(), telemetry, cache(&stun)).with_timing(timing());
    let report = run(&mut consumer, Until::Happened(Event::ExchangeFailed)).await;
    assert!(report.transitions.contains(&Transition {
        from: State::Listening,
        event: Event::ExchangeFailed,
        to: State::Listening
    }));
    assert!(spans.all().is_empty(), "nobody was asked");
}

#[tokio::test]
async fn a_service_without_tls_or_that_never_shakes_hands_is_given_up() {
    let service = SignallingService::bind("127.0.0.1:0", Switchboard::default())
        .await
        .unwrap();
    let url = format!("https://localhost:{}/", service.address().port());
    let client = HttpSignalling::secure(&url, trusting(RootCertStore::empty())).unwrap();
    assert_eq!(
        client.listen().await.err(),
        Some(SignalError::NotTls),
        "it speaks plain HTTP"
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", silent.local_addr().unwrap().port());
    let client = HttpSignalling::secure(&url, trusting(RootCertStore::empty())).unwrap();
    let client = client.with_slack(Duration::from_millis(100));
    assert_eq!(client.listen().await.err(), Some(SignalError::TimedOut));
}

#[tokio::test]
async fn only_https_urls_with_a_host_are_secure() {
    for url in ["http://localhost/", "https://", "localhost", ""] {
        let client = HttpSignalling::secure(url, trusting(RootCertStore::empty()));
        assert_eq!(client.err(), Some(SignalError::Url), "{url}");
    }
    for url in [
        "https://localhost/",
        "https://[::1]:4433/v1/signal",
        "https://203.0.113.7",
    ] {
        assert!(
            HttpSignalling::secure(url, trusting(RootCertStore::empty())).is_ok(),
            "{url}"
        );
    }
}
