//! What is asked of a server that has started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::binaries::Binaries;
use super::blame::answer;
use super::instance::Instance;
use super::report::RestoredDatabase;
use super::scratch::new_file;
use super::{VerifyRestoreError, VerifyRestoreOptions};
use crate::Context;

/// Of what a check printed, the end.
const MOST_OUTPUT: u64 = 64 * 1024;

/// What came of a check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckOutcome {
    /// Whether it found nothing wrong.
    pub passed: bool,
    /// What it printed, the last lines.
    pub output: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A role that may do everything: the one `initdb` made, whatever its name is now.
pub(super) fn superuser(
    instance: &Instance<'_>,
    candidates: &[String],
    context: &Context<'_>,
) -> Result<String, VerifyRestoreError> {
    let mut refused = VerifyRestoreError::Unasked { reason: "there is no role to connect as".to_owned() };
    for user in candidates {
        match instance.connect(user, "template1", context) {
            Ok(mut connection) => {
                let rows = connection
                    .query("SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10 AND rolcanlogin")
                    .map_err(|error| answer(&error, "", &instance.log()))?;
                return Ok(rows.value(0, 0).map_or_else(|| user.clone(), str::to_owned));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Connects to every database and reads its catalog.
pub(super) fn databases(
    instance: &Instance<'_>,
    user: &str,
    context: &Context<'_>,
) -> Result<Vec<RestoredDatabase>, VerifyRestoreError> {
    let mut connection = instance.connect(user, "template1", context)?;
    let listed = connection
        .query(
            "SELECT datname, pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database \
             WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname",
        )
        .map_err(|error| answer(&error, "", &instance.log()))?;
    drop(connection);
    let mut found = Vec::new();
    for row in listed.iter() {
        if context.stopped() {
            return Err(VerifyRestoreError::Stopped);
        }
        let mut values = row.into_iter();
        let name = values.next().flatten().unwrap_or_default().to_owned();
        let size = values.next().flatten().and_then(|size| size.parse().ok()).unwrap_or(0);
        let mut connection = instance.connect(user, &name, context)?;
        let rows = connection
            .query("SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid")
            .map_err(|error| answer(&error, &format!("database \"{name}\": "), &instance.log()))?;
        drop(rows);
        found.push(RestoredDatabase { name, size });
    }
    Ok(found)
}

/// Every heap and B-tree index of every database, by `pg_amcheck`.
pub(super) fn amcheck(
    instance: &Instance<'_>,
    program: &Path,
    user: &str,
    options: &VerifyRestoreOptions,
    output: &Path,
    context: &Context<'_>,
) -> Result<CheckOutcome, VerifyRestoreError> {
    let mut command = instance.client(program, user);
    let jobs = crate::processors().to_string();
    command.args(["--all", "--install-missing", "--jobs", &jobs]);
    run(command, program, output, options.timeout, context)
}

/// The SQL of the user.
pub(super) fn sql(
    instance: &Instance<'_>,
    binaries: &Binaries,
    user: &str,
    file: &Path,
    options: &VerifyRestoreOptions,
    output: &Path,
    context: &Context<'_>,
) -> Result<CheckOutcome, VerifyRestoreError> {
    let io = |source| VerifyRestoreError::Io { path: file.to_owned(), source };
    let script = File::open(file).map_err(io)?;
    if let Some(psql) = binaries.client("psql") {
        let mut command = instance.client(&psql, user);
        command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &options.database, "-f", "-"]);
        // Read by us: the server's user need not be allowed to.
        command.stdin(script);
        return run(command, &psql, output, options.timeout, context);
    }
    let started = Instant::now();
    let mut text = String::new();
    script.take(16 * 1024 * 1024).read_to_string(&mut text).map_err(io)?;
    let mut connection = instance.connect(user, &options.database, context)?;
    let answer = connection.query(&text);
    let elapsed = started.elapsed();
    Ok(match answer {
        Ok(rows) => {
            let mut output = Vec::new();
            for row in rows.iter().take(200) {
                let values: Vec<&str> = row.into_iter().map(Option::unwrap_or_default).collect();
                output.push(values.join("|"));
            }
            CheckOutcome { passed: true, output, elapsed }
        }
        Err(error) => CheckOutcome { passed: false, output: vec![error.to_string()], elapsed },
    })
}

/// Runs a program to its end, or until it is to stop.
fn run(
    mut command: Command,
    program: &Path,
    output: &Path,
    timeout: Duration,
    context: &Context<'_>,
) -> Result<CheckOutcome, VerifyRestoreError> {
    let started = Instant::now();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyRestoreError::Io { path, source }
    };
    // The one before is read, and the directory is ours alone.
    drop(std::fs::remove_file(output));
    let file = new_file(output, 0o600).map_err(io(output))?;
    let copy = file.try_clone().map_err(io(output))?;
    let mut child = command.stdout(copy).stderr(file).spawn().map_err(io(program))?;
    let mut ended = None;
    while ended.is_none() {
        ended = child.try_wait().map_err(io(program))?;
        let late = started.elapsed() >= timeout;
        if ended.is_none() && (late || context.stopped()) {
            drop(child.kill());
            drop(child.wait());
            if !late {
                return Err(VerifyRestoreError::Stopped);
            }
            let mut output = last_lines(output);
            output
                .push(format!("ended after {} seconds, which is as long as it may take", timeout.as_secs()));
            return Ok(CheckOutcome { passed: false, output, elapsed: started.elapsed() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let passed = ended.is_some_and(|status| status.success());
    Ok(CheckOutcome { passed, output: last_lines(output), elapsed: started.elapsed() })
}

fn last_lines(path: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |found| found.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(MOST_OUTPUT)));
        drop(file.take(MOST_OUTPUT).read_to_end(&mut bytes));
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().rev().take(200).rev().map(|line| (*line).to_owned()).collect()
}
