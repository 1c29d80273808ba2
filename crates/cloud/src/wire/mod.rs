//! The HTTP client below that of the providers.
//!
//! It stands between them and the network to give every request a deadline of its own, to follow no redirect, to see an error in
//! an answer that calls itself a success, and to remember what a store said last: the providers hand on only text.

mod answer;
mod call;
mod extra;
mod late;
mod listing;
mod service;

use std::time::Duration;

use object_store::client::{ClientConfigKey, HttpClient, HttpConnector};
use object_store::{ClientOptions, Error};

pub(crate) use answer::{Answer, element, one_line};
pub(crate) use call::{Call, Last};
pub(crate) use extra::{Extra, Region};
use service::Service;

use crate::Retries;

/// How long one try of a request may take that has a body of so many bytes.
pub(crate) fn time_for(retries: &Retries, bytes: u64) -> Duration {
    retries.read_timeout + Duration::from_millis(bytes.saturating_mul(1000) / retries.slowest.max(1))
}

/// What all clients of a store have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connector {
    pub(crate) retries: Retries,
    /// Certificates of authorities, in PEM, that are trusted instead of the system's.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Where requests go instead of to the store itself.
    pub(crate) proxies: Proxies,
    /// What is added to requests.
    pub(crate) extra: Extra,
}

/// The variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    pub(crate) http: Option<String>,
    pub(crate) https: Option<String>,
    pub(crate) except: Option<String>,
}

impl Connector {
    fn client(&self, options: &ClientOptions) -> Result<reqwest::Client, String> {
        let may_be_plain = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        // What answers to the identity of a machine is near, or not there at all; the providers ask for it with one second.
        let second = ClientOptions::new().with_connect_timeout(Duration::from_secs(1));
        let is_near = options.get_config_value(&ClientConfigKey::ConnectTimeout)
            == second.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect = if is_near { Duration::from_secs(1) } else { self.retries.connect_timeout };
        let mut builder = reqwest::ClientBuilder::new()
            .user_agent(concat!("tapster/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!may_be_plain)
            .connect_timeout(connect)
            .no_proxy();
        if let Some(pem) = &self.authorities {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|e| e.to_string())?;
            if certificates.is_empty() {
                return Err("the file of certificate authorities has none".to_owned());
            }
            builder = builder.tls_certs_only(certificates);
        }
        if !is_near {
            let except = self.proxies.except.as_deref().and_then(reqwest::NoProxy::from_string);
            if let Some(url) = &self.proxies.http {
                let proxy = reqwest::Proxy::http(url).map_err(|_| "HTTP_PROXY is not a URL".to_owned())?;
                builder = builder.proxy(proxy.no_proxy(except.clone()));
            }
            if let Some(url) = &self.proxies.https {
                let proxy = reqwest::Proxy::https(url).map_err(|_| "HTTPS_PROXY is not a URL".to_owned())?;
                builder = builder.proxy(proxy.no_proxy(except));
            }
        }
        builder.build().map_err(|e| deepest(&e))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let wrong = |reason: String| Error::Generic { store: "HTTP", source: reason.into() };
        Ok(HttpClient::new(Service {
            client: self.client(options).map_err(wrong)?,
            retries: self.retries,
            extra: self.extra.clone(),
        }))
    }
}

/// The last reason in a chain of them: that of the operating system, mostly.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    one_line(&error.to_string())
}
