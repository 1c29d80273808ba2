//! Checks of servers that are not there.

use std::net::TcpListener;
use std::time::Duration;

use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::{CheckOptions, Context, Server, Silent};
use tapster_protocol::Environment;

/// Without the limit this test would not end.
#[test]
fn l_e1_a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tapster.conf");
    let conninfo = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
    let text = format!(
        "[barman]\nbarman_home = {}\n[main]\nconninfo = {conninfo}\nstreaming_conninfo = {conninfo}\n\
         backup_method = postgres\nstreaming_archiver = on\n",
        home.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&ConfigSources::file(path)).unwrap();
    let server = Server::open(&config, "main", Environment::default()).unwrap();
    server.create_directories().unwrap();
    let mut options = CheckOptions::default();
    options.timeout = Some(Duration::from_millis(300));
    let report = server.check(&options, &Context::new(&Silent));
    assert!(!report.line("check timeout").unwrap().ok);
    assert!(report.blocking().any(|line| line.name == "check timeout"));
}
