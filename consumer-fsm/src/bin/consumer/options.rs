//! The arguments of the program.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use consumer_fsm::signalling::SignalError;
use consumer_fsm::signalling::http::{HttpSignalling, ServiceConfig};
use ice_gather::{BindConfig, StunServer};
use otel_nat::ExternalIp;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing_subscriber::filter::LevelFilter;

/// Connects to volunteers over a signalling service, and reports how the NAT behaves.
///
/// The program plays one of four roles: the consumer, which looks for volunteers; the producer, a
/// volunteer that echoes datagrams; the signalling service, over which the two find each other; and
/// a STUN server. It prints one line per step, and ends on Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, after_help = AFTER, args_override_self = true)]
pub(crate) struct Options {
    /// The role that this process plays
    #[arg(long, value_enum, default_value_t = Role::Consumer, env = "CONSUMER_ROLE")]
    pub(crate) role: Role,
    /// The signalling service. The certificate of an https service is checked against the
    /// authorities of the system, or those in SSL_CERT_FILE
    #[arg(long, value_name = "URL", default_value = "http://localhost:9000/v1/signal", env = "CONSUMER_SIGNAL", value_parser = signalling)]
    pub(crate) signal: HttpSignalling,
    /// A STUN server, as stun:HOST:PORT or HOST:PORT; may be repeated
    #[arg(
        long,
        value_name = "SERVER",
        env = "CONSUMER_STUN",
        value_delimiter = ','
    )]
    pub(crate) stun: Vec<StunServer>,
    /// A file with more STUN servers, one per line; # starts a comment. The file is read again each
    /// time all servers have failed
    #[arg(long, value_name = "FILE", env = "CONSUMER_STUN_FILE")]
    pub(crate) stun_file: Option<PathBuf>,
    /// consumer: keep N paths at once; producer: serve N consumers at once
    #[arg(long, value_name = "N", default_value = "1", env = "CONSUMER_SLOTS", value_parser = slots)]
    pub(crate) slots: usize,
    /// consumer: end after N attempts. With this option, a working path is closed after one second,
    /// and an attempt ends if the signalling service fails. An attempt still goes on while no
    /// volunteer answers
    #[arg(long, value_name = "N", env = "CONSUMER_ATTEMPTS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) attempts: Option<u64>,
    /// consumer: close each path after this time
    #[arg(long, value_name = "SECONDS", env = "CONSUMER_HOLD", value_parser = seconds)]
    pub(crate) hold: Option<Duration>,
    /// consumer: the id of this client toward its peers; by default a random one for each process
    #[arg(long, value_name = "ID", env = "CONSUMER_SESSION_ID", value_parser = session_id)]
    pub(crate) session_id: Option<String>,
    /// The transport of a path's datagrams; both sides need the same one
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Kind::Ice, env = "CONSUMER_TRANSPORT")]
    pub(crate) transport: Kind,
    /// Send from this address instead of the default route's
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "CONSUMER_BIND",
        conflicts_with = "interface"
    )]
    bind: Option<IpAddr>,
    /// Send from the first address of this interface
    #[arg(long, value_name = "NAME", env = "CONSUMER_INTERFACE")]
    interface: Option<String>,
    /// signal, stun: listen on this address [default: 127.0.0.1:9000 for signal, 127.0.0.1:3478 for
    /// stun]
    #[arg(long, value_name = "ADDRESS", env = "CONSUMER_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// signal: serve at most N connections at once [default: 1024]
    #[arg(long, value_name = "N", env = "CONSUMER_CONNECTIONS", value_parser = at_least_one)]
    connections: Option<usize>,
    /// signal: serve at most N connections of one address at once; an IPv6 network of 64 bits
    /// counts as one address [default: 64]
    #[arg(long, value_name = "N", env = "CONSUMER_PER_ADDRESS", value_parser = at_least_one)]
    per_address: Option<usize>,
    /// signal: take the client's address from this header, such as X-Forwarded-For. Use it only
    /// behind a proxy that sets the header, because any client can send one
    #[arg(long, value_name = "NAME", env = "CONSUMER_CLIENT_HEADER", value_parser = client_header)]
    client_header: Option<String>,
    /// consumer: serve /healthz and /metrics (Prometheus) over HTTP on this address, such as
    /// 127.0.0.1:9464; off by default. Neither shows an address
    #[arg(long, value_name = "ADDRESS", env = "CONSUMER_HEALTH")]
    pub(crate) health: Option<SocketAddr>,
    /// Print a line per step with several slots too, in place of a status line
    #[arg(long, env = "CONSUMER_VERBOSE")]
    pub(crate) verbose: bool,
    /// A file with options, one a line as NAME = VALUE, without the dashes; # starts a comment. An
    /// option of the command line or the environment takes precedence
    #[arg(long, value_name = "FILE", env = "CONSUMER_CONFIG")]
    config: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long, env = "CONSUMER_JSON")]
    pub(crate) json: bool,
    /// Print the mapped address with each verdict
    #[arg(long = "show-addresses", env = "CONSUMER_SHOW_ADDRESSES")]
    pub(crate) shows_addresses: bool,
    /// How much of the mapped address goes into spans
    #[arg(long, value_name = "HOW", default_value = ExternalIp::default().as_str(), env = "CONSUMER_EXTERNAL_IP", value_parser = external_ip())]
    pub(crate) external_ip: ExternalIp,
    /// Log to standard error from this level on. The log holds no addresses
    #[arg(long, value_name = "LEVEL", default_value = "warn", env = "CONSUMER_LOG", value_parser = log_level())]
    pub(crate) log: LevelFilter,
    /// Print the manual page (`man`), or the completions of a shell
    #[cfg(feature = "manual")]
    #[arg(long, hide = true, value_name = "man|SHELL")]
    manual: Option<String>,
}

const AFTER: &str = "\
Spans go to the address in OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, over http/protobuf, or over
grpc where OTEL_EXPORTER_OTLP_PROTOCOL names it. Where neither is set, spans go nowhere.

Each option can come from the environment, as CONSUMER_STUN for --stun, or from the file of --config.

Exit status: 0 after Ctrl-C, or if an attempt of --attempts had a path; 1 if no attempt had one, or the role could not
start; 2 if the arguments are wrong.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Chooses volunteers at random and keeps paths to them
    Consumer,
    /// A volunteer that sends every datagram back
    Producer,
    /// The signalling service
    Signal,
    /// A STUN server
    Stun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Plain datagrams over ICE
    Ice,
    /// A WebRTC data channel, as browsers have it
    DataChannel,
}

/// Most slots of one program.
const MAX_SLOTS: usize = 100_000;
/// Longest id of a client, in bytes.
const MAX_SESSION_ID: usize = 128;

impl Options {
    /// The arguments, or the end of the program with its exit status: help, version, or wrong
    /// arguments.
    pub(crate) fn from_arguments() -> Self {
        let options = Self::parse_from(with_config(std::env::args_os().collect()));
        #[cfg(feature = "manual")]
        if let Some(of) = &options.manual {
            crate::manual::print(&mut <Self as clap::CommandFactory>::command(), of);
        }
        if options.role == Role::Consumer && options.stun.is_empty() && options.stun_file.is_none()
        {
            use clap::CommandFactory;
            let missing = clap::error::ErrorKind::MissingRequiredArgument;
            Self::command()
                .error(missing, "a consumer needs --stun or --stun-file")
                .exit();
        }
        options
    }

    /// The address to send from.
    pub(crate) fn bind(&self) -> BindConfig {
        match (&self.bind, &self.interface) {
            (Some(ip), _) => BindConfig::address(*ip),
            (None, Some(name)) => BindConfig::interface(name),
            (None, None) => BindConfig::default(),
        }
    }

    /// The bounds of the signalling service.
    pub(crate) fn service(&self) -> ServiceConfig {
        let mut service = ServiceConfig::default();
        if let Some(connections) = self.connections {
            service.connections = connections;
        }
        if let Some(connections) = self.per_address {
            service.connections_per_address = connections;
        }
        match &self.client_header {
            // checked when it was parsed
            Some(name) => service.clone().with_client_header(name).unwrap_or(service),
            None => service,
        }
    }
}

/// The arguments, and before them the options of the file that they or the environment name, but for
/// those that the environment has: of two values the later one holds.
fn with_config(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut file = std::env::var_os("CONSUMER_CONFIG");
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config"))
        {
            Some("") => file = rest.next().cloned(),
            Some(value) if value.starts_with('=') => file = Some(value[1..].into()),
            _ => {}
        }
    }
    let Some(file) = file.filter(|file| !file.is_empty()) else {
        return arguments;
    };
    let refuse = |message: String| -> ! {
        use clap::CommandFactory;
        let kind = clap::error::ErrorKind::InvalidValue;
        Options::command().error(kind, message).exit()
    };
    let shown = file.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(&file);
    let text = text.unwrap_or_else(|error| refuse(format!("{shown}: {error}")));
    let mut all: Vec<OsString> = arguments.iter().take(1).cloned().collect();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (line, None),
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_name) || name == "config" {
            refuse(format!(
                "{shown}, line {number}: an option as NAME = VALUE is needed"
            ));
        }
        let variable = format!("CONSUMER_{}", name.replace('-', "_").to_ascii_uppercase());
        if std::env::var_os(variable).is_none() {
            all.push(match (name, value) {
                // flags
                (_, None | Some("true")) => format!("--{name}").into(),
                (_, Some("false")) => continue,
                (_, Some(value)) => format!("--{name}={value}").into(),
            });
        }
    }
    all.extend(arguments.into_iter().skip(1));
    all
}

fn slots(value: &str) -> Result<usize, String> {
    let slots = value
        .parse()
        .ok()
        .filter(|slots| (1..=MAX_SLOTS).contains(slots));
    slots.ok_or_else(|| format!("a number from 1 to {MAX_SLOTS} is needed"))
}

fn at_least_one(value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "a number from 1 on is needed".into())
}

fn seconds(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().map(Duration::try_from_secs_f64);
    seconds
        .and_then(Result::ok)
        .ok_or_else(|| "a number of seconds is needed".into())
}

fn session_id(value: &str) -> Result<String, String> {
    let id = Some(value).filter(|id| (1..=MAX_SESSION_ID).contains(&id.len()));
    id.map(str::to_owned)
        .ok_or_else(|| format!("1 to {MAX_SESSION_ID} bytes are needed"))
}

fn client_header(value: &str) -> Result<String, String> {
    let service = ServiceConfig::default().with_client_header(value);
    service
        .map(|_| value.to_owned())
        .map_err(|error| error.to_string())
}

fn external_ip() -> impl TypedValueParser<Value = ExternalIp> {
    let words = ExternalIp::ALL.iter().map(|policy| policy.as_str());
    PossibleValuesParser::new(words).map(|word| {
        let mut policies = ExternalIp::ALL.iter().copied();
        policies
            .find(|policy| policy.as_str() == word)
            .unwrap_or_default()
    })
}

fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .map(|word| word.parse().unwrap_or(LevelFilter::WARN))
}

/// The client of this service. Over TLS if the URL asks for it, with the certificates that the
/// system trusts.
fn signalling(url: &str) -> Result<HttpSignalling, SignalError> {
    if !url.starts_with("https:") {
        return HttpSignalling::new(url);
    }
    let mut roots = RootCertStore::empty();
    // a certificate that cannot be read is not trusted
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // named, because the default provider depends on the features of other crates in the program
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config
        .map_err(|_| SignalError::Url)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpSignalling::secure(url, Arc::new(config))
}
