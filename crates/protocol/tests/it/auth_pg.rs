//! TLS and authentication with a real server: every `sslmode`, every method, and what must be refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tapster_protocol::testing::Cluster;
use tapster_protocol::{ConnInfo, ConnectError, ConnectOptions, Connection, Environment, Mode};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

const HBA: &[&str] = &[
    "hostssl all tls_only 127.0.0.1/32 trust",
    "hostnossl all plain_only 127.0.0.1/32 trust",
    "host all tls_only,plain_only 127.0.0.1/32 reject",
    "host all,replication scram 127.0.0.1/32 scram-sha-256",
    "host all,replication hashed 127.0.0.1/32 md5",
    "host all,replication clear 127.0.0.1/32 password",
    "hostssl all,replication tapster 127.0.0.1/32 cert",
];

const USERS: &str = "CREATE USER tls_only; CREATE USER plain_only; CREATE USER tapster REPLICATION; \
    SET password_encryption = 'scram-sha-256'; \
    CREATE USER scram REPLICATION PASSWORD 'péncil \\ '' x'; CREATE USER clear REPLICATION PASSWORD 'pencil'; \
    SET password_encryption = 'md5'; CREATE USER hashed REPLICATION PASSWORD 'pencil'";

/// Writes the server's certificate and key.
fn certify(cluster: &Cluster, certificate: &str) {
    for (from, to) in [(certificate, "server"), ("authority", "root")] {
        cluster.replace(&format!("{to}.crt"), &fs::read_to_string(data(&format!("{from}.crt"))).unwrap());
    }
    cluster.replace("server.key", &fs::read_to_string(data(&format!("{certificate}.key"))).unwrap());
    fs::set_permissions(cluster.data_dir().join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn cluster(certificate: Option<&str>) -> Option<Cluster> {
    let mut builder = Cluster::builder().tcp(true);
    for line in HBA {
        // Without TLS the server does not even accept the lines that speak of it.
        if certificate.is_some() || !line.starts_with("hostssl") {
            builder = builder.hba(line);
        }
    }
    if let Some(certificate) = certificate {
        let cluster = builder.config("ssl = on").config("ssl_ca_file = 'root.crt'").prepare()?;
        certify(&cluster, certificate);
        cluster.start();
        cluster.sql(USERS);
        return Some(cluster);
    }
    let cluster = builder.start()?;
    cluster.sql(USERS);
    Some(cluster)
}

fn options(cluster: &Cluster, text: &str) -> ConnectOptions {
    let text = text.replace("$DATA", data("").to_str().unwrap());
    let mut conninfo =
        ConnInfo::parse(&format!("hostaddr=127.0.0.1 port={} dbname=postgres", cluster.port())).unwrap();
    for (keyword, value) in ConnInfo::parse(&text).unwrap().iter() {
        conninfo.set(keyword, value).unwrap();
    }
    ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap()
}

fn connect(cluster: &Cluster, text: &str) -> Result<Connection, ConnectError> {
    Connection::connect(&options(cluster, text), Mode::Sql)
}

/// Connects in both modes.
fn both(cluster: &Cluster, text: &str) -> Result<(), ConnectError> {
    connect(cluster, text)?.query("SELECT 1").unwrap();
    Connection::connect(&options(cluster, text), Mode::PhysicalReplication)?.identify_system().unwrap();
    Ok(())
}

/// The server's own word on whether the session is encrypted.
fn encrypted(mut connection: Connection) -> bool {
    let answer = connection.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap();
    let encrypted = answer.get(0, "ssl") == Some("t");
    assert_eq!(connection.is_encrypted(), encrypted);
    encrypted
}

fn sqlstate(result: Result<impl Sized, ConnectError>) -> String {
    let error = result.map(|_| ()).unwrap_err();
    error.server().unwrap_or_else(|| panic!("{error}")).code.clone()
}

const SCRAM: &str = r"user=scram password='péncil \\ \' x'";

#[test]
fn passwords_without_tls() {
    let Some(cluster) = cluster(None) else { return };
    for user in [SCRAM, "user=hashed password=pencil", "user=clear password=pencil"] {
        both(&cluster, user).unwrap_or_else(|error| panic!("{user}: {error}"));
    }
    for user in ["scram", "hashed", "clear"] {
        assert_eq!(sqlstate(both(&cluster, &format!("user={user} password=wrong"))), "28P01", "{user}");
        let error = both(&cluster, &format!("user={user}")).unwrap_err().to_string();
        assert!(error.contains("no password supplied"), "{error}");
    }
    both(&cluster, &format!("{SCRAM} require_auth=scram-sha-256")).unwrap();
    both(&cluster, "user=hashed password=pencil require_auth=md5").unwrap();
    for text in [
        "user=clear password=pencil require_auth=!password",
        "user=hashed password=pencil require_auth=scram-sha-256",
        "user=postgres require_auth=!none",
        "user=hashed password=pencil channel_binding=require",
    ] {
        let error = both(&cluster, text).unwrap_err();
        assert!(matches!(error, ConnectError::Authentication { .. }), "{text}: {error}");
    }
    let error = both(&cluster, &format!("{SCRAM} channel_binding=require")).unwrap_err();
    assert!(error.to_string().contains("channel binding is required"), "{error}");
}

#[test]
fn password_file() {
    let Some(cluster) = cluster(None) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgpass");
    let port = cluster.port();
    let text =
        format!("127.0.0.1:{port}:replication:hashed:pencil\n127.0.0.1:{port}:postgres:clear:pencil\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let options = |user: &str| options(&cluster, &format!("user={user} passfile={}", path.display()));
    Connection::connect(&options("hashed"), Mode::PhysicalReplication).unwrap();
    assert!(Connection::connect(&options("hashed"), Mode::Sql).is_err());
    Connection::connect(&options("clear"), Mode::Sql).unwrap();
    assert!(Connection::connect(&options("clear"), Mode::PhysicalReplication).is_err());
}

#[cfg(feature = "tls")]
#[test]
fn every_sslmode() {
    let Some(cluster) = cluster(Some("server")) else { return };
    let mode =
        |user: &str, mode: &str| connect(&cluster, &format!("user={user} sslmode={mode}")).map(encrypted);
    for (sslmode, expected) in [("disable", false), ("allow", false), ("prefer", true), ("require", true)] {
        assert_eq!(mode("postgres", sslmode).unwrap(), expected, "{sslmode}");
    }
    assert_eq!(sqlstate(mode("tls_only", "disable")), "28000");
    for sslmode in ["allow", "prefer", "require"] {
        assert!(mode("tls_only", sslmode).unwrap(), "{sslmode}");
    }
    for sslmode in ["disable", "allow", "prefer"] {
        assert!(!mode("plain_only", sslmode).unwrap(), "{sslmode}");
    }
    assert_eq!(sqlstate(mode("plain_only", "require")), "28000");

    let verified = |text: &str| connect(&cluster, &format!("user=postgres {text}")).map(encrypted);
    let root = "sslrootcert=$DATA/authority.crt";
    for text in ["host=127.0.0.1", "host=pg.example.com", "host=x.wild.example.com"] {
        assert!(verified(&format!("{text} sslmode=verify-full {root}")).unwrap());
    }
    assert!(verified(&format!("host=elsewhere sslmode=verify-ca {root}")).unwrap());
    for text in [
        format!("host=elsewhere sslmode=verify-full {root}"),
        "host=pg.example.com sslmode=verify-full sslrootcert=$DATA/stranger.crt".to_owned(),
        "host=pg.example.com sslmode=verify-ca sslrootcert=$DATA/stranger.crt".to_owned(),
        "host=pg.example.com sslmode=require sslrootcert=$DATA/stranger.crt".to_owned(),
        "host=pg.example.com sslmode=verify-full sslrootcert=/nonexistent".to_owned(),
        "host=pg.example.com sslrootcert=system".to_owned(),
    ] {
        let error = verified(&text).unwrap_err();
        assert!(matches!(error, ConnectError::Tls { .. }), "{text}: {error}");
    }
    // With a root that does not fit, prefer goes on in clear, as libpq does.
    assert!(!verified("host=pg.example.com sslmode=prefer sslrootcert=$DATA/stranger.crt").unwrap());
    for version in ["TLSv1.2", "TLSv1.3"] {
        let text = format!(
            "user=postgres sslmode=require ssl_min_protocol_version={version} ssl_max_protocol_version={version}"
        );
        let mut connection = connect(&cluster, &text).unwrap();
        let answer =
            connection.query("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap();
        assert_eq!(answer.get(0, "version"), Some(version));
    }
}

#[test]
fn server_without_tls() {
    let Some(cluster) = cluster(None) else { return };
    for mode in ["disable", "allow", "prefer"] {
        assert!(!encrypted(connect(&cluster, &format!("user=postgres sslmode={mode}")).unwrap()), "{mode}");
    }
    let error = connect(&cluster, "user=postgres sslmode=require").unwrap_err().to_string();
    let expected = if cfg!(feature = "tls") {
        "server does not support SSL, but SSL was required"
    } else {
        "not compiled in"
    };
    assert!(error.contains(expected), "{error}");
}

#[cfg(feature = "tls")]
#[test]
fn channel_binding() {
    let Some(cluster) = cluster(Some("server")) else { return };
    let bound = |more: &str| both(&cluster, &format!("{SCRAM} {more}"));
    bound("sslmode=require channel_binding=require").unwrap();
    bound("sslmode=require channel_binding=disable").unwrap();
    bound("sslmode=disable").unwrap();
    let error = bound("sslmode=disable channel_binding=require").unwrap_err();
    assert!(error.to_string().contains("does not use TLS"), "{error}");
    for user in ["user=hashed password=pencil", "user=clear password=pencil", "user=postgres"] {
        let error = both(&cluster, &format!("{user} sslmode=require channel_binding=require")).unwrap_err();
        assert!(matches!(error, ConnectError::Authentication { .. }), "{user}: {error}");
    }
    for user in ["scram", "hashed", "clear"] {
        assert_eq!(sqlstate(both(&cluster, &format!("user={user} password=wrong sslmode=require"))), "28P01");
        // A wrong password is not tried again in clear.
        assert_eq!(sqlstate(both(&cluster, &format!("user={user} password=wrong sslmode=prefer"))), "28P01");
    }
}

#[cfg(feature = "tls")]
#[test]
fn channel_binding_by_kind_of_certificate() {
    let Some(cluster) = cluster(Some("server")) else { return };
    for (kind, binds) in [
        ("rsa-sha256", true),
        ("rsa-sha384", true),
        ("rsa-sha512", true),
        ("ecdsa-sha384", true),
        ("ecdsa-sha512", true),
        ("rsa-pss", true),
        ("ed25519", false),
    ] {
        certify(&cluster, &format!("kind-{kind}"));
        cluster.restart();
        both(&cluster, &format!("{SCRAM} sslmode=require")).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let required = both(&cluster, &format!("{SCRAM} sslmode=require channel_binding=require"));
        assert_eq!(required.is_ok(), binds, "{kind}: {required:?}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn certificates_openssl_accepts() {
    let Some(cluster) = cluster(Some("version1")) else { return };
    let verified = |root: &str| {
        let text =
            format!("user=postgres host=pg.example.com sslmode=verify-full sslrootcert=$DATA/{root}.crt");
        connect(&cluster, &text).map(encrypted)
    };
    for (certificate, root) in
        [("version1", "authority"), ("common-name", "authority"), ("self-signed", "self-signed")]
    {
        certify(&cluster, certificate);
        cluster.restart();
        assert!(verified(root).unwrap(), "{certificate}");
        assert!(matches!(verified("stranger"), Err(ConnectError::Tls { .. })), "{certificate}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn client_certificate() {
    let Some(cluster) = cluster(Some("server")) else { return };
    let directory = tempfile::tempdir().unwrap();
    let key = |name: &str, mode| {
        let path = directory.path().join(format!("{name}-{mode:o}.key"));
        fs::copy(data(&format!("{name}.key")), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let present = |name: &str, key: &str| {
        both(&cluster, &format!("user=tapster sslmode=require sslcert=$DATA/{name}.crt sslkey={key}"))
    };
    present("client", &key("client", 0o600)).unwrap();
    present("client-version1", &key("client-version1", 0o600)).unwrap();
    assert_eq!(sqlstate(both(&cluster, "user=tapster sslmode=require")), "28000");
    let error = present("client", &key("client", 0o644)).unwrap_err();
    assert!(
        matches!(error, ConnectError::Tls { .. }) && error.to_string().contains("group or world"),
        "{error}"
    );
    // Made by an authority that the server does not know: TLS itself fails.
    assert!(present("version1-stranger", &key("version1-stranger", 0o600)).is_err());
}

#[cfg(feature = "tls")]
#[test]
fn direct_negotiation() {
    for binaries in tapster_protocol::testing::servers() {
        let builder = Cluster::builder().binaries(&binaries).tcp(true).config("ssl = on");
        let cluster = builder.config("ssl_ca_file = 'root.crt'").prepare().unwrap();
        certify(&cluster, "server");
        cluster.start();
        let text = "user=postgres host=pg.example.com sslmode=verify-full sslrootcert=$DATA/authority.crt";
        let direct = connect(&cluster, &format!("{text} sslnegotiation=direct"));
        // A server before 17 takes the hello for a broken start-up packet.
        assert_eq!(direct.is_ok(), binaries.major >= 17, "{}", binaries.major);
        assert!(encrypted(connect(&cluster, text).unwrap()));
    }
}
