//! Whole TLS handshakes in memory: what each `sslmode` makes of each kind of server certificate.
#![cfg(feature = "tls")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use tapster_protocol::auth::ServerEndPoint;
use tapster_protocol::conninfo::{ConnInfo, ConnectOptions, Environment};
use tapster_protocol::tls::{TlsError, connector, server_end_point};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

struct Server {
    certificate: &'static str,
    asks_client: bool,
    alpn: bool,
}

impl Server {
    fn new(certificate: &'static str) -> Self {
        Self { certificate, asks_client: false, alpn: true }
    }

    fn start(&self) -> ServerConnection {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pem = fs::read(data(&format!("{}.crt", self.certificate))).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(data(&format!("{}.key", self.certificate))).unwrap();
        let key = CertifiedKey::new(chain, provider.key_provider.load_private_key(key).unwrap());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.unwrap();
        let builder = if self.asks_client {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(data("authority.crt")).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        if self.alpn {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        ServerConnection::new(Arc::new(config)).unwrap()
    }
}

/// Why a connection did not come about.
#[derive(Debug)]
enum Failed {
    SetUp(TlsError),
    Handshake(rustls::Error),
}

impl Failed {
    fn handshake(self) -> String {
        match self {
            Self::Handshake(error) => error.to_string(),
            Self::SetUp(error) => panic!("set-up: {error}"),
        }
    }

    fn set_up(self) -> TlsError {
        match self {
            Self::SetUp(error) => error,
            Self::Handshake(error) => panic!("handshake: {error}"),
        }
    }
}

fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn connect_at(
    home: Option<&Path>,
    server: &Server,
    text: &str,
) -> Result<(ServerEndPoint, ServerConnection), Failed> {
    let environment = Environment {
        os_user: Some(String::from("os")),
        home: home.map(Path::to_owned),
        ..Environment::default()
    };
    let text = text.replace("$DATA", data("").to_str().unwrap());
    let options = ConnectOptions::resolve(&ConnInfo::parse(&text).unwrap(), &environment).unwrap();
    let connector = connector(&options, &options.hosts()[0]).map_err(Failed::SetUp)?;
    let mut client = connector.start().map_err(Failed::SetUp)?;
    let mut server = server.start();
    exchange(&mut client, &mut server).map_err(Failed::Handshake)?;
    Ok((connector.finish(&client).map_err(Failed::SetUp)?, server))
}

fn connect(certificate: &'static str, text: &str) -> Result<ServerEndPoint, Failed> {
    connect_at(None, &Server::new(certificate), text).map(|(end_point, _)| end_point)
}

const ROOT: &str = "host=pg.example.com sslrootcert=$DATA/authority.crt";

#[test]
fn verify_full_wants_chain_and_name() {
    let full = |certificate, host: &str| {
        connect(certificate, &format!("host={host} sslmode=verify-full sslrootcert=$DATA/authority.crt"))
    };
    for host in ["pg.example.com", "PG.Example.COM", "a.wild.example.com", "127.0.0.1"] {
        full("server", host).unwrap_or_else(|error| panic!("{host}: {error:?}"));
    }
    for host in ["example.com", "a.b.wild.example.com", "127.0.0.2", "server"] {
        assert!(full("server", host).unwrap_err().handshake().contains("not valid for name"), "{host}");
    }
    // Without alternative names the common name counts, as in libpq; with them it does not.
    full("common-name", "pg.example.com").unwrap();
    assert!(full("common-name", "other.example.com").is_err());
    assert!(full("other-names", "pg.example.com").is_err());
    full("version1", "pg.example.com").unwrap();
    assert!(full("version1", "other.example.com").is_err());
    for certificate in ["expired", "version1-stranger", "self-signed"] {
        assert!(full(certificate, "pg.example.com").is_err(), "{certificate}");
    }
}

#[test]
fn verify_ca_wants_the_chain_only() {
    let verify = |certificate| connect(certificate, &format!("{ROOT} sslmode=verify-ca"));
    for certificate in ["server", "common-name", "other-names", "version1"] {
        verify(certificate).unwrap_or_else(|error| panic!("{certificate}: {error:?}"));
    }
    for certificate in ["expired", "version1-stranger", "self-signed", "stranger"] {
        assert!(verify(certificate).is_err(), "{certificate}");
    }
    connect("server", "hostaddr=10.0.0.1 sslmode=verify-ca sslrootcert=$DATA/authority.crt").unwrap();
    let nameless =
        connect("server", "hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=$DATA/authority.crt");
    assert!(matches!(nameless.unwrap_err().set_up(), TlsError::NoHostName));
}

#[test]
fn self_signed_certificate_as_its_own_root() {
    let verify = |text: &str| connect("self-signed", &format!("{text} sslrootcert=$DATA/self-signed.crt"));
    verify("host=pg.example.com sslmode=verify-full").unwrap();
    verify("host=other sslmode=verify-ca").unwrap();
    assert!(verify("host=other sslmode=verify-full").is_err());
}

#[test]
fn require_verifies_only_with_a_root_file() {
    for certificate in ["server", "expired", "version1-stranger", "self-signed"] {
        let end_point = connect(certificate, "host=x sslmode=require sslrootcert=/nonexistent").unwrap();
        let der = CertificateDer::from_pem_file(data(&format!("{certificate}.crt"))).unwrap();
        assert_eq!(Some(end_point), server_end_point(&der).map(ServerEndPoint::Hash));
    }
    assert!(connect("version1-stranger", &format!("{ROOT} sslmode=require")).is_err());
    connect("other-names", &format!("{ROOT} sslmode=require")).unwrap();

    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".postgresql")).unwrap();
    fs::copy(data("stranger.crt"), home.path().join(".postgresql/root.crt")).unwrap();
    let by_default =
        |certificate| connect_at(Some(home.path()), &Server::new(certificate), "host=pg.example.com");
    assert!(by_default("server").is_err(), "~/.postgresql/root.crt is used in every mode");
    assert!(by_default("version1-stranger").is_ok());
}

#[test]
fn missing_and_broken_roots() {
    let fail = |text: &str| connect("server", text).unwrap_err().set_up();
    let missing = fail("host=x sslmode=verify-ca sslrootcert=/nonexistent");
    assert!(matches!(missing, TlsError::NoRootCertificates { .. }));
    assert!(matches!(fail("host=x sslmode=verify-ca"), TlsError::NoHome));
    assert!(matches!(fail("host=x sslrootcert=$DATA/kinds.txt"), TlsError::Load { .. }));
    assert!(matches!(
        fail("host=x ssl_max_protocol_version=TLSv1.1 ssl_min_protocol_version=TLSv1"),
        TlsError::Configuration { .. }
    ));
}

#[test]
fn revoked_certificates() {
    let verify =
        |certificate| connect(certificate, &format!("{ROOT} sslmode=verify-full sslcrl=$DATA/authority.crl"));
    verify("server").unwrap();
    let ca =
        |certificate| connect(certificate, &format!("{ROOT} sslmode=verify-ca sslcrl=$DATA/authority.crl"));
    ca("common-name").unwrap();
    assert!(ca("revoked").unwrap_err().handshake().to_lowercase().contains("revoked"));
    connect("revoked", &format!("{ROOT} sslmode=verify-ca")).unwrap();
    assert!(ca("version1").is_err(), "revocation cannot be checked, so it is not assumed");
    let missing = connect("server", &format!("{ROOT} sslcrl=/nonexistent")).unwrap_err().set_up();
    assert!(matches!(missing, TlsError::Read { .. }));
}

/// A copy of the client's key with this mode, for git keeps none.
fn client_key(directory: &TempDir, name: &str, mode: u32) -> PathBuf {
    let path = directory.path().join(format!("{name}-{mode:o}.key"));
    fs::copy(data(&format!("{name}.key")), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn client_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let asking = Server { asks_client: true, ..Server::new("server") };
    let attempt = |name: &str, key: &Path, more: &str| {
        let text = format!(
            "{ROOT} sslmode=verify-full sslcert=$DATA/{name}.crt sslkey={} {more}",
            key.to_str().unwrap()
        );
        connect_at(None, &asking, &text)
    };
    let key = client_key(&directory, "client", 0o600);
    let (_, server) = attempt("client", &key, "sslcertmode=require").unwrap();
    let sent = server.peer_certificates().unwrap()[0].clone();
    assert_eq!(sent, CertificateDer::from_pem_file(data("client.crt")).unwrap());

    attempt("absent", &key, "").unwrap_err().handshake();
    attempt("client", &key, "sslcertmode=disable").unwrap_err().handshake();
    assert!(matches!(
        attempt("absent", &key, "sslcertmode=require").unwrap_err().set_up(),
        TlsError::NoCertificate
    ));
    let open = client_key(&directory, "client", 0o644);
    assert!(matches!(attempt("client", &open, "").unwrap_err().set_up(), TlsError::KeyAccess { .. }));
    let absent = directory.path().join("absent.key");
    assert!(matches!(attempt("client", &absent, "").unwrap_err().set_up(), TlsError::NoKey { .. }));
    let wrong = client_key(&directory, "server", 0o600);
    assert!(attempt("client", &wrong, "").unwrap_err().set_up().to_string().contains("does not match"));
    // Only the server can judge this one; loading and sending it must work.
    let old = client_key(&directory, "client-version1", 0o600);
    attempt("client-version1", &old, "").unwrap_err().handshake();

    let text = format!(
        "{ROOT} sslmode=require sslcert=$DATA/client.crt sslkey={} sslcertmode=require",
        key.to_str().unwrap()
    );
    let unasked = connect_at(None, &Server::new("server"), &text).unwrap_err().set_up();
    assert!(matches!(unasked, TlsError::CertificateNotRequested));
}

#[test]
fn direct_negotiation_needs_alpn() {
    let text = format!("{ROOT} sslmode=verify-full sslnegotiation=direct");
    let old = Server { alpn: false, ..Server::new("server") };
    connect_at(None, &Server::new("server"), &text).map(|_| ()).unwrap();
    assert!(matches!(connect_at(None, &old, &text).unwrap_err().set_up(), TlsError::NoAlpn));
    connect_at(None, &old, &format!("{ROOT} sslmode=verify-full")).map(|_| ()).unwrap();
}

#[test]
fn protocol_versions_and_server_name() {
    let version = |text: &str| {
        let (_, server) = connect_at(None, &Server::new("server"), &format!("{ROOT} {text}")).unwrap();
        (server.protocol_version().unwrap(), server.server_name().map(str::to_owned))
    };
    assert_eq!(version("").0, rustls::ProtocolVersion::TLSv1_3);
    assert_eq!(version("ssl_max_protocol_version=TLSv1.2").0, rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(version("").1.as_deref(), Some("pg.example.com"));
    assert_eq!(version("sslsni=0").1, None);
    assert_eq!(version("host=127.0.0.1").1, None);
    // TLS 1.2 signs in another way; the version 1 certificate must pass there too.
    connect("version1", &format!("{ROOT} sslmode=verify-full ssl_max_protocol_version=TLSv1.2")).unwrap();
}
