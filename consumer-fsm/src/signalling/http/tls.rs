//! TLS to the service. The certificate is checked before the first byte of a request leaves.

use core::fmt;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error};

use crate::signalling::SignalError;

/// The name of the service, and the trusted certificates.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(host: &str, config: Arc<ClientConfig>) -> Result<Self, SignalError> {
        // an IPv6 address stands in brackets in a URL
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host).map_err(|_| SignalError::Url)?;
        Ok(Self {
            connector: config.into(),
            name,
        })
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, SignalError> {
        let connected = self.connector.connect(self.name.clone(), stream).await;
        connected.map_err(|error| {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            match inner {
                Some(Error::InvalidCertificate(_)) => SignalError::Untrusted,
                Some(Error::InvalidMessage(_)) => SignalError::NotTls,
                _ => SignalError::Unreachable,
            }
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
