//! Connection strings against what libpq 15 made of the same text (`tests/data/conninfo/make-golden`).

use proptest::prelude::*;
use tapster_protocol::conninfo::{ConnInfo, ConnInfoError};

/// A golden line's fields.
pub fn fields(line: &str) -> Vec<String> {
    line.split('\t').map(unescape).collect()
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.unwrap(),
            },
            (c, false) => c,
        });
    }
    out
}

#[test]
fn same_as_libpq() {
    let mut cases = 0;
    for line in include_str!("../data/conninfo/parse.txt").split_terminator('\n') {
        let fields = fields(line);
        let (input, verdict, rest) = (&fields[0], fields[1].as_str(), &fields[2..]);
        let parsed = ConnInfo::parse(input);
        match verdict {
            "ok" => {
                let parsed = parsed.unwrap_or_else(|error| panic!("{input:?}: {error}"));
                let mut found: Vec<String> =
                    parsed.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let mut expected = rest.to_vec();
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{input:?}");
            }
            _ => {
                let error = parsed.map(|parsed| panic!("{input:?} gave {parsed}")).unwrap_err().to_string();
                // libpq repeats the whole URI, which may hold a password; these errors do not.
                let expected = rest[0].split(" in URI: \"").next().unwrap();
                let expected = expected.split("): \"").next().unwrap().replace("\"p%zz\"", "\"********\"");
                assert!(error.starts_with(&expected), "{input:?}: {error:?} is not {expected:?}");
            }
        }
        cases += 1;
    }
    assert!(cases > 100, "{cases}");
}

#[test]
fn options_of_later_versions() {
    let text = "require_auth=scram-sha-256 sslnegotiation=direct sslcertmode=disable load_balance_hosts=random \
                gssdelegation=0 max_protocol_version=3.2 min_protocol_version=3.0 servicefile=/x";
    assert_eq!(ConnInfo::parse(text).unwrap().iter().count(), 8);
}

#[test]
fn secrets_are_not_shown() {
    let conninfo = ConnInfo::parse("host=pg password='very secret' sslpassword=secret2 user=u").unwrap();
    for shown in [conninfo.to_string(), format!("{conninfo:?}"), format!("{conninfo:#?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    assert_eq!(conninfo.to_string(), "host=pg password=******** sslpassword=******** user=u");
    assert_eq!(conninfo.to_conninfo_string(), "host=pg password='very secret' sslpassword=secret2 user=u");
    // An unquoted blank in a password is the usual mistake; the error must not show the rest of it.
    let errors = [
        "password=very secret",
        "postgresql://u:secret%zz@h",
        "postgresql://u:secret%00@h",
        "postgresql://h?password=secret%ff",
        "postgresql://u:secret@[",
    ];
    for text in errors {
        let error = ConnInfo::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn zero_bytes_are_refused() {
    assert!(matches!(ConnInfo::parse("user=a\0b"), Err(ConnInfoError::ZeroByte { .. })));
    assert!(matches!(ConnInfo::new().set("user", "a\0b"), Err(ConnInfoError::ZeroByte { .. })));
    assert!(matches!(ConnInfo::new().set("bogus", "a"), Err(ConnInfoError::UnknownKeyword { .. })));
}

fn keyword() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "host",
        "port",
        "user",
        "password",
        "dbname",
        "options",
        "application_name",
        "sslmode",
    ])
}

proptest! {
    #[test]
    fn quoting_round_trips(values in prop::collection::vec((keyword(), "[^\0]*"), 0..8)) {
        let mut conninfo = ConnInfo::new();
        for (keyword, value) in values {
            conninfo.set(keyword, value).unwrap();
        }
        prop_assert_eq!(&ConnInfo::parse(&conninfo.to_conninfo_string()).unwrap(), &conninfo);
    }

    #[test]
    fn percent_encoding_round_trips(user in "[^\0]+", dbname in "[^\0]+", application in "[^\0]+") {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let uri = format!(
            "postgresql://{}@h/{}?application_name={}", encode(&user), encode(&dbname), encode(&application)
        );
        let conninfo = ConnInfo::parse(&uri).unwrap();
        prop_assert_eq!(conninfo.get("user"), Some(user.as_str()));
        prop_assert_eq!(conninfo.get("dbname"), Some(dbname.as_str()));
        prop_assert_eq!(conninfo.get("application_name"), Some(application.as_str()));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(postgres(ql)?://)?[-a-z0-9 ='\\\\:@/?&%,\\[\\]\\PC]*") {
        if let Ok(parsed) = ConnInfo::parse(&text) {
            prop_assert_eq!(ConnInfo::parse(&parsed.to_conninfo_string()).unwrap(), parsed);
        }
    }
}
