//! Between the store and its client: passes requests on, or spoils them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Pass,
    /// An answer of this status without a body.
    Status(u16),
    /// The answer's first bytes only, then the connection ends.
    Cut(usize),
    /// The store gets it, but its answer is lost.
    Mute,
    /// The connection ends at once.
    Close,
}

type Judge = Arc<Mutex<Box<dyn FnMut(&str, &str) -> Fate + Send>>>;

pub struct Proxy {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    /// `judge` is asked about each request's method and path.
    pub fn start(to: SocketAddr, judge: impl FnMut(&str, &str) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let judge: Judge = Arc::new(Mutex::new(Box::new(judge)));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (judge, counter) = (Arc::clone(&judge), Arc::clone(&counter));
                // A client that goes away is no failure of the test.
                std::thread::spawn(move || drop(serve(client, to, &judge, &counter)));
            }
        });
        Self { address, requests }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(client: TcpStream, to: SocketAddr, judge: &Judge, counter: &AtomicUsize) -> std::io::Result<()> {
    let mut input = BufReader::new(client.try_clone()?);
    let mut client = client;
    let (mut head, mut length, mut first) = (String::new(), 0, String::new());
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    counter.fetch_add(1, Ordering::SeqCst);
    let fate = (judge.lock().unwrap())(method, path);
    let limit = match fate {
        Fate::Close => return Ok(()),
        Fate::Status(code) => {
            return write!(client, "HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Fate::Cut(limit) => limit,
        Fate::Pass | Fate::Mute => usize::MAX,
    };
    let mut store = TcpStream::connect(to)?;
    write!(store, "{head}Connection: close\r\n\r\n")?;
    store.write_all(&body)?;
    let mut answer = Vec::new();
    store.read_to_end(&mut answer)?;
    if matches!(fate, Fate::Mute) {
        return Ok(());
    }
    let begin = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
    let end = answer.len().min(begin.saturating_add(limit));
    client.write_all(&answer[..end])
}
