//! Checks of servers that are not there.

use std::net::TcpListener;
use std::time::Duration;

use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::{CheckOptions, Context, Server, Silent};
use tapster_protocol::Environment;

/// A link to itself cannot be read by anybody, root included.
#[test]
fn a_directory_that_cannot_be_read_does_not_pass_for_empty() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tapster.conf");
    let text = format!(
        "[barman]\nbarman_home = {}\n[main]\nconninfo = host=/none user=u\nstreaming_conninfo = host=/none user=u\n\
         backup_method = postgres\nstreaming_archiver = on\n",
        home.path().display()
    );
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&ConfigSources::file(path)).unwrap();
    let server = Server::open(&config, "main", Environment::default()).unwrap();
    server.create_directories().unwrap();
    let layout = server.catalog().layout().clone();
    for dir in [&layout.wals, &layout.incoming, &layout.streaming, &layout.errors] {
        std::fs::remove_dir(dir).unwrap();
        std::os::unix::fs::symlink(dir, dir).unwrap();
    }
    let report = server.check(&CheckOptions::default(), &Context::new(&Silent));
    for (name, dir) in [
        ("WAL archive", &layout.wals),
        ("empty incoming directory", &layout.incoming),
        ("streaming WALs directory", &layout.streaming),
        ("archiver errors", &layout.errors),
    ] {
        let line = report.line(name).unwrap_or_else(|| panic!("{name}: {report:?}"));
        let hint = line.hint.clone().unwrap_or_default();
        assert!(!line.ok && hint.contains(&dir.display().to_string()), "{line:?}");
    }
}

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
