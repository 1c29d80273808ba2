//! A backup host: a real sshd on 127.0.0.1, on which `barman` is this program or the original, and a catalog.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tapster_protocol::testing::Cluster;
use tempfile::TempDir;

/// Which of the two programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    Ours,
    Original,
}

impl Which {
    /// A command that is `name`; `None` when the original is not installed.
    pub fn command(self, name: &str) -> Option<Command> {
        match self {
            Self::Ours => {
                let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
                command.arg0(name);
                Some(command)
            }
            Self::Original => find(name).map(Command::new),
        }
    }
}

pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = dirs.map(|dir| dir.join(program)).find(|path| path.exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "{program} is not installed");
    found
}

/// System identifier in the segments of [`segment`].
pub const SYSTEM: u64 = 7_710_408_692_298_386_193;
pub const SEGMENT_BYTES: usize = 16 << 20;

/// A segment of PostgreSQL 15 as far as its header says; `seed` makes the rest.
pub fn segment(name: &str, system: u64, seed: u64) -> Vec<u8> {
    let number = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).unwrap();
    let (timeline, log, low) = (number(0..8) as u32, number(8..16), number(16..24));
    let mut bytes = vec![0; SEGMENT_BYTES];
    let address = (log << 32) + (low << 24);
    let parts: [&[u8]; 8] = [
        &0xD110_u16.to_le_bytes(),
        &2_u16.to_le_bytes(),
        &timeline.to_le_bytes(),
        &address.to_le_bytes(),
        &[0; 8],
        &system.to_le_bytes(),
        &(SEGMENT_BYTES as u32).to_le_bytes(),
        &8192_u32.to_le_bytes(),
    ];
    let header = parts.concat();
    bytes[..header.len()].copy_from_slice(&header);
    // Half of it compresses, half does not.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for word in bytes[8192..SEGMENT_BYTES / 2].chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The same of a cluster with segments of 1 MiB.
pub fn small_segment(name: &str, seed: u64) -> Vec<u8> {
    let mut bytes = segment(name, SYSTEM, seed);
    bytes.truncate(1 << 20);
    let number = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).unwrap();
    let address = (number(8..16) << 32) + (number(16..24) << 20);
    bytes[8..16].copy_from_slice(&address.to_le_bytes());
    bytes[32..36].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    bytes
}

/// A catalog with the server `main`.
pub struct Hub {
    pub dir: TempDir,
}

impl Hub {
    pub fn new() -> Self {
        let hub = Self { dir: tempfile::tempdir().unwrap() };
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let home = hub.dir.path().join("home");
        let config = format!(
            "[barman]\nbarman_home = {home}\nbarman_user = {}\nlog_file = {dir}/barman.log\n\n[main]\n\
             description = test\nconninfo = host=/nonexistent user=x dbname=x\n\
             streaming_conninfo = host=/nonexistent user=x\nbackup_method = postgres\narchiver = on\n\n\
             [old]\nactive = off\ndescription = test\nconninfo = host=/nonexistent user=x dbname=x\n\
             streaming_conninfo = host=/nonexistent user=x\nbackup_method = postgres\narchiver = on\n",
            user.trim(),
            home = home.display(),
            dir = hub.dir.path().display(),
        );
        fs::write(hub.config(), config).unwrap();
        for name in ["incoming", "streaming", "errors", "base", "wals"] {
            fs::create_dir_all(home.join("main").join(name)).unwrap();
        }
        fs::write(home.join("main/wals/xlog.db"), "").unwrap();
        hub
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("barman.conf")
    }

    pub fn main(&self, below: &str) -> PathBuf {
        self.dir.path().join("home/main").join(below)
    }

    /// All names in a directory of `main`, hidden ones too.
    pub fn names(&self, below: &str) -> Vec<String> {
        names(&self.main(below))
    }

    pub fn archive(&self, name: &str, bytes: &[u8]) {
        let dir =
            if name.contains(".history") { self.main("wals") } else { self.main("wals").join(&name[..16]) };
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }

    pub fn identity(&self, system: u64) {
        let text = format!("{{\n    \"systemid\": \"{system}\",\n    \"version\": \"15\"\n}}\n");
        fs::write(self.main("identity.json"), text).unwrap();
    }

    /// `put-wal` with this on its standard input.
    pub fn put_wal(&self, which: Which, stdin: &[u8]) -> Option<Output> {
        let mut child = self.spawn_put_wal(which)?;
        // A program that gave up early closes its end.
        drop(child.stdin.take().unwrap().write_all(stdin));
        Some(child.wait_with_output().unwrap())
    }

    pub fn spawn_put_wal(&self, which: Which) -> Option<Child> {
        let mut command = which.command("barman")?;
        command.arg("-c").arg(self.config()).args(["put-wal", "main"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(command.spawn().unwrap())
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An sshd, and a directory with an `ssh` that knows it.
pub struct Sshd {
    dir: TempDir,
    child: Child,
}

impl Sshd {
    /// Starts one whose `barman` is `which` with the hub's configuration. `None`, with a note, when a program is missing.
    pub fn start(hub: &Hub, which: Which) -> Option<Self> {
        let Some(barman) = which.command("barman") else {
            eprintln!("skipped: barman is not installed");
            return None;
        };
        let script = format!(
            "export BARMAN_CONFIG_FILE={}\nexec {} \"$@\"",
            hub.config().display(),
            barman.get_program().display()
        );
        let program = barman.get_program().to_owned();
        Self::start_with(&script, (which == Which::Ours).then_some(program.as_ref()), &hub.config())
    }

    /// Starts one whose `barman` is a link to `link`, or else this shell script.
    pub fn start_with(script: &str, link: Option<&Path>, config: &Path) -> Option<Self> {
        let (Some(sshd), Some(_)) = (find("sshd"), find("ssh")) else {
            eprintln!("skipped: sshd is not installed");
            return None;
        };
        // sshd, as root, wants it; the service makes it elsewhere.
        if is_root() {
            drop(fs::create_dir_all("/run/sshd"));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::create_dir(path("remote")).unwrap();
        fs::create_dir(path("local")).unwrap();
        match link {
            Some(link) => symlink(link, path("remote/barman")).unwrap(),
            None => write_script(&path("remote/barman"), script),
        }
        write_script(
            &path("force"),
            &format!(
                "export BARMAN_CONFIG_FILE={}\nPATH={}:$PATH\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"",
                config.display(),
                path("remote").display()
            ),
        );
        write_script(
            &path("local/ssh"),
            &format!("exec {} -F {} \"$@\"", find("ssh").unwrap().display(), path("ssh_config").display()),
        );
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(
            path("ssh_config"),
            format!(
                "Host *\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking no\n\
                 UserKnownHostsFile /dev/null\nLogLevel ERROR\n",
                path("user").display()
            ),
        )
        .unwrap();
        fs::write(
            path("sshd_config"),
            format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
                 PidFile none\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
                 SetEnv HOME={}\nForceCommand {}\n",
                path("host").display(),
                path("user.pub").display(),
                // The user's own start-up files could print, and take their time.
                dir.path().display(),
                path("force").display()
            ),
        )
        .unwrap();
        let log = File::create(path("log")).unwrap();
        let child = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self { dir, child };
        for _ in 0..400 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(sshd);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("sshd does not start: {}", fs::read_to_string(sshd.dir.path().join("log")).unwrap());
    }

    /// A client with the options for this host: `-U`, the host and `main` come before `args`, `options` before those.
    pub fn client(&self, which: Which, name: &str, options: &[&str], args: &[&str]) -> Option<Command> {
        let mut command = which.command(name)?;
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        command
            .env("PATH", self.path())
            .args(options)
            .args(["-U", user.trim(), "127.0.0.1"])
            .args(args)
            .stdin(Stdio::null());
        Some(command)
    }

    /// The words before `-U USER HOST SERVER ...` with which the server of a cluster runs the client `name`, in a directory of its own.
    pub fn client_of(&self, cluster: &Cluster, name: &str) -> String {
        let local = cluster.directory().join("ssh");
        if !local.exists() {
            let local = cluster.create_dir("ssh");
            let config = fs::read_to_string(self.dir.path().join("ssh_config")).unwrap();
            let key = self.dir.path().join("user").display().to_string();
            let config = config.replace(&key, &local.join("user").display().to_string());
            fs::write(local.join("ssh_config"), config).unwrap();
            fs::copy(self.dir.path().join("user"), local.join("user")).unwrap();
            write_script(
                &local.join("ssh"),
                &format!("exec {} -F {}/ssh_config \"$@\"", find("ssh").unwrap().display(), local.display()),
            );
            let owned = Command::new("chown").arg("-R").arg("--reference").args([&local, &local]).status();
            assert!(owned.unwrap().success());
        }
        let link = local.join(name);
        if !link.exists() {
            symlink(assert_cmd::cargo::cargo_bin!("tapster"), &link).unwrap();
        }
        format!("PATH={}:$PATH {}", local.display(), link.display())
    }

    /// A command that leads to it (`ssh_command`).
    pub fn ssh_command(&self) -> String {
        format!("{} {}@127.0.0.1", self.dir.path().join("local/ssh").display(), crate::lab::user())
    }

    /// Puts a program of this name before the one that is there.
    pub fn remote_program(&self, name: &str, script: &str) {
        write_script(&self.dir.path().join("remote").join(name), script);
    }

    /// Takes it away again.
    pub fn no_remote_program(&self, name: &str) {
        fs::remove_file(self.dir.path().join("remote").join(name)).unwrap();
    }

    /// From now on this is run for each command, which is in `SSH_ORIGINAL_COMMAND`.
    pub fn force(&self, script: &str) {
        write_script(&self.dir.path().join("force"), script);
    }

    /// As it is at first: the programs put there come before all others.
    pub fn force_usual(&self) {
        let remote = self.dir.path().join("remote");
        self.force(&format!("PATH={}:$PATH\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"", remote.display()));
    }

    /// How many connections it has let in.
    pub fn connections(&self) -> usize {
        fs::read_to_string(self.dir.path().join("log")).unwrap().matches("Accepted publickey").count()
    }

    /// Cuts every connection; new ones are let in.
    pub fn cut(&self) {
        let mut pkill = Command::new("pkill");
        assert!(pkill.args(["-KILL", "-P", &self.child.id().to_string()]).status().unwrap().success());
    }

    fn path(&self) -> String {
        format!("{}:{}", self.dir.path().join("local").display(), std::env::var("PATH").unwrap())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

pub fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `(exit code, or minus the signal; stdout; stderr)`.
pub fn told(output: &Output) -> (i32, String, String) {
    use std::os::unix::process::ExitStatusExt as _;
    let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (code, text(&output.stdout), text(&output.stderr))
}
