//! The settings PostgreSQL recovers by, as lines for its configuration.

use std::path::{Component, Path};

use super::settings::quote;
use super::standby;
use super::{
    RecoveryTarget, RemoteOptions, RestoreOptions, RestorePlan, RestorePlanError, TargetAction,
    TimelineTarget,
};

/// First version with recovery settings in the ordinary configuration files.
const MERGED: u32 = 120_000;
/// First version with `recovery_target_action`.
const WITH_ACTION: u32 = 90_500;

/// An exit code at which PostgreSQL stops instead of ending recovery.
const STOP_RECOVERY: u8 = 200;

/// Refuses a file for the settings that would not be one of the data directory.
pub(super) fn check(options: &RestoreOptions) -> Result<(), RestorePlanError> {
    let Some(name) = &options.recovery_conf_filename else { return Ok(()) };
    let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !is_inside {
        let problem = format!("'{name}' is no file of the data directory");
        return Err(RestorePlanError::Value { option: "recovery_conf_filename", problem });
    }
    Ok(())
}

/// Where recovery settings go, and what they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RecoveryConf {
    /// File that the lines are appended to.
    pub(super) file: String,
    /// The lines.
    pub(super) lines: Vec<String>,
    /// `recovery.signal` or `standby.signal`.
    pub(super) signal: Option<&'static str>,
}

/// Whether the release has recovery settings in the ordinary configuration files.
fn is_merged(plan: &RestorePlan) -> bool {
    plan.record.version.is_none_or(|version| version >= MERGED)
}

/// The ordinary configuration file that is for the settings, whether there are any or not: another one may include it, and the
/// server does not start where it is missing. `None` for a release that wants them in a file of their own.
pub(super) fn settings_file(plan: &RestorePlan) -> Option<String> {
    let file = plan.options.recovery_conf_filename.as_deref().unwrap_or("postgresql.auto.conf");
    is_merged(plan).then(|| file.to_owned())
}

/// The settings for `plan`; `None` when the cluster is to start by plain crash recovery from `pg_wal`.
pub(super) fn recovery_conf(plan: &RestorePlan, server: &str, os_user: &str) -> Option<RecoveryConf> {
    let options = &plan.options;
    if !plan.pitr && !plan.get_wal && !options.standby_mode {
        return None;
    }
    let version = plan.record.version;
    let merged = is_merged(plan);
    let mut lines = Vec::new();
    if plan.get_wal {
        let program = &options.program;
        match &options.restore_command {
            Some(command) => lines.push(format!("restore_command = {}", quote(command))),
            None if options.remote.is_some() => {
                let text = "# The 'barman-wal-restore' command is provided in the 'barman-cli' package";
                lines.push(text.to_owned());
                let remote = options.remote.clone().unwrap_or_default();
                let command = wal_restore_command(&remote, server, options.standby_mode);
                lines.push(format!("restore_command = {}", quote(&command)));
            }
            None if plan.wal_in_bucket => {
                let server = shell_quote(Path::new(server));
                let command = format!("{program} cloud-wal-restore {server} %f %p");
                lines.push(format!("restore_command = {}", quote(&command)));
            }
            None => {
                lines.push(format!("# The 'barman get-wal' command must run as '{os_user}' user"));
                let server = shell_quote(Path::new(server));
                lines.push(format!(
                    "restore_command = {}",
                    quote(&get_wal_command(program, &server, options.standby_mode))
                ));
            }
        }
    } else if let Some(dir) = plan.wal_directory.as_deref().filter(|_| plan.pitr && !options.standby_mode) {
        let dir = shell_quote(dir);
        lines.push(format!("restore_command = {}", quote(&copy_command(&dir))));
        lines.push(format!("recovery_end_command = {}", quote(&format!("rm -fr {dir}"))));
    }
    match &options.target {
        RecoveryTarget::End => {}
        RecoveryTarget::Time(time) => {
            lines.push(format!("recovery_target_time = '{}'", TimeText(*time)));
        }
        RecoveryTarget::Lsn(lsn) => lines.push(format!("recovery_target_lsn = '{lsn}'")),
        RecoveryTarget::Xid(xid) => lines.push(format!("recovery_target_xid = '{xid}'")),
        RecoveryTarget::Name(name) => lines.push(format!("recovery_target_name = {}", quote(name))),
        RecoveryTarget::Immediate => lines.push("recovery_target = 'immediate'".to_owned()),
    }
    if options.exclusive
        && matches!(options.target, RecoveryTarget::Time(_) | RecoveryTarget::Lsn(_) | RecoveryTarget::Xid(_))
    {
        lines.push("recovery_target_inclusive = 'False'".to_owned());
    }
    match options.timeline {
        // Before that it is what is done without a word, and no value.
        Some(TimelineTarget::Current) if !merged => {}
        // A standby follows its primary only when it is told to.
        None if !merged && options.primary_conninfo.is_some() => {
            lines.push("recovery_target_timeline = latest".to_owned());
        }
        None => {}
        Some(TimelineTarget::Current) => lines.push("recovery_target_timeline = current".to_owned()),
        Some(TimelineTarget::Latest) => lines.push("recovery_target_timeline = latest".to_owned()),
        Some(TimelineTarget::Number(timeline)) => {
            lines.push(format!("recovery_target_timeline = {timeline}"))
        }
    }
    match options.action {
        Some(action) if version.is_none_or(|version| version >= WITH_ACTION) => {
            lines.push(format!("recovery_target_action = '{}'", action.as_str()));
        }
        Some(TargetAction::Pause) => lines.push("pause_at_recovery_target = 'on'".to_owned()),
        _ => {}
    }
    lines.extend(standby::lines(options));
    let Some(file) = settings_file(plan) else {
        if options.standby_mode {
            lines.push("standby_mode = 'on'".to_owned());
        }
        return Some(RecoveryConf { file: "recovery.conf".to_owned(), lines, signal: None });
    };
    let signal = if options.standby_mode { "standby.signal" } else { "recovery.signal" };
    Some(RecoveryConf { file, lines, signal: Some(signal) })
}

/// PostgreSQL takes every exit code up to 125 for "there is no such file" and ends recovery there, and the shell has such a
/// code for a file that it cannot open: so that is tried before.
fn get_wal_command(program: &str, server: &str, standby: bool) -> String {
    if standby {
        // It goes on asking: the beginning of a segment would end its replay too early, and a file that cannot be read just
        // now (then the program exits with more than 125) is no reason to shut down.
        format!("{program} get-wal  {server} %f > %p || exit 1")
    } else {
        format!("true > %p || exit {STOP_RECOVERY}; {program} get-wal -P {server} %f > %p")
    }
}

/// On another host; the program says by its exit code what PostgreSQL is to think of a failure.
fn wal_restore_command(remote: &RemoteOptions, server: &str, standby: bool) -> String {
    let word = |text: &str| shell_quote(Path::new(text));
    let mut words = vec!["barman-wal-restore".to_owned()];
    if !standby {
        words.push("-P".to_owned());
    }
    words.extend(["-U".to_owned(), word(&remote.user)]);
    if let Some(port) = &remote.port {
        words.extend(["--port".to_owned(), word(port)]);
    }
    words.extend([word(&remote.this_host), word(server), "%f %p".to_owned()]);
    if remote.wal_jobs > 1 {
        words.push(format!("-p {}", remote.wal_jobs));
    }
    words.join(" ")
}

/// Likewise: `cp` has one exit code for a file that is not there and for a full disk. A directory that is gone altogether has
/// done its service, and the cluster is perhaps a standby now.
fn copy_command(dir: &str) -> String {
    format!(
        "if test -e {dir}/%f; then cp {dir}/%f %p || exit {STOP_RECOVERY}; elif test -d {dir} -a ! -x {dir}; then exit \
         {STOP_RECOVERY}; else exit 1; fi"
    )
}

/// `%` is PostgreSQL's own escape in these commands.
fn shell_quote(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+,:@=%".contains(&b));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `2026-11-21 00:07:20.915309+00:00`, microseconds left out when zero, as Python prints a datetime.
pub(super) struct TimeText(pub(super) time::OffsetDateTime);

impl std::fmt::Display for TimeText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.0;
        let (hour, minute, second, micro) = time.to_hms_micro();
        write!(f, "{} {hour:02}:{minute:02}:{second:02}", time.date())?;
        if micro != 0 {
            write!(f, ".{micro:06}")?;
        }
        let (hours, minutes, _) = time.offset().as_hms();
        let sign = if time.offset().is_negative() { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs())
    }
}

/// The target in Barman's words: `Recovery target time: '…', timeline: '2'`.
pub(super) fn describe_target(plan: &RestorePlan) -> Option<String> {
    let mut parts = Vec::new();
    match &plan.options.target {
        RecoveryTarget::End => {}
        RecoveryTarget::Time(time) => parts.push(format!("time: '{}'", TimeText(*time))),
        RecoveryTarget::Lsn(lsn) => parts.push(format!("lsn: '{lsn}'")),
        RecoveryTarget::Xid(xid) => parts.push(format!("xid: '{xid}'")),
        RecoveryTarget::Name(name) => parts.push(format!("name: '{name}'")),
        RecoveryTarget::Immediate => parts.push("immediate: True".to_owned()),
    }
    if plan.options.timeline.is_some() {
        parts.push(format!("timeline: '{}'", plan.wal.timeline));
    }
    plan.pitr.then(|| format!("Recovery target {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_as_python_prints_them() {
        assert_eq!(
            TimeText(datetime!(2026-11-21 00:07:20.915309 UTC)).to_string(),
            "2026-11-21 00:07:20.915309+00:00"
        );
        assert_eq!(TimeText(datetime!(2026-01-02 03:04:05 -3:30)).to_string(), "2026-01-02 03:04:05-03:30");
    }

    #[test]
    fn paths_survive_the_shell_and_postgresql() {
        assert_eq!(shell_quote(Path::new("/srv/lab/rec/barman_wal")), "/srv/lab/rec/barman_wal");
        assert_eq!(shell_quote(Path::new("/a b/it's 5%")), "'/a b/it'\\''s 5%%'");
    }

    fn run(command: &str, file: &str, path: &Path) -> i32 {
        let command = command.replace("%f", file).replace("%p", &path.to_string_lossy());
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(command).stderr(std::process::Stdio::null());
        shell.status().unwrap().code().unwrap()
    }

    #[test]
    fn another_host_fetches_wal_in_barmans_words() {
        let mut remote = RemoteOptions::default();
        (remote.user, remote.this_host) = ("barman".to_owned(), "backup.example.org".to_owned());
        assert_eq!(
            wal_restore_command(&remote, "main", false),
            "barman-wal-restore -P -U barman backup.example.org main %f %p"
        );
        (remote.port, remote.wal_jobs) = (Some("2222".to_owned()), 3);
        assert_eq!(
            wal_restore_command(&remote, "a b", true),
            "barman-wal-restore -U barman --port 2222 backup.example.org 'a b' %f %p -p 3"
        );
    }

    #[test]
    fn what_cannot_be_copied_is_not_missing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("staged wal");
        std::fs::create_dir(&dir).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(dir.join("there")).unwrap(), b"x").unwrap();
        let (target, nowhere) = (root.path().join("RECOVERYXLOG"), root.path().join("none/RECOVERYXLOG"));
        let command = copy_command(&shell_quote(&dir));
        assert_eq!(run(&command, "there", &target), 0);
        assert_eq!(std::fs::read(&target).unwrap(), b"x");
        assert_eq!(run(&command, "absent", &target), 1);
        assert_eq!(run(&command, "there", &nowhere), 200);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(run(&command, "there", &target), 1);
    }

    #[test]
    fn what_cannot_be_written_is_not_missing() {
        let root = tempfile::tempdir().unwrap();
        let (target, nowhere) = (root.path().join("RECOVERYXLOG"), root.path().join("none/RECOVERYXLOG"));
        let code = |program, standby, path| run(&get_wal_command(program, "main", standby), "x", path);
        assert_eq!(code("echo", false, &target), 0);
        assert_eq!(std::fs::read(&target).unwrap(), b"get-wal -P main x\n");
        assert_eq!(code("false", false, &target), 1);
        assert_eq!(code("sh -c 'exit 200'", false, &target), 200);
        assert_eq!(code("echo", false, &nowhere), 200);
        // A standby tries again.
        assert_eq!(code("sh -c 'exit 200'", true, &target), 1);
        assert_eq!(code("echo", true, &nowhere), 1);
    }
}
