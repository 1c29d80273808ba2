//! Completing connection strings, against libpq 15 (`tests/data/conninfo/make-golden`) and by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tapster_protocol::conninfo::{
    ConnInfo, ConnInfoError, ConnectOptions, ConnectWarning, Environment, HostAddress, Replication,
    RootCertificates, SslMode, TargetSessionAttrs,
};
use tapster_protocol::tls::{Attempt, plan};
use tempfile::TempDir;

use super::conninfo::fields;

/// A home directory as the golden script made it.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conninfo/home");
    fs::create_dir(home.path().join("sys")).unwrap();
    let files = [
        ("pgpass", ".pgpass", 0o600),
        ("pg_service.conf", ".pg_service.conf", 0o644),
        ("sys/pg_service.conf", "sys/pg_service.conf", 0o644),
        ("other", "other", 0o600),
        ("open", "open", 0o640),
    ];
    for (from, to, mode) in files {
        fs::copy(data.join(from), home.path().join(to)).unwrap();
        fs::set_permissions(home.path().join(to), fs::Permissions::from_mode(mode)).unwrap();
    }
    home
}

fn environment(home: &Path) -> Environment {
    Environment {
        home: Some(home.to_owned()),
        os_user: Some(String::from("root")),
        system_configuration: home.join("absent"),
        ..Environment::default()
    }
}

fn resolve(text: &str) -> Result<ConnectOptions, ConnInfoError> {
    let nowhere = Environment { os_user: Some(String::from("os")), ..Environment::default() };
    ConnectOptions::resolve(&ConnInfo::parse(text).unwrap(), &nowhere)
}

#[test]
fn same_as_libpq() {
    let home = home();
    let expand = |text: &str| text.replace("$HOME", home.path().to_str().unwrap());
    let mut cases = 0;
    for line in include_str!("../data/conninfo/resolve.txt").split_terminator('\n') {
        let fields = fields(line);
        let split = fields.iter().position(|field| field == "=>").unwrap();
        let mut environment = environment(home.path());
        for variable in &fields[1..split] {
            let (name, value) = variable.split_once('=').unwrap();
            environment.variables.insert(name.to_owned(), expand(value));
        }
        let resolved = ConnectOptions::resolve(&ConnInfo::parse(&expand(&fields[0])).unwrap(), &environment);
        let expected = &fields[split + 1..];
        if expected[0] == "error" {
            let error = resolved.map(|options| panic!("{line}: {options:?}")).unwrap_err().to_string();
            let message = expand(&expected[1]);
            assert!(message.starts_with(&error), "{line}: {error}");
        } else {
            let options = resolved.unwrap_or_else(|error| panic!("{line}: {error}"));
            check(&options, &expected[1..], line);
        }
        cases += 1;
    }
    assert!(cases > 60, "{cases}");
}

fn check(options: &ConnectOptions, expected: &[String], line: &str) {
    let wanted = |name: &str| {
        expected
            .iter()
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    let host = &options.hosts()[0];
    assert_eq!(Some(options.user()), wanted("user"), "{line}");
    assert_eq!(Some(options.dbname()), wanted("dbname"), "{line}");
    assert_eq!(options.application_name(), wanted("application_name"), "{line}");
    assert_eq!(options.options(), wanted("options"), "{line}");
    assert_eq!(Some(options.ssl().mode.as_str()), wanted("sslmode"), "{line}");
    let timeout = wanted("connect_timeout").map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    assert_eq!(options.connect_timeout(), timeout, "{line}");
    let port = wanted("port").unwrap().split(',').next().unwrap().trim();
    assert_eq!(host.port, port.parse::<u16>().unwrap(), "{line}");
    let password =
        options.password(host, false).map(|password| String::from_utf8(password.expose().to_vec()).unwrap());
    assert_eq!(password.as_deref(), wanted("password"), "{line}");
    let address = match (wanted("host"), wanted("hostaddr")) {
        (host, Some(addresses)) => HostAddress::Tcp {
            host: host.map(str::to_owned),
            hostaddr: Some(addresses.split(',').next().unwrap().parse().unwrap()),
        },
        (directory, None) => HostAddress::Unix(PathBuf::from(directory.unwrap_or("/var/run/postgresql"))),
    };
    assert_eq!(host.address, address, "{line}");
}

#[test]
fn several_hosts() {
    let options = resolve("host=a,,/sock,@abstract,::1 hostaddr=,,,,::1 port=1,,3,4,5").unwrap();
    let shown: Vec<_> = options.hosts().iter().map(|host| (host.display_name(), host.port)).collect();
    let expected = [("a", 1), ("/var/run/postgresql", 5432), ("/sock", 3), ("@abstract", 4), ("::1", 5)];
    assert_eq!(shown, expected.map(|(name, port)| (name.to_owned(), port)));
    assert_eq!(options.hosts()[2].socket_path(), Some(PathBuf::from("/sock/.s.PGSQL.3")));
    assert_eq!(options.hosts()[0].socket_path(), None);
}

#[test]
fn random_order_visits_every_host() {
    let text = "host=a,b,c,d load_balance_hosts=random";
    let options = resolve(text).unwrap();
    let mut firsts = [false; 4];
    for seed in 0..200 {
        let order = options.connection_order(seed);
        firsts[order[0]] = true;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3]);
    }
    assert_eq!(firsts, [true; 4]);
    assert_eq!(resolve("host=a,b,c,d").unwrap().connection_order(7), [0, 1, 2, 3]);
}

#[test]
fn replication_looks_for_its_own_password() {
    let home = home();
    let options =
        ConnectOptions::resolve(&ConnInfo::parse("user=pw dbname=pw").unwrap(), &environment(home.path()))
            .unwrap();
    let password = |physical| options.password(&options.hosts()[0], physical).map(|p| p.expose().to_vec());
    assert_eq!(password(true), Some(b"for replication".to_vec()));
    assert_eq!(password(false), Some(br"for:local\host".to_vec()));
    assert!(!format!("{options:?}").contains("for replication"));
}

#[test]
fn open_password_file_is_reported() {
    let home = home();
    let warnings = |passfile: &Path| {
        let mut conninfo = ConnInfo::new();
        conninfo.set("passfile", passfile.to_str().unwrap()).unwrap();
        ConnectOptions::resolve(&conninfo, &environment(home.path())).unwrap().warnings().to_vec()
    };
    let open = home.path().join("open");
    assert_eq!(warnings(&open), [ConnectWarning::PassfileAccess { path: open.clone() }]);
    let text = ConnectWarning::PassfileAccess { path: PathBuf::from("/p") }.to_string();
    assert_eq!(
        text,
        "password file \"/p\" has group or world access; permissions should be u=rw (0600) or less"
    );
    assert_eq!(warnings(home.path()), [ConnectWarning::PassfileNotPlain { path: home.path().to_owned() }]);
    assert_eq!(warnings(&home.path().join("missing")), []);
}

#[test]
fn words_and_numbers() {
    let options = resolve(
        "keepalives_idle=3 keepalives_count=-1 tcp_user_timeout=1500 connect_timeout=-1 replication=database \
         target_session_attrs=read-write fallback_application_name=tapster sslsni=0",
    )
    .unwrap();
    let keepalives = options.keepalives();
    assert!(keepalives.enabled && keepalives.idle == Some(3) && keepalives.count.is_none());
    assert_eq!(options.tcp_user_timeout(), Some(Duration::from_millis(1500)));
    assert_eq!(options.connect_timeout(), None);
    assert_eq!(options.replication(), Replication::Database);
    assert_eq!(options.target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(options.application_name(), Some("tapster"));
    assert!(!options.ssl().server_name_indication);
    assert!(!resolve("keepalives=0").unwrap().keepalives().enabled);
    let refused = [
        "keepalives_idle=x",
        "connect_timeout=1s",
        "connect_timeout=9999999999",
        "replication=maybe",
        "load_balance_hosts=yes",
        "require_auth=md5,!none",
        "gssencmode=require",
        "scram_client_key=x",
        "sslmode=verify_full",
    ];
    for text in refused {
        assert!(resolve(text).is_err(), "{text}");
    }
    assert!(matches!(
        ConnectOptions::resolve(&ConnInfo::new(), &Environment::default()),
        Err(ConnInfoError::NoUser)
    ));
}

#[test]
fn tls_settings_are_checked_together() {
    let system = resolve("sslrootcert=system").unwrap();
    assert_eq!(
        (system.ssl().mode, &system.ssl().root_certificates),
        (SslMode::VerifyFull, &RootCertificates::System)
    );
    let weak = resolve("sslrootcert=system sslmode=require").unwrap_err().to_string();
    assert_eq!(
        weak,
        "weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")"
    );
    assert!(matches!(resolve("sslnegotiation=direct"), Err(ConnInfoError::WeakSslMode { .. })));
    assert!(resolve("sslnegotiation=direct sslmode=require").is_ok());
}

#[test]
fn attempts_follow_sslmode() {
    let attempts = |text: &str| {
        let options = resolve(text).unwrap();
        plan(&options, &options.hosts()[0]).map(<[_]>::to_vec)
    };
    assert_eq!(attempts("sslmode=verify-full").unwrap(), [Attempt::Plain], "Unix sockets ignore sslmode");
    assert_eq!(attempts("host=h sslmode=disable").unwrap(), [Attempt::Plain]);
    if cfg!(feature = "tls") {
        assert_eq!(attempts("host=h sslmode=allow").unwrap(), [Attempt::Plain, Attempt::Tls]);
        assert_eq!(attempts("host=h").unwrap(), [Attempt::TlsIfOffered, Attempt::Plain]);
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(attempts(&format!("host=h sslmode={mode}")).unwrap(), [Attempt::Tls]);
        }
    } else {
        assert_eq!(attempts("host=h").unwrap(), [Attempt::Plain]);
        assert!(attempts("host=h sslmode=require").unwrap_err().to_string().contains("not compiled in"));
    }
}
