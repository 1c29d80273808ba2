//! Garage, a distributed store that speaks like S3: three nodes, each object on all of them.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::http::request;
use super::place::{self, Ports, free_ports};
use crate::{Environment, Store, StoreOptions, StoreUrl};

const NODES: usize = 3;
const BUCKET: &str = "bucket";
const KEY_ID: &str = "GK00112233445566778899aabb";
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const TOKEN: &str = "token";
/// Longer than any start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a node as soon as the test does, however that ends. The first line tells the node's process.
const UNTIL_INPUT_ENDS: &str =
    r#""$@" </dev/null >/dev/null & echo $!; cat >/dev/null; kill -9 $!; kill -CONT $!; wait $!"#;

/// A cluster of three nodes that hold each object three times, and answer when two of them have it. Removed when dropped.
#[derive(Debug)]
pub struct Garage {
    program: PathBuf,
    /// They end before their directory goes, or they would make it anew.
    nodes: Vec<Node>,
    directory: TempDir,
}

#[derive(Debug)]
struct Node {
    ports: Ports,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    shell: Child,
    pid: Option<Pid>,
}

impl Garage {
    /// Starts one, with a bucket and a key. `None`, with a reason on standard error, when there is no program: it is looked for in
    /// `TAPSTER_TEST_GARAGE`, `target/garage/bin` and the `PATH`.
    ///
    /// # Panics
    /// When it does not start, or the program that was named is not there.
    pub fn start() -> Option<Self> {
        let Some(program) = place::garage() else {
            eprintln!("skipped: no program garage (scripts/setup garage)");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("tgarage").tempdir().expect("create a directory");
        let nodes = free_ports(NODES).into_iter().map(|ports| Node { ports, process: None }).collect();
        let mut garage = Self { program, directory, nodes };
        for node in 0..NODES {
            garage.configure(node);
            garage.begin(node);
        }
        let ids: Vec<String> = (0..NODES).map(|node| garage.id(node)).collect();
        for (node, id) in ids.iter().enumerate() {
            if node > 0 {
                garage.cli(&["node", "connect", id]);
            }
            let short = id.split('@').next().unwrap_or(id);
            garage.cli(&["layout", "assign", "-z", &format!("zone{node}"), "-c", "1G", short]);
        }
        garage.cli(&["layout", "apply", "--version", "1"]);
        garage.cli(&["key", "import", "--yes", "-n", "key", KEY_ID, SECRET]);
        garage.cli(&["key", "allow", "--create-bucket", KEY_ID]);
        garage.cli(&["bucket", "create", BUCKET]);
        garage.cli(&["bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", KEY_ID]);
        garage.await_nodes(NODES);
        Some(garage)
    }

    /// Where clients reach that node, from 0 to 2.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn address(&self, node: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.node(node).ports.s3))
    }

    /// `http://127.0.0.1:PORT` of that node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn endpoint(&self, node: usize) -> String {
        format!("http://{}", self.address(node))
    }

    /// The URL of that prefix in the bucket.
    ///
    /// # Panics
    /// When it is not one.
    #[allow(clippy::unused_self, reason = "only there when the store is")]
    pub fn url(&self, prefix: &str) -> StoreUrl {
        format!("s3://{BUCKET}/{prefix}").parse().expect("a URL")
    }

    /// Options that lead to that node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn options(&self, node: usize) -> StoreOptions {
        StoreOptions { endpoint: Some(self.endpoint(node)), ..StoreOptions::default() }
    }

    /// Variables as names and values, for programs too.
    #[allow(clippy::unused_self, reason = "only there when the store is")]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_DEFAULT_REGION", "garage".to_owned()),
        ]
    }

    /// The same for [`Store::open`].
    pub fn environment(&self) -> Environment {
        self.variables().into_iter().collect()
    }

    /// The store below that prefix, through that node.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn store(&self, node: usize, prefix: &str) -> Store {
        Store::open(&self.url(prefix), self.options(node), &self.environment()).expect("open a store")
    }

    /// Ends a node as a crash of its machine does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, node: usize) {
        let process = self.nodes.get_mut(node).and_then(|node| node.process.take());
        drop(process.expect("a running node"));
    }

    /// Cuts a node off: its connections stay, and nothing comes from it any more.
    ///
    /// # Panics
    /// When it does not run.
    pub fn cut_off(&self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    /// Ends that.
    ///
    /// # Panics
    /// When it does not run, or not all nodes find each other again.
    pub fn reconnect(&self, node: usize) {
        self.signal(node, Signal::CONT);
        self.introduce(node);
    }

    /// Starts a node that was killed, and waits until all see each other.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self, node: usize) {
        self.begin(node);
        self.introduce(node);
    }

    /// The others would look for it by themselves, half a minute later.
    fn introduce(&self, node: usize) {
        let id = self.id(node);
        for other in (0..NODES).filter(|other| *other != node && self.node(*other).process.is_some()) {
            self.run(other, &["node", "connect", &id]);
        }
        self.await_nodes(NODES);
    }

    fn node(&self, node: usize) -> &Node {
        self.nodes.get(node).expect("a node")
    }

    fn signal(&self, node: usize, signal: Signal) {
        let process = self.node(node).process.as_ref().expect("a running node");
        kill_process(process.pid.expect("its number"), signal).expect("send a signal");
    }

    fn file(&self, node: usize, name: &str) -> PathBuf {
        self.directory.path().join(format!("node{node}{name}"))
    }

    fn configure(&self, node: usize) {
        let Ports { rpc, s3, admin } = self.node(node).ports;
        let directory = self.file(node, "");
        let directory = directory.display();
        let text = format!(
            "metadata_dir = \"{directory}/meta\"\ndata_dir = \"{directory}/data\"\ndb_engine = \"sqlite\"\n\
             replication_factor = {NODES}\nconsistency_mode = \"consistent\"\n\
             rpc_secret = \"{}\"\nrpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\n\
             rpc_timeout_msec = 3000\nrpc_ping_timeout_msec = 1000\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\nadmin_token = \"{TOKEN}\"\n",
            "17".repeat(32)
        );
        std::fs::write(self.file(node, ".toml"), text).expect("write a configuration");
    }

    fn begin(&mut self, node: usize) {
        let log = std::fs::File::options().create(true).append(true).open(self.file(node, ".log"));
        let shell = Command::new("/bin/sh")
            .args(["-c", UNTIL_INPUT_ENDS, "sh"])
            .arg(&self.program)
            .arg("-c")
            .arg(self.file(node, ".toml"))
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.expect("create a log"))
            .spawn()
            .expect("start garage");
        let mut process = Process { shell, pid: None };
        let mut line = String::new();
        let output = process.shell.stdout.take().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line)
            .expect("read its process");
        process.pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let ports = self.node(node).ports;
        if let Some(node) = self.nodes.get_mut(node) {
            node.process = Some(process);
        }
        for port in [ports.s3, ports.admin, ports.rpc] {
            self.await_that(node, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        }
    }

    fn await_that(&self, node: usize, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            let log = || std::fs::read_to_string(self.file(node, ".log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "garage is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Until every running node sees so many, and all data is where it belongs.
    fn await_nodes(&self, count: usize) {
        let bearer = format!("Bearer {TOKEN}");
        let connected = format!("\"connectedNodes\":{count}");
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.process.is_some()) {
            let address = SocketAddr::from(([127, 0, 0, 1], node.ports.admin));
            self.await_that(number, || {
                let headers = [("Authorization", bearer.as_str())];
                let (status, answer) = request(address, "GET", "/v2/GetClusterHealth", &headers, b"");
                let answer: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
                status == 200 && answer.contains(&connected) && answer.contains("\"status\":\"healthy\"")
            });
        }
    }

    fn id(&self, node: usize) -> String {
        let output = self.run(node, &["node", "id", "-q"]);
        output.trim().to_owned()
    }

    fn cli(&self, arguments: &[&str]) {
        self.run(0, arguments);
    }

    fn run(&self, node: usize, arguments: &[&str]) -> String {
        let output = Command::new(&self.program)
            .arg("-c")
            .arg(self.file(node, ".toml"))
            .args(arguments)
            .output()
            .expect("run garage");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "garage {arguments:?}: {text}");
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
