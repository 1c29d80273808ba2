//! The whole page over a catalog and a clock that do not change, and what holds of every page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::report::reports;
use tapster_manager::{Context, ReportOptions, Server, Silent};
use tapster_protocol::Environment;
use time::macros::{datetime, offset};

use super::{STYLE, page, policy};

const NOON: time::OffsetDateTime = datetime!(2026-11-21 12:00 +1);
/// Stays text, wherever it comes from.
const HOSTILE: &str = "\"'><script src=https://evil.example/x.js></script><img onerror=alert(1)>&amp;";

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// A file of WAL that was written so many hours before noon, and its line.
fn wal(wals: &Path, name: &str, hours: i64) -> String {
    let path = match name.get(..16) {
        Some(directory) if name.len() >= 24 => wals.join(directory).join(name),
        _ => wals.join(name),
    };
    let text = if name.ends_with(".history") { "1\t0/C000000\tno recovery target specified\n" } else { "x" };
    put(&path, text);
    let seconds = (NOON - time::Duration::hours(hours)).unix_timestamp();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    format!("{name}\t{}\t{seconds}.5\tgzip\tNone\n", text.len())
}

fn backup(server: &Path, id: &str, (timeline, segment): (u32, u32), more: &str) {
    let (day, hour) = (id.get(6..8).unwrap(), id.get(9..11).unwrap());
    let text = format!(
        "begin_time=2026-11-{day} {hour}:00:00+00:00\nbegin_wal={timeline:08X}00000000{segment:08X}\n\
         begin_xlog=0/{segment:X}000028\nend_time=2026-11-{day} {hour}:05:30+00:00\n\
         end_wal={timeline:08X}00000000{segment:08X}\nend_xlog=0/{segment:X}000100\nmode=postgres\nserver_name=main\n\
         size=12345678901\nsystemid=7710414077311651613\ntimeline={timeline}\nversion=170004\n\
         xlog_segment_size=16777216\n{more}"
    );
    put(&server.join(format!("meta/{id}-backup.info")), &text);
    fs::create_dir_all(server.join("base").join(id).join("data")).unwrap();
}

/// One of each kind: gaps, timelines, backups of all forms; a server without anything; one that is a copy, with its check.
fn example() -> String {
    let home = tempfile::tempdir().unwrap();
    let root = home.path();
    let config = root.join("tapster.conf");
    let text = format!(
        "[barman]\nbarman_home = {root}\nlog_file = {root}/log\n\
         [main]\ndescription = The shop {HOSTILE}\nconninfo = host=/nowhere\nbackup_method = postgres\n\
         streaming_conninfo = host=/nowhere\narchiver = on\nretention_policy = REDUNDANCY 2\nminimum_redundancy = 1\n\
         [young]\nconninfo = host=/nowhere\narchiver = on\n\
         [copy]\nprimary_ssh_command = false\n",
        root = root.display()
    );
    put(&config, &text);
    let main = root.join("main");
    backup(&main, "20261114T080000", (1, 3), "status=DONE\n");
    put(&main.join("meta/20261114T080000-keep"), "full");
    backup(&main, "20261116T080000", (1, 6), "status=DONE\n");
    backup(&main, "20261118T080000", (1, 11), "status=DONE\nbackup_name=before <b>the</b> sale\n");
    backup(&main, "20261119T080000", (2, 14), "status=DONE\nparent_backup_id=20261118T080000\n");
    backup(&main, "20261120T080000", (2, 17), &format!("status=FAILED\nerror=rsync said {HOSTILE}\n"));
    backup(&main, "20261121T080000", (2, 30), "status=WAITING_FOR_WALS\n");
    let wals = main.join("wals");
    let mut index = String::new();
    for segment in (3..8).chain(10..13) {
        let hours = 172 - i64::from(segment) * 10;
        index += &wal(&wals, &format!("0000000100000000{segment:08X}"), hours);
    }
    index += &wal(&wals, "00000002.history", 54);
    for segment in 12..20 {
        index += &wal(&wals, &format!("0000000200000000{segment:08X}"), 150 - i64::from(segment) * 7);
    }
    put(&main.join("wals/main-xlog.db"), &index);
    for directory in ["incoming", "streaming", "errors"] {
        fs::create_dir_all(main.join(directory)).unwrap();
    }

    let config = Config::load(&ConfigSources::file(config)).unwrap();
    assert_eq!(config.errors, Vec::<String>::new());
    let mut context = Context::new(&Silent);
    context.clock = || NOON;
    let made = |names: &[&str], check: bool| {
        let open = |name: &&str| Server::open(&config, name, Environment::default()).unwrap();
        let mut options = ReportOptions::default();
        options.check = check;
        reports(&names.iter().map(open).collect::<Vec<_>>(), &options, &context)
    };
    let mut all = made(&["main", "young"], false);
    all.extend(made(&["copy"], true));
    page(&all, NOON, &|_| offset!(+1))
}

#[test]
fn the_page_is_as_it_was() {
    let lines = example()
        .replace(STYLE, "")
        .replace(super::SCRIPT, "")
        .replace(&policy().replace('\'', "&#39;"), "[policy]")
        .replace("><", ">\n<");
    insta::assert_snapshot!(lines);
}

/// A tag as it stands in the page.
#[derive(Debug)]
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
    /// What it lies in, outermost first.
    within: Vec<String>,
    /// The text directly behind it.
    text: String,
}

/// Every element. Panics where one is not closed, or an attribute not in quotation marks.
fn tags(html: &str) -> Vec<Tag> {
    let (mut found, mut open): (Vec<Tag>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").expect("a document");
    while let Some((before, behind)) = rest.split_once('<') {
        assert!(!before.contains('>'), "{before:.80}");
        let (inside, behind) = behind.split_once('>').expect("the end of a tag");
        rest = behind;
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let closed = inside.ends_with('/');
        let (name, mut given) = inside.trim_end_matches('/').split_once(' ').unwrap_or((inside, ""));
        let name = name.trim_end_matches('/').to_owned();
        let mut attributes = BTreeMap::new();
        while let Some((key, more)) = given.trim_start().split_once("=\"") {
            let (value, more) = more.split_once('"').expect("the end of a value");
            assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{inside}");
            given = more;
        }
        assert!(given.trim().is_empty(), "{inside}");
        let text = behind.split('<').next().unwrap_or_default().to_owned();
        found.push(Tag { name: name.clone(), attributes, within: open.clone(), text });
        if name == "style" || name == "script" {
            rest = behind.split_once(&format!("</{name}>")).expect("its end").1;
        } else if !closed && name != "meta" {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
    found
}

#[test]
fn nothing_is_loaded_nothing_from_outside_is_markup_and_pictures_have_words() {
    let html = example();
    let tags = tags(&html);
    let of = |name: &'static str| tags.iter().filter(move |tag| tag.name == name);
    let ids: Vec<&String> = tags.iter().filter_map(|tag| tag.attributes.get("id")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for tag in &tags {
        let known = "a b body circle code dd defs desc details div dl dt figure footer g h1 h2 h3 head header html li line main \
                     meta nav ol p path pattern rect script section small span style summary svg table tbody td text th thead \
                     time title tr tspan ul use";
        assert!(known.split(' ').any(|name| name == tag.name), "{tag:?}");
        for (key, value) in &tag.attributes {
            assert!(
                !key.starts_with("on") && key != "src" && key != "style" && !key.contains(':'),
                "{tag:?}"
            );
            // A text in a title may say what it likes.
            assert!(key == "title" || !value.contains("//"), "{tag:?}");
        }
        if let Some(target) = tag.attributes.get("href") {
            assert!(
                target.strip_prefix('#').is_some_and(|id| ids.iter().any(|known| *known == id)),
                "{tag:?}"
            );
        }
    }
    let mut urls = STYLE.split("url(").skip(1);
    assert!(urls.all(|url| url.starts_with('#')) && !STYLE.contains("@import"));
    assert_eq!((of("script").count(), of("style").count()), (1, 1));
    assert!(!html.contains("<img") && html.contains("&lt;script src=https://evil.example/x.js&gt;"));
    // Names, messages and descriptions are all there, as text.
    assert!(html.contains("before &lt;b&gt;the&lt;/b&gt; sale") && html.matches("&amp;amp;").count() >= 3);

    // Every picture is either a decoration or has words.
    let words = |id: &str| {
        tags.iter()
            .find(|tag| tag.attributes.get("id").is_some_and(|known| known == id))
            .map(|tag| tag.text.trim())
    };
    for svg in of("svg").filter(|svg| !svg.attributes.contains_key("aria-hidden")) {
        assert_eq!(svg.attributes.get("role").map(String::as_str), Some("img"), "{svg:?}");
        let label = svg.attributes.get("aria-label").map(|label| !label.is_empty());
        let labelled = svg
            .attributes
            .get("aria-labelledby")
            .map(|labels| labels.split(' ').all(|id| words(id).is_some_and(|words| words.len() > 20)));
        assert_eq!(label.or(labelled), Some(true), "{svg:?}");
    }
    assert!(
        of("section")
            .all(|tag| words(&tag.attributes["aria-labelledby"]).is_some_and(|name| !name.is_empty()))
    );
    // By keyboard: only what browsers make reachable themselves can be opened or followed.
    assert!(tags.iter().all(|tag| !tag.attributes.contains_key("tabindex")));
    assert!(
        of("summary").count() > 0
            && of("summary").all(|tag| tag.within.last().is_some_and(|it| it == "details"))
    );
    assert!(STYLE.contains(":focus-visible"));
    assert!(of("th").all(|tag| tag.attributes.contains_key("scope")));
    assert_eq!(of("html").next().unwrap().attributes["lang"], "en");
    // Headings go down one step at a time.
    let levels: Vec<u32> = tags.iter().filter_map(|tag| tag.name.strip_prefix('h')?.parse().ok()).collect();
    assert!(levels.first() == Some(&1) && levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
}

/// `--name:#rrggbb` of a block of the style sheet.
fn colours(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let colour = |text: &str| {
        let digits = text.strip_prefix('#')?;
        let wide: String = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let part = |at: usize| u8::from_str_radix(wide.get(at..at + 2)?, 16).ok().map(f64::from);
        Some([part(0)?, part(2)?, part(4)?])
    };
    block
        .split([';', '{'])
        .filter_map(|line| line.trim().strip_prefix("--")?.split_once(':'))
        .filter_map(|(name, value)| Some((name, colour(value)?)))
        .collect()
}

/// Of WCAG 2.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [red, green, blue] = colour.map(|part| {
            let part = part / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn it_can_be_read_by_day_and_by_night() {
    let (light, dark) = STYLE.split_once("@media (prefers-color-scheme:dark)").unwrap();
    let dark = dark.split_once("}}").unwrap().0;
    for (name, block) in [("light", light), ("dark", dark)] {
        let colours = colours(block);
        for used in STYLE.split("var(--").skip(1).filter_map(|rest| rest.split([')', ',']).next()) {
            assert!(colours.contains_key(used) || used == "shadow", "{used} has no {name} colour");
        }
        let texts = "text:page text:card soft:page soft:card text:grid soft:grid good:good-soft warn:warn-soft bad:bad-soft \
                     idle:idle-soft good:card warn:card warn:page bad:card text:bad-soft";
        let shapes = "wal:card win-edge:card bad:card soft:card wal:win bad:win";
        for (pairs, least) in [(texts, 4.5), (shapes, 3.0)] {
            for (front, back) in pairs.split(' ').filter_map(|pair| pair.split_once(':')) {
                let found = contrast(colours[front], colours[back]);
                assert!(found >= least, "{front} on {back}, {name}: {found:.2}");
            }
        }
    }
}
