//! Connecting: hosts, refusals, stop flag, notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_protocol::testing::{Cluster, StopMode, servers};
use tapster_protocol::{
    ConnInfo, ConnectError, ConnectOptions, Connection, ConnectionError, Environment, Mode, QueryError,
};

fn resolve(text: &str) -> ConnectOptions {
    ConnectOptions::resolve(&ConnInfo::parse(text).unwrap(), &Environment::default()).unwrap()
}

#[test]
fn both_modes_on_every_major() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).tcp(true).start().unwrap();
        let mut connection = cluster.connect();
        assert_eq!(connection.server_version().major(), binaries.major);
        assert!(connection.process_id() > 0);
        let pid = connection.query("SELECT pg_backend_pid() AS pid").unwrap();
        assert_eq!(pid.get(0, "pid"), Some(connection.process_id().to_string().as_str()));
        let tcp = resolve(&cluster.tcp_conninfo().to_conninfo_string());
        let mut walsender = Connection::connect(&tcp, Mode::PhysicalReplication).unwrap();
        assert_eq!(walsender.show("wal_segment_size").unwrap(), "16MB");
        assert!(!walsender.is_encrypted(), "sslmode=prefer goes on without TLS when the server has none");
    }
}

#[test]
fn the_second_host_serves_when_the_first_is_down() {
    let Some(cluster) = Cluster::builder().tcp(true).start() else { return };
    let socket = cluster.socket_dir().display();
    let port = cluster.port();
    let options = resolve(&format!("host=/nowhere,{socket} port=1,{port} user=postgres connect_timeout=2"));
    Connection::connect(&options, Mode::Sql).unwrap();

    let options = resolve(&format!("host={socket} port={port} user=postgres target_session_attrs=standby"));
    let error = Connection::connect(&options, Mode::Sql).unwrap_err();
    assert!(matches!(error, ConnectError::SessionAttributes { .. }), "{error}");
    for attributes in ["read-write", "primary", "prefer-standby", "any"] {
        let text = format!("host={socket} port={port} user=postgres target_session_attrs={attributes}");
        Connection::connect(&resolve(&text), Mode::Sql).unwrap();
    }

    let options = resolve("host=/nowhere,/nowhere-else user=postgres");
    let error = Connection::connect(&options, Mode::Sql).unwrap_err().to_string();
    assert!(error.contains("/nowhere\"") && error.contains("/nowhere-else\""), "{error}");
}

#[test]
fn refusals_carry_the_servers_words() {
    let Some(cluster) = Cluster::builder().hba("local all nobody reject").start() else { return };
    let socket = cluster.socket_dir().display();
    let error = Connection::connect(&resolve(&format!("host={socket} user=nobody")), Mode::Sql).unwrap_err();
    assert_eq!(error.server().unwrap().code, "28000", "{error}");
    let error = Connection::connect(&resolve(&format!("host={socket} user=postgres dbname=no")), Mode::Sql);
    assert_eq!(error.unwrap_err().server().unwrap().code, "3D000");

    let mut connection = cluster.connect();
    let error = connection.query("SELEC 1").unwrap_err();
    assert!(error.is_sqlstate("42601"), "{error}");
    assert_eq!(connection.query("SELECT 1 AS x").unwrap().get(0, "x"), Some("1"), "usable after an error");
    assert!(matches!(connection.query("SELECT '\0'"), Err(QueryError::ZeroByte)));
    assert_eq!(connection.query("SELECT 1; SELECT 2 AS y").unwrap().get(0, "y"), Some("2"));
    assert!(connection.query("").unwrap().is_empty());
    connection.query("DO $$ BEGIN RAISE WARNING 'mind the gap'; END $$").unwrap();
    let notices = connection.take_notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].message, "mind the gap");
}

#[test]
fn requirepeer_is_checked() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let owner =
        std::fs::metadata(cluster.data_dir()).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap();
    let socket = cluster.socket_dir().display();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let name = |uid: u32| {
        passwd
            .lines()
            .find(|line| line.split(':').nth(2) == Some(&uid.to_string()))
            .unwrap()
            .split(':')
            .next()
            .unwrap()
    };
    let right = format!("host={socket} user=postgres requirepeer={}", name(owner));
    Connection::connect(&resolve(&right), Mode::Sql).unwrap();
    let other = if name(owner) == "daemon" { "root" } else { "daemon" };
    let wrong = format!("host={socket} user=postgres requirepeer={other}");
    let error = Connection::connect(&resolve(&wrong), Mode::Sql).unwrap_err().to_string();
    assert!(error.contains("requirepeer"), "{error}");
}

#[test]
fn the_stop_flag_ends_a_wait() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let mut connection =
        Connection::connect_with_stop(&cluster.options(), Mode::Sql, Arc::clone(&stop)).unwrap();
    let flag = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
    });
    let begin = Instant::now();
    let error = connection.query("SELECT pg_sleep(60)").unwrap_err();
    thread.join().unwrap();
    assert!(matches!(error, QueryError::Connection(ConnectionError::Stopped)), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(matches!(connection.query("SELECT 1"), Err(QueryError::Connection(ConnectionError::Busy))));
    assert!(matches!(
        Connection::connect_with_stop(&cluster.options(), Mode::Sql, stop),
        Err(ConnectError::Stopped)
    ));
}

#[test]
fn a_query_ends_at_its_limit() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let mut connection = cluster.connect();
    connection.set_query_limit(Some(Duration::from_secs(20)));
    connection.query("SELECT 1").unwrap();
    connection.set_query_limit(Some(Duration::from_millis(200)));
    let error = connection.query("SELECT pg_sleep(60)").unwrap_err();
    assert!(matches!(error, QueryError::Connection(ConnectionError::TimedOut)), "{error}");
    assert!(matches!(connection.query("SELECT 1"), Err(QueryError::Connection(ConnectionError::Busy))));
    // Rows without end are no answer either.
    let mut connection = cluster.connect();
    connection.set_query_limit(Some(Duration::from_millis(200)));
    let error = connection.query("SELECT pg_sleep(0.01) FROM generate_series(1, 6000)").unwrap_err();
    assert!(matches!(error, QueryError::Connection(ConnectionError::TimedOut)), "{error}");
}

#[test]
fn a_server_that_goes_away_is_an_error() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let mut connection = cluster.connect();
    cluster.stop(StopMode::Immediate);
    let error = connection.query("SELECT 1").unwrap_err();
    assert!(
        matches!(&error, QueryError::Connection(_)) || error.server().is_some_and(|error| error.is_fatal()),
        "{error}"
    );
}

#[test]
fn passwords_by_scram_and_md5() {
    let Some(cluster) = Cluster::builder()
        .hba("local all scram scram-sha-256")
        .hba("local all hashed md5")
        .hba("local all clear password")
        .start()
    else {
        return;
    };
    cluster.sql("CREATE ROLE scram LOGIN PASSWORD 'p w'; CREATE ROLE clear LOGIN PASSWORD 'p w'");
    cluster.sql("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'p w'");
    let socket = cluster.socket_dir().display();
    for user in ["scram", "hashed", "clear"] {
        let text = format!("host={socket} user={user} dbname=postgres password='p w'");
        let mut connection = Connection::connect(&resolve(&text), Mode::Sql).unwrap();
        assert_eq!(connection.query("SELECT current_user AS me").unwrap().get(0, "me"), Some(user));
        let wrong = format!("host={socket} user={user} dbname=postgres password=no");
        let error = Connection::connect(&resolve(&wrong), Mode::Sql).unwrap_err();
        assert_eq!(error.server().unwrap().code, "28P01");
        let none = format!("host={socket} user={user} dbname=postgres");
        let error = Connection::connect(&resolve(&none), Mode::Sql).unwrap_err();
        assert!(matches!(error, ConnectError::Authentication { .. }), "{error}");
    }
}
