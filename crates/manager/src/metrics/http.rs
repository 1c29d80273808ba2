//! A read-only endpoint for Prometheus: `GET /metrics`, nothing else.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest request that is read.
const MAX_REQUEST: usize = 8 * 1024;

/// A client has so long for its request and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Threads that answer, so that a slow client does not keep the others waiting.
const THREADS: usize = 2;

/// Answers HTTP requests until dropped. Every connection is closed after one answer.
pub struct MetricsListener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for MetricsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsListener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MetricsListener {
    /// Listens on `address`; `text` makes the answer to each request.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(address: SocketAddr, text: Arc<dyn Fn() -> String + Send + Sync>) -> io::Result<Self> {
        let socket = TcpListener::bind(address)?;
        let mut listener = Self { address: socket.local_addr()?, stop: Arc::default(), threads: Vec::new() };
        for _ in 0..THREADS {
            let (socket, stop, text) = (socket.try_clone()?, Arc::clone(&listener.stop), Arc::clone(&text));
            let thread = std::thread::Builder::new().name("metrics".to_owned());
            listener.threads.push(thread.spawn(move || accept(&socket, &stop, &*text))?);
        }
        Ok(listener)
    }

    /// Where it listens: the port the system chose, when none was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsListener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A connection ends each thread's waiting. One that cannot be made leaves a thread that harms nobody.
        let woken = self.threads.iter().all(|_| TcpStream::connect_timeout(&self.address, PATIENCE).is_ok());
        if woken {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}

fn accept(socket: &TcpListener, stop: &AtomicBool, text: &dyn Fn() -> String) {
    while !stop.load(Ordering::Relaxed) {
        match socket.accept() {
            Ok(_) if stop.load(Ordering::Relaxed) => {}
            // What goes wrong with one client is its own affair.
            Ok((client, _)) => drop(answer(&client, text)),
            // Out of descriptors, most likely.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(client: &TcpStream, text: &dyn Fn() -> String) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let request = read_request(client, deadline)?;
    let (status, body) = match route(&request) {
        Route::Metrics { .. } => ("200 OK", text()),
        Route::Unknown => ("404 Not Found", "only /metrics is here\n".to_owned()),
        Route::Method => ("405 Method Not Allowed", "only GET and HEAD\n".to_owned()),
        Route::Bad => ("400 Bad Request", "no HTTP request\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let body = if route(&request) == (Route::Metrics { head: true }) { "" } else { &body };
    send(client, &[head.as_bytes(), body.as_bytes()].concat(), deadline)?;
    client.shutdown(Shutdown::Write)
}

/// Time left until `deadline`; an error when there is none, as a socket has it.
fn left(deadline: Instant) -> io::Result<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Everything up to the empty line.
fn read_request(mut client: &TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut request = Vec::with_capacity(1024);
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        client.set_read_timeout(Some(left(deadline)?))?;
        let count = client.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend(buffer.iter().take(count));
    }
    Ok(request)
}

fn send(mut client: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        client.set_write_timeout(Some(left(deadline)?))?;
        let count = client.write(bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    Metrics { head: bool },
    Unknown,
    Method,
    Bad,
}

fn route(request: &[u8]) -> Route {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return Route::Bad };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Route::Bad;
    };
    if !version.starts_with("HTTP/1.") {
        return Route::Bad;
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match (method, path) {
        ("GET", "/metrics") => Route::Metrics { head: false },
        ("HEAD", "/metrics") => Route::Metrics { head: true },
        ("GET" | "HEAD", _) => Route::Unknown,
        _ => Route::Method,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_the_one_question_and_survives_the_others() {
        let text: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(|| "x 1\n".to_owned());
        let listener = MetricsListener::start("127.0.0.1:0".parse().unwrap(), text).unwrap();
        let at = listener.address();
        // One that says nothing holds one thread at most.
        let silent = TcpStream::connect(at).unwrap();
        let good = ask(at, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n") && good.ends_with("\r\n\r\nx 1\n"), "{good}");
        assert!(
            ask(at, b"HEAD /metrics HTTP/1.0\r\n\r\n")
                .ends_with("Content-Length: 4\r\nConnection: close\r\n\r\n")
        );
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"\xff\xfe\r\n\r\n", "400"),
            (b"GET /metrics\r\n\r\n", "400"),
        ] {
            assert_eq!(ask(at, request).split(' ').nth(1), Some(status));
        }
        let mut flood = TcpStream::connect(at).unwrap();
        let _ = flood.write_all(&[b'a'; 3 * MAX_REQUEST]);
        let mut rest = Vec::new();
        // Closed, perhaps by a reset, without an answer.
        let _ = flood.read_to_end(&mut rest);
        assert!(rest.is_empty());
        drop(silent);
        drop(listener);
        assert!(TcpStream::connect(at).is_err());
    }
}
