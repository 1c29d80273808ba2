//! Servers that are not what they should be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use tapster_protocol::{ConnInfo, ConnectError, ConnectOptions, Connection, Environment, Mode};

type Script = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// Serves as many connections as there are scripts; each script gets the socket.
fn serve(scripts: Vec<Script>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for script in scripts {
            let (mut socket, _) = listener.accept().unwrap();
            script(&mut socket);
            // Until the client goes, so that what was sent is not lost to a reset.
            let _ = socket.set_read_timeout(Some(std::time::Duration::from_secs(5)));
            let _ = socket.read(&mut [0; 1024]);
        }
    });
    (port, thread)
}

fn connect(port: u16, more: &str) -> ConnectError {
    let text = format!("host=127.0.0.1 port={port} user=u password=p {more}");
    let options = ConnectOptions::resolve(&ConnInfo::parse(&text).unwrap(), &Environment::default()).unwrap();
    Connection::connect(&options, Mode::Sql).unwrap_err()
}

fn request(socket: &mut TcpStream) {
    let mut request = [0; 8];
    socket.read_exact(&mut request).unwrap();
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "SSLRequest");
}

fn startup(socket: &mut TcpStream) {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
    socket.read_exact(&mut rest).unwrap();
    assert!(rest.starts_with(&[0, 3, 0, 0]), "protocol 3.0");
}

#[cfg(feature = "tls")]
#[test]
fn plaintext_behind_the_answer_is_refused() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        request(socket);
        socket.write_all(b"SR\0\0\0\x08\0\0\0\0").unwrap();
    })]);
    let error = connect(port, "sslmode=prefer");
    assert!(error.to_string().contains("unencrypted data"), "{error}");
    thread.join().unwrap();
}

#[cfg(feature = "tls")]
#[test]
fn an_error_before_tls_is_not_shown() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        request(socket);
        socket.write_all(b"E\0\0\0\x20SFATAL\0MSend money to ...\0\0").unwrap();
    })]);
    let error = connect(port, "sslmode=require");
    assert!(matches!(error, ConnectError::Tls { .. }) && !error.to_string().contains("money"), "{error}");
    thread.join().unwrap();
}

#[cfg(feature = "tls")]
#[test]
fn no_means_no() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        request(socket);
        socket.write_all(b"N").unwrap();
    })]);
    let error = connect(port, "sslmode=require");
    assert!(error.to_string().contains("does not support SSL"), "{error}");
    thread.join().unwrap();
}

#[test]
fn large_messages_are_refused_before_authentication() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        startup(socket);
        socket.write_all(b"R\x7f\xff\xff\xff").unwrap();
    })]);
    let error = connect(port, "sslmode=disable");
    assert!(error.to_string().contains("more than the 65536 bytes"), "{error}");
    thread.join().unwrap();
}

#[test]
fn ready_without_authentication_is_refused() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        startup(socket);
        socket.write_all(b"Z\0\0\0\x05I").unwrap();
    })]);
    let error = connect(port, "sslmode=disable");
    assert!(error.to_string().contains("protocol violation"), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_silent_server_times_out() {
    let (port, thread) = serve(vec![Box::new(startup)]);
    let error = connect(port, "sslmode=disable connect_timeout=2");
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    let (port, thread) = serve(vec![Box::new(|socket| {
        startup(socket);
        socket.shutdown(std::net::Shutdown::Both).unwrap();
    })]);
    let error = connect(port, "sslmode=disable");
    assert!(error.to_string().contains("closed the connection"), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_server_that_talks_without_end_times_out() {
    // Notices, which are taken aside, and messages that lead nowhere.
    for chatter in [&b"N\0\0\0\x0bSNOTE\0\0"[..], b"v\0\0\0\x0c\0\0\0\0\0\0\0\0"] {
        let (port, thread) = serve(vec![Box::new(move |socket| {
            startup(socket);
            while socket.write_all(&chatter.repeat(1000)).is_ok() {}
        })]);
        let error = connect(port, "sslmode=disable connect_timeout=2");
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
        thread.join().unwrap();
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_password_goes_out_once() {
    // `allow` would go on with TLS; nobody listens for that any more, which would be another error.
    let (port, thread) = serve(vec![Box::new(|socket| {
        startup(socket);
        socket.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
        socket.read_exact(&mut [0; 7]).unwrap();
        socket.shutdown(std::net::Shutdown::Both).unwrap();
    })]);
    let error = connect(port, "sslmode=allow");
    assert!(error.to_string().contains("closed the connection"), "{error}");
    thread.join().unwrap();
}
