//! The one request a store cannot be asked for through the library: to make what the library then looks at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Sends a request, and returns the answer's status and all of it.
pub(super) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, String) {
    let answer = answer(address, method, target, headers, body);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (status(&answer), answer)
}

/// The same, with what the answer carries instead of all of it.
pub(super) fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Vec<u8>) {
    let mut answer = answer(address, method, target, headers, body);
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("the end of the headers") + 4;
    let carried = answer.split_off(end);
    (status(&String::from_utf8_lossy(&answer)), carried)
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.expect("an HTTP status")
}

fn answer(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connect to the store");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
    let length = body.len();
    let mut text = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).expect("ask the store");
    stream.write_all(body).expect("ask the store");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read the store's answer");
    answer
}
