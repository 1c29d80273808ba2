//! How a test server is to be.

use std::fmt::Write;
use std::net::TcpListener;

use super::account::Account;
use super::binaries::{Binaries, servers};
use super::cluster::Cluster;
use super::template::{self, InitOptions};

/// Builds a [`Cluster`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    binaries: Option<Binaries>,
    config: Vec<String>,
    hba: Vec<String>,
    pub(super) variables: Vec<(String, String)>,
    init: InitOptions,
    tcp: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            binaries: None,
            config: Vec::new(),
            hba: Vec::new(),
            variables: Vec::new(),
            init: InitOptions { wal_segment_mb: 16, checksums: false },
            tcp: false,
        }
    }
}

impl Builder {
    /// The server to use; the newest found unless told.
    pub fn binaries(mut self, binaries: &Binaries) -> Self {
        self.binaries = Some(binaries.clone());
        self
    }

    /// A line of `postgresql.conf`, such as `max_connections = 20`.
    pub fn config(mut self, line: &str) -> Self {
        self.config.push(line.to_owned());
        self
    }

    /// A line of `pg_hba.conf`, before the one that trusts everybody.
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// A variable in the environment of the server, and so of what it calls, such as its `archive_command`.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `initdb --wal-segsize`, in megabytes.
    pub const fn wal_segment_mb(mut self, megabytes: u32) -> Self {
        self.init.wal_segment_mb = megabytes;
        self
    }

    /// `initdb --data-checksums`.
    pub const fn checksums(mut self, on: bool) -> Self {
        self.init.checksums = on;
        self
    }

    /// Listen on 127.0.0.1 too, on some free port.
    pub const fn tcp(mut self, on: bool) -> Self {
        self.tcp = on;
        self
    }

    /// Makes the cluster and starts it. `None`: no server on this machine, skip the test.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn start(self) -> Option<Cluster> {
        let cluster = self.prepare()?;
        cluster.start();
        Some(cluster)
    }

    /// Makes the cluster and does not start it.
    ///
    /// # Panics
    /// When that fails.
    pub fn prepare(self) -> Option<Cluster> {
        let binaries = self.binaries.clone().or_else(default_server)?;
        let account = Account::for_server();
        let cluster = Cluster::empty(binaries, account, self.port(), self.variables.clone());
        template::create(cluster.binaries(), self.init, account, &cluster.data_dir());
        self.configure(&cluster);
        Some(cluster)
    }

    /// Nothing else uses the socket directory, so the port matters for TCP only.
    pub(super) fn port(&self) -> u16 {
        if !self.tcp {
            return 5432;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        listener.local_addr().expect("the port's number").port()
    }

    pub(super) fn configure(&self, cluster: &Cluster) {
        let listen = if self.tcp { "127.0.0.1" } else { "" };
        let mut text = format!(
            "listen_addresses = '{listen}'\nport = {}\nunix_socket_directories = '{}'\nfsync = off\n\
             wal_level = replica\nmax_wal_senders = 10\nmax_replication_slots = 10\nhot_standby = on\n\
             shared_buffers = 32MB\nmax_connections = 30\nautovacuum = off\nlog_line_prefix = '%m [%p] %a '\n",
            cluster.port(),
            cluster.socket_dir().display()
        );
        for line in &self.config {
            let _ = writeln!(text, "{line}");
        }
        cluster.append("postgresql.conf", &text);
        let mut hba = self.hba.join("\n");
        hba.push_str("\nlocal all all trust\nlocal replication all trust\n");
        hba.push_str("host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n");
        cluster.replace("pg_hba.conf", &hba);
    }
}

/// The newest one that has its client programs, which packages of bare servers lack and many tests compare with; else the
/// newest.
fn default_server() -> Option<Binaries> {
    let servers = servers();
    let complete = servers.iter().find(|binaries| binaries.program("pg_basebackup").exists());
    complete.or(servers.first()).cloned()
}
