//! `tapster.conf(5)`, of the table of keys.

use clap_mangen::roff::{Roff, bold, roman};
use tapster_manager::config::{KeySpec, Kind, SERVER_KEYS};

use super::{MANUAL, SOURCE, assemble, keys};

/// The name of the page.
pub(super) const NAME: &str = "tapster.conf";

/// A whole configuration.
const EXAMPLE: &str = "\
[barman]
barman_home = /var/lib/barman
barman_user = barman
log_file = /var/log/barman/barman.log
configuration_files_directory = /etc/tapster.conf.d

[main]
description = The shop's database
conninfo = host=db1 user=barman dbname=postgres
streaming_conninfo = host=db1 user=streaming_barman
backup_method = postgres
streaming_archiver = on
slot_name = barman
create_slot = auto
compression = zstd
retention_policy = RECOVERY WINDOW OF 2 WEEKS
minimum_redundancy = 2";

const DESCRIPTION: &[&str] = &[
    "The configuration is one file: the one named with --config or in BARMAN_CONFIG_FILE, otherwise the first that exists of \
     /etc/tapster.conf, ~/.barman.conf, /etc/barman.conf and /etc/barman/barman.conf. It is the format, and these are the \
     options, of Barman 3.19: both programs can use one file.",
    "Further files are read from configuration_files_directory, and <barman_home>/.barman.auto.conf, which config-update writes, \
     last. Of an option that is set twice, the last one counts.",
    "A file has sections, '[name]' on a line, with lines 'option = value'. Lines that begin with # or ; are comments; nothing \
     else is, and a comment cannot stand behind a value. An indented line continues the one before. One pair of quotes around \
     a value is removed. %(option)s in a value stands for another option of the same section. An empty value unsets an option.",
    "The section [barman] says what is so for the program and for all servers. Every other section is a server, called by the \
     name of the section; 'all' cannot be one. A section with 'model = true' and 'cluster = NAME' is a model instead: \
     options that take the place of a server's of that cluster while 'tapster config-switch' has made the model active.",
    "A value that an option cannot have is ignored with a warning: that of [barman] or the default takes its place.",
];

/// The page.
pub(super) fn render() -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["TAPSTER.CONF", "5", " ", SOURCE, MANUAL]).control("nh", []).control("ad", ["l"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{NAME} - configuration of tapster"))]);
    roff.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in DESCRIPTION.iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(*paragraph)]);
    }
    roff.control("SH", ["OPTIONS OF THE SECTION [barman]"]);
    roff.text([roman("And those below that can be set there for all servers.")]);
    for (name, kind, default, meaning) in keys::GLOBAL {
        let default = (!default.is_empty()).then_some(*default);
        option(&mut roff, name, &facts(kind, default, &[]), meaning);
    }
    roff.control("SH", ["OPTIONS OF SERVERS"]);
    for (spec, meaning) in SERVER_KEYS.iter().filter_map(|spec| {
        let (_, meaning) = keys::SERVER.iter().find(|(name, _)| *name == spec.name)?;
        Some((spec, meaning))
    }) {
        option(&mut roff, spec.name, &facts_of(spec), meaning);
    }
    roff.control("SH", ["OPTIONS WITHOUT EFFECT"]);
    roff.text([roman(
        "Options of Barman for cloud storage, cloud snapshots and WarehousePG are read and checked, and have no effect in this \
         version:",
    )]);
    roff.control("PP", []).text([roman(format!("{}.", keys::WITHOUT_EFFECT.join(", ")))]);
    roff.control("SH", ["EXAMPLE"]).control("nf", []);
    EXAMPLE.lines().for_each(|line| {
        roff.text([roman(line)]);
    });
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("tapster"),
        roman("(1), "),
        bold("tapster-show-servers"),
        roman("(1), "),
        bold("tapster-diagnose"),
        roman("(1)"),
    ]);
    assemble(&[roff.render()])
}

fn option(roff: &mut Roff, name: &str, facts: &str, meaning: &str) {
    roff.control("TP", []).text([bold(name), roman(format!(" ({facts})"))]).text([roman(meaning)]);
}

/// `number; default: 30; also in [barman], in models`.
fn facts(kind: &str, default: Option<&str>, places: &[&str]) -> String {
    let mut facts = vec![kind.to_owned()];
    facts.extend(default.map(|default| format!("default: {default}")));
    if !places.is_empty() {
        facts.push(format!("also in {}", places.join(", in ")));
    }
    facts.join("; ")
}

fn facts_of(spec: &KeySpec) -> String {
    let places: Vec<&str> = [(spec.global, "[barman]"), (spec.model, "models")]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, place)| place)
        .collect();
    facts(&values(spec.kind), spec.default.filter(|default| !default.is_empty()), &places)
}

/// What values look like.
fn values(kind: Kind) -> String {
    let words: Vec<&str> = kind.words().iter().copied().filter(|word| !word.is_empty()).collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    match kind {
        Kind::Bool => "true or false",
        Kind::Int => "number",
        Kind::Interval => "time, such as 3 DAYS",
        Kind::Size => "size, such as 10Gi",
        Kind::AbsolutePath => "absolute path",
        Kind::PathOrUrl => "path",
        Kind::List => "words separated by commas",
        Kind::SlotName => "lower-case letters, digits and underscores",
        Kind::CompressionLevel => "low, medium, high or a number",
        Kind::BackupOptions => {
            "concurrent_backup, exclusive_backup, external_configuration; separated by commas"
        }
        Kind::RecoveryOptions => "get-wal, delta-restore; separated by commas",
        _ => "text",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use tapster_manager::config::{Config, ConfigSources};

    use super::*;

    #[test]
    fn values_of_every_kind_are_described() {
        for spec in SERVER_KEYS.iter().filter(|spec| spec.kind != Kind::Text) {
            assert_ne!(values(spec.kind), "text", "{}", spec.name);
        }
    }

    #[test]
    fn each_option_has_its_facts() {
        let page = render();
        let line = "\\fBcheck_timeout\\fR (number; default: 30; also in [barman], in models)\n";
        assert!(page.contains(line), "{page}");
        for spec in SERVER_KEYS {
            assert!(page.contains(spec.name), "{}", spec.name);
        }
    }

    #[test]
    fn the_example_is_a_configuration_without_a_warning() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let more = tempfile::tempdir().unwrap();
        let text = EXAMPLE.replace("/etc/tapster.conf.d", more.path().to_str().unwrap());
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let config = Config::load(&ConfigSources::file(file.path())).unwrap();
        let server = &config.servers["main"];
        assert!(!server.disabled && server.warnings.is_empty(), "{server:?}");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}
