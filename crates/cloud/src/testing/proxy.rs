//! Between a store and its client: passes requests on, or spoils them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// The store answers it.
    Pass,
    /// An answer of this status without a body.
    Status(u16),
    /// The answer's first bytes only, then the connection ends.
    Cut(usize),
    /// The store gets it, but its answer is lost.
    Mute,
    /// The connection ends at once.
    Close,
    /// Nothing, until the client goes away.
    Hold,
}

type Judge = Arc<Mutex<Box<dyn FnMut(&str, &str) -> Fate + Send>>>;

/// One on a port of its own, until the test ends. Each connection is for one request.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    /// `judge` is asked about each request's method and path.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(to: SocketAddr, judge: impl FnMut(&str, &str) -> Fate + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
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

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
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
            length = value.trim().parse().expect("a length");
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    counter.fetch_add(1, Ordering::SeqCst);
    let fate = (judge.lock().unwrap_or_else(PoisonError::into_inner))(method, path);
    let limit = match fate {
        Fate::Close => return Ok(()),
        Fate::Hold => return input.read(&mut [0]).map(drop),
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
    client.write_all(answer.get(..end).unwrap_or_default())
}
