//! The arguments of the program.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use consumer_fsm::signalling::SignalError;
use consumer_fsm::signalling::http::{HttpSignalling, ServiceConfig};
use ice_gather::{BindConfig, StunServer};
use lexopt::prelude::{Long, ValueExt};
use otel_nat::ExternalIp;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing_subscriber::filter::LevelFilter;

pub(crate) const HELP: &str = "\
consumer [options]

Connects to volunteers over the signalling service and reports what the NAT does. A line per step; ends with Ctrl-C.

  --role ROLE          consumer (default), producer (a volunteer that echoes), signal (the service), stun (a STUN server)
  --signal URL         the service (http://localhost:9000/v1/signal); over https the system's certificates are trusted, or
                       those of SSL_CERT_FILE
  --stun SERVER        a STUN server, as stun:HOST:PORT or HOST:PORT; may be repeated
  --stun-file FILE     more of them, one a line, # starts a comment; read again whenever all have failed
  --slots N            so many paths at once, or consumers served at once (1)
  --attempts N         consumer: end after so many attempts; a path that works is closed after a second then, and a
                       service that fails ends an attempt; it goes on while no volunteer answers
  --hold SECONDS       consumer: give each path up after so long
  --session-id ID      consumer: the id of this client toward its peers; a random one for each process by default
  --transport KIND     ice (default), or data-channel, as browsers have it
  --bind ADDRESS       send from this address instead of the default route's
  --interface NAME     send from the first address of this interface
  --listen ADDRESS     signal, stun: listen there (127.0.0.1:9000, 127.0.0.1:3478)
  --connections N      signal: serve so many at once (1024)
  --per-address N      signal: and so many of one address, an IPv6 network of 64 bits being one (64)
  --client-header NAME signal, behind a proxy: the header with the client's address, such as X-Forwarded-For
  --json               one JSON object a line
  --show-addresses     show the mapped address with each verdict
  --external-ip HOW    how much of it goes into spans: full (default), prefix, omit
  --log LEVEL          log to standard error: off, error, warn (default), info, debug, trace; never an address
  --help               this text

Spans go to where OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT says, over http/protobuf, or over grpc
if OTEL_EXPORTER_OTLP_PROTOCOL says so; nowhere if neither is set.

Exit status: 0 after Ctrl-C, or if an attempt of --attempts had a path; 1 if none had, or nothing could be started; 2 if the
arguments are wrong.
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Consumer,
    Producer,
    Signal,
    Stun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ice,
    DataChannel,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) signalling: HttpSignalling,
    pub(crate) stun: Vec<StunServer>,
    pub(crate) stun_file: Option<PathBuf>,
    pub(crate) slots: usize,
    pub(crate) attempts: Option<u64>,
    pub(crate) hold: Option<Duration>,
    pub(crate) session_id: Option<String>,
    pub(crate) transport: Kind,
    pub(crate) bind: BindConfig,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) service: ServiceConfig,
    pub(crate) json: bool,
    pub(crate) shows_addresses: bool,
    pub(crate) external_ip: ExternalIp,
    pub(crate) log: LevelFilter,
}

/// Where the service is unless said.
const DEFAULT_SIGNAL: &str = "http://localhost:9000/v1/signal";
/// Most slots of one program.
const MAX_SLOTS: usize = 100_000;
/// Longest id of a client, in bytes.
const MAX_SESSION_ID: usize = 128;

impl Options {
    /// Nothing if they ask for help.
    pub(crate) fn from_arguments() -> Result<Option<Self>, String> {
        let mut arguments = lexopt::Parser::from_env();
        let mut options = Self {
            role: Role::Consumer,
            signalling: HttpSignalling::new(DEFAULT_SIGNAL).map_err(|error| error.to_string())?,
            stun: Vec::new(),
            stun_file: None,
            slots: 1,
            attempts: None,
            hold: None,
            session_id: None,
            transport: Kind::Ice,
            bind: BindConfig::default(),
            listen: None,
            service: ServiceConfig::default(),
            json: false,
            shows_addresses: false,
            external_ip: ExternalIp::default(),
            log: LevelFilter::WARN,
        };
        while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
            let name = match argument {
                Long("help") => return Ok(None),
                Long("json") => {
                    options.json = true;
                    continue;
                }
                Long("show-addresses") => {
                    options.shows_addresses = true;
                    continue;
                }
                Long(name) => name.to_owned(),
                other => return Err(other.unexpected().to_string()),
            };
            if !HELP.contains(&format!("  --{name} ")) {
                return Err(format!("there is no --{name}"));
            }
            let value = arguments
                .value()
                .and_then(|value| value.string())
                .map_err(|error| error.to_string())?;
            options.take(&name, &value)?;
        }
        let asks = options.stun_file.is_some() || !options.stun.is_empty();
        if options.role == Role::Consumer && !asks {
            return Err("a consumer needs --stun or --stun-file".into());
        }
        Ok(Some(options))
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |takes: &str| format!("--{name} takes {takes}, not `{value}`");
        match name {
            "role" => {
                self.role = match value {
                    "consumer" => Role::Consumer,
                    "producer" => Role::Producer,
                    "signal" => Role::Signal,
                    "stun" => Role::Stun,
                    _ => return Err(wrong("consumer, producer, signal or stun")),
                }
            }
            "signal" => {
                self.signalling = signalling(value).map_err(|error| format!("--signal: {error}"))?
            }
            "stun" => self.stun.push(
                value
                    .parse()
                    .map_err(|error| format!("--stun {value}: {error}"))?,
            ),
            "stun-file" => self.stun_file = Some(value.into()),
            "session-id" => {
                let id = Some(value).filter(|id| (1..=MAX_SESSION_ID).contains(&id.len()));
                self.session_id = Some(id.ok_or_else(|| wrong("1 to 128 bytes"))?.to_owned());
            }
            "slots" => {
                let slots = value
                    .parse()
                    .ok()
                    .filter(|slots| (1..=MAX_SLOTS).contains(slots));
                self.slots = slots.ok_or_else(|| wrong("a number from 1 to 100000"))?;
            }
            "attempts" => {
                self.attempts = Some(number(value).ok_or_else(|| wrong(NUMBER))?);
            }
            "hold" => {
                let seconds = value
                    .parse()
                    .ok()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.hold = Some(seconds.ok_or_else(|| wrong("a number of seconds"))?);
            }
            "transport" => {
                self.transport = match value {
                    "ice" => Kind::Ice,
                    "data-channel" => Kind::DataChannel,
                    _ => return Err(wrong("ice or data-channel")),
                }
            }
            "bind" => {
                let ip: IpAddr = value.parse().map_err(|_| wrong("an address"))?;
                self.bind = BindConfig::address(ip);
            }
            "interface" => self.bind = BindConfig::interface(value),
            "listen" => {
                self.listen = Some(value.parse().map_err(|_| wrong("an address with a port"))?)
            }
            "connections" => {
                self.service.connections = number(value).ok_or_else(|| wrong(NUMBER))?
            }
            "per-address" => {
                self.service.connections_per_address =
                    number(value).ok_or_else(|| wrong(NUMBER))?;
            }
            "client-header" => {
                let service = self.service.clone().with_client_header(value);
                self.service = service.map_err(|_| wrong("the name of a header"))?;
            }
            "external-ip" => {
                let mut policies = ExternalIp::ALL.iter().copied();
                let named = policies.find(|policy| policy.as_str() == value);
                self.external_ip = named.ok_or_else(|| wrong("full, prefix or omit"))?;
            }
            "log" => {
                self.log = value
                    .parse()
                    .map_err(|_| wrong("off, error, warn, info, debug or trace"))?
            }
            _ => return Err(format!("there is no --{name}")),
        }
        Ok(())
    }
}

const NUMBER: &str = "a number from 1 on";

fn number<T: FromStr + Default + PartialOrd>(value: &str) -> Option<T> {
    value.parse().ok().filter(|number| *number > T::default())
}

/// Over TLS if the URL says so, trusting whom the system trusts.
fn signalling(url: &str) -> Result<HttpSignalling, SignalError> {
    if !url.starts_with("https:") {
        return HttpSignalling::new(url);
    }
    let mut roots = RootCertStore::empty();
    // certificates that cannot be read are trusted by nobody
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // named: which one is the default depends on what else is compiled in
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config
        .map_err(|_| SignalError::Url)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpSignalling::secure(url, Arc::new(config))
}
