//! A server that answers as a test says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tapster_cloud::{Environment, Store, StoreOptions};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Its place among all requests, from 0.
    pub number: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// The answer, after which the connection is closed or not.
#[derive(Debug, Clone)]
pub struct Reply {
    bytes: Vec<u8>,
    stays: bool,
}

impl Reply {
    /// Whatever somebody else has answered.
    pub fn raw(bytes: Vec<u8>) -> Self {
        Self { bytes, stays: false }
    }

    /// Then nothing more comes.
    pub fn then_silence(mut self) -> Self {
        self.stays = true;
        self
    }
}

type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    held: Arc<Mutex<Vec<TcpStream>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Some(Arc::new(reply)))
    }

    /// It takes connections and reads nothing.
    pub fn deaf() -> Self {
        Self::serve(None)
    }

    fn serve(reply: Option<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            held: Arc::default(),
            ended: Arc::default(),
        };
        let (requests, held, ended) =
            (Arc::clone(&server.requests), Arc::clone(&server.held), Arc::clone(&server.ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                held.lock().unwrap().push(stream.try_clone().unwrap());
                let Some(reply) = reply.clone() else { continue };
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || exchange(stream, &requests, &*reply));
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Two more tries, and time enough for a machine under load.
    pub fn options(&self) -> StoreOptions {
        let mut options = StoreOptions::default();
        options.endpoint = Some(format!("http://{}", self.address));
        options.retries.count = 2;
        options.retries.patience = Duration::from_secs(30);
        options.retries.read_timeout = Duration::from_secs(10);
        options.retries.connect_timeout = Duration::from_secs(10);
        options
    }

    /// For what is to fail.
    pub fn impatient(&self) -> StoreOptions {
        let mut options = self.options();
        options.retries.patience = Duration::from_secs(1);
        options.retries.read_timeout = Duration::from_millis(300);
        options.retries.connect_timeout = Duration::from_millis(300);
        options.retries.slowest = 100 << 20;
        options
    }

    pub fn store(&self) -> Store {
        self.open(self.options())
    }

    #[allow(clippy::unused_self)]
    pub fn open(&self, options: StoreOptions) -> Store {
        let environment: Environment = [
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "s3cr3t"),
            ("AWS_REGION", "eu-west-3"),
        ]
        .into_iter()
        .collect();
        Store::open(&"s3://bucket/p".parse().unwrap(), options, &environment).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in self.held.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn exchange(mut stream: TcpStream, requests: &Mutex<Vec<Request>>, reply: &dyn Fn(&Request) -> Reply) {
    let Some(mut request) = read(&mut stream) else { return };
    {
        let mut requests = requests.lock().unwrap();
        request.number = requests.len();
        requests.push(request.clone());
    }
    let reply = reply(&request);
    let _ = stream.write_all(&reply.bytes);
    if !reply.stays {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = bytes[end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => body.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
    Some(Request { method, target, headers, body, number: 0 })
}

/// A whole answer.
pub fn answer(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    announcing(status, headers, body.as_ref().len(), body.as_ref())
}

/// One that announces another length than it has.
pub fn announcing(status: u16, headers: &[&str], length: usize, body: &[u8]) -> Reply {
    let mut text = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {length}\r\n");
    text.push_str("Date: Sat, 21 Nov 2026 15:00:00 GMT\r\nLast-Modified: Sat, 21 Nov 2026 14:00:00 GMT\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    Reply { bytes, stays: false }
}

/// An error document of S3.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let body =
        format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    answer(status, &["x-amz-request-id: 1"], body)
}
