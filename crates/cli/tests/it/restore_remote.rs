//! `restore --remote-ssh-command` through a real sshd, compared with Barman's.

use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, Receiver};
use crate::program::Run;
use crate::sshd::Sshd;

const QUESTION: &str = "SELECT (SELECT count(*) FROM inside) || ',' || (SELECT sum(i) FROM outside)";

/// A server with a table in a tablespace whose name and place need quoting.
fn ready() -> Option<(Lab, Receiver)> {
    let lab = Lab::with(|builder| builder.wal_segment_mb(1))?;
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE inside AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i");
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 1000) AS i");
    let receiver = lab.receive();
    Some((lab, receiver))
}

fn configure(lab: &Lab, extra: &str) {
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), extra);
}

/// The other host.
fn host(lab: &Lab) -> Option<Sshd> {
    Sshd::start_with("exit 1", None, &lab.path("tapster.conf"))
}

/// Where a restore goes, with blanks and quotes.
struct Place {
    data: PathBuf,
    space: PathBuf,
}

impl Place {
    fn new(lab: &Lab, name: &str) -> Self {
        let dir = lab.destination(name);
        Self { data: dir.join("it's a place").join(name), space: dir.join("sp'a ce") }
    }

    fn words(&self, ssh: &str, backup: &str, more: &[&str]) -> Vec<String> {
        let tablespace = format!("space:{}", self.space.display());
        let first = ["restore", "--remote-ssh-command", ssh, "--tablespace", &tablespace];
        let last = ["main", backup, self.data.to_str().unwrap()];
        first.iter().chain(more).chain(&last).map(|word| (*word).to_owned()).collect()
    }

    fn restore(&self, lab: &Lab, ssh: &str, backup: &str, more: &[&str]) -> Run {
        let words = self.words(ssh, backup, more);
        lab.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Its answer once it runs.
    fn ask(&self, lab: &Lab) -> String {
        let mut chown = Command::new("chown");
        chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(self.space.parent().unwrap());
        assert!(chown.status().unwrap().success());
        lab.ask_restored(&self.data, QUESTION)
    }
}

#[test]
fn every_form_goes_to_another_host_over_one_connection() {
    let Some((lab, _receiver)) = ready() else { return };
    let Some(sshd) = host(&lab) else { return };
    let ssh = sshd.ssh_command();
    for (name, settings) in [("plain", ""), ("gzip", "backup_compression = gzip\n")] {
        configure(&lab, settings);
        lab.ok(&["backup", "main", "--wait"]);
        let place = Place::new(&lab, name);
        let before = sshd.connections();
        let run = place.restore(&lab, &ssh, "latest", &["--target-immediate", "--target-action", "promote"]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.contains(&format!("Remote command: {ssh}\n")), "{run:?}");
        assert_eq!(sshd.connections() - before, 1, "{name}");
        assert_eq!(place.ask(&lab), "5000,500500", "{name}");
    }
}
