//! What `pg_basebackup -R` writes, so that a server started on the backup is a standby of the one it came from
//! (`fe_utils/recovery_gen.c`).

use tapster_protocol::{ConnInfo, Environment, ServerVersion, SlotName};

/// Appended to, from PostgreSQL 12 on.
pub const AUTO_CONF: &str = "postgresql.auto.conf";
/// Made empty, from PostgreSQL 12 on.
pub const STANDBY_SIGNAL: &str = "standby.signal";
/// Before PostgreSQL 12.
pub const RECOVERY_CONF: &str = "recovery.conf";

/// A connection option with its variable and the default that libpq 15 puts into `PQconninfo`.
type Keyword = (&'static str, Option<&'static str>, Option<&'static str>);

/// libpq's order. What newer releases added is written only when it was given: an older standby would refuse it.
const KEYWORDS: [Keyword; 41] = [
    ("service", Some("PGSERVICE"), None),
    ("user", Some("PGUSER"), None),
    ("password", Some("PGPASSWORD"), None),
    ("passfile", Some("PGPASSFILE"), None),
    ("channel_binding", Some("PGCHANNELBINDING"), Some("prefer")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), None),
    ("host", Some("PGHOST"), None),
    ("hostaddr", Some("PGHOSTADDR"), None),
    ("port", Some("PGPORT"), Some("5432")),
    ("client_encoding", Some("PGCLIENTENCODING"), None),
    ("options", Some("PGOPTIONS"), None),
    ("application_name", Some("PGAPPNAME"), None),
    ("keepalives", None, None),
    ("keepalives_idle", None, None),
    ("keepalives_interval", None, None),
    ("keepalives_count", None, None),
    ("tcp_user_timeout", None, None),
    ("sslmode", Some("PGSSLMODE"), Some("prefer")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), None),
    ("sslcompression", Some("PGSSLCOMPRESSION"), Some("0")),
    ("sslcert", Some("PGSSLCERT"), None),
    ("sslkey", Some("PGSSLKEY"), None),
    ("sslcertmode", Some("PGSSLCERTMODE"), None),
    ("sslpassword", None, None),
    ("sslrootcert", Some("PGSSLROOTCERT"), None),
    ("sslcrl", Some("PGSSLCRL"), None),
    ("sslcrldir", Some("PGSSLCRLDIR"), None),
    ("sslsni", Some("PGSSLSNI"), Some("1")),
    ("requirepeer", Some("PGREQUIREPEER"), None),
    ("require_auth", Some("PGREQUIREAUTH"), None),
    ("min_protocol_version", Some("PGMINPROTOCOLVERSION"), None),
    ("max_protocol_version", Some("PGMAXPROTOCOLVERSION"), None),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Some("TLSv1.2")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), None),
    ("gssencmode", Some("PGGSSENCMODE"), Some("prefer")),
    ("krbsrvname", Some("PGKRBSRVNAME"), Some("postgres")),
    ("gsslib", Some("PGGSSLIB"), None),
    ("gssdelegation", Some("PGGSSDELEGATION"), None),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Some("any")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), None),
    ("sslkeylogfile", None, None),
];

/// The value of `primary_conninfo`: the connection as it was made, **with the password** if one was given.
pub fn primary_conninfo(conninfo: &ConnInfo, environment: &Environment) -> String {
    let mut text = String::new();
    for (name, variable, default) in KEYWORDS {
        let own = match name {
            "user" => environment.os_user.clone(),
            "passfile" => environment.home.as_ref().map(|home| home.join(".pgpass").display().to_string()),
            _ => default.map(str::to_owned),
        };
        let given =
            conninfo.get(name).or_else(|| variable.and_then(|variable| environment.variable(variable)));
        if let Some(value) = given.map(str::to_owned).or(own).filter(|value| !value.is_empty()) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
            text.push('=');
            push_value(&mut text, &value);
        }
    }
    text
}

/// `appendConnStrVal`.
fn push_value(text: &mut String, value: &str) {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
        text.push_str(value);
        return;
    }
    text.push('\'');
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('\'');
}

/// A file of the data directory that makes the backup a standby.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecoveryFile {
    /// Its name.
    pub name: &'static str,
    /// What is added at its end.
    pub content: Vec<u8>,
}

/// The files for a server of `version`.
pub fn files(version: ServerVersion, primary_conninfo: &str, slot: Option<&SlotName>) -> Vec<RecoveryFile> {
    let mut settings = format!("primary_conninfo = '{}'\n", escape(primary_conninfo));
    if let Some(slot) = slot {
        settings.push_str(&format!("primary_slot_name = '{slot}'\n"));
    }
    if version.major() < 12 {
        let content = format!("standby_mode = 'on'\n{settings}").into_bytes();
        return vec![RecoveryFile { name: RECOVERY_CONF, content }];
    }
    vec![
        RecoveryFile { name: AUTO_CONF, content: settings.into_bytes() },
        RecoveryFile { name: STANDBY_SIGNAL, content: Vec::new() },
    ]
}

/// A value inside the quotes of a configuration file.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_basebackup_15_writes() {
        let conninfo =
            ConnInfo::parse("host=/run/pg port=7788 user=postgres dbname=x replication=true").unwrap();
        let environment = Environment { home: Some("/home/me".into()), ..Environment::default() };
        let text = primary_conninfo(&conninfo, &environment);
        let files = files(ServerVersion(150_010), &text, Some(&SlotName::new("s").unwrap()));
        assert_eq!(
            String::from_utf8(files[0].content.clone()).unwrap(),
            "primary_conninfo = 'user=postgres passfile=''/home/me/.pgpass'' channel_binding=prefer host=''/run/pg'' \
             port=7788 sslmode=prefer sslcompression=0 sslsni=1 ssl_min_protocol_version=TLSv1.2 gssencmode=prefer \
             krbsrvname=postgres target_session_attrs=any'\nprimary_slot_name = 's'\n"
        );
        assert_eq!((files[1].name, files[1].content.len()), (STANDBY_SIGNAL, 0));
    }

    #[test]
    fn quotes_survive_both_readers() {
        let mut conninfo = ConnInfo::new();
        conninfo.set("password", r"it's \ here").unwrap();
        let text = primary_conninfo(&conninfo, &Environment::default());
        assert_eq!(ConnInfo::parse(&text).unwrap().get("password"), Some(r"it's \ here"));
        let old = files(ServerVersion(110_000), &text, None);
        let line = String::from_utf8(old[0].content.clone()).unwrap();
        assert!(
            line.starts_with("standby_mode = 'on'\nprimary_conninfo = 'password=''it\\\\''s \\\\\\\\ here''"),
            "{line}"
        );
    }
}
