//! `report`: a catalog with a gap and hostile texts, as a page, as an object and as lines.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::user;
use crate::program::{Run, run_as};

/// Stays markup in no place.
const HOSTILE: &str = "<script>alert(1)</script>\"'><svg onload=alert(2)>";

struct Shelf {
    home: TempDir,
}

impl Shelf {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = format!(
            "[barman]\nbarman_home = {home}/home\nbarman_user = {user}\nlog_file = {home}/log\n\
             [main]\ndescription = {HOSTILE}\nconninfo = host=/nowhere\narchiver = on\nretention_policy = REDUNDANCY 1\n\
             [young]\nconninfo = host=/nowhere\narchiver = on\n",
            home = home.path().display(),
            user = user(),
        );
        fs::write(home.path().join("tapster.conf"), config).unwrap();
        let shelf = Self { home };
        for dir in ["base", "wals/0000000100000000", "incoming", "streaming", "errors", "meta"] {
            fs::create_dir_all(shelf.path("home/main").join(dir)).unwrap();
        }
        shelf
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A backup that begins in the segment and ends in the next.
    fn backup(&self, id: &str, segment: u32, more: &str) {
        let text = format!(
            "backup_name={HOSTILE}\nbegin_time=2026-11-20 10:00:00+00:00\nbegin_wal=0000000100000000000000{segment:02X}\n\
             begin_xlog=0/{segment:X}000028\nend_time=2026-11-20 10:05:00+00:00\n\
             end_wal=0000000100000000000000{end:02X}\nend_xlog=0/{end:X}000100\nmode=postgres\nserver_name=main\n\
             size=123456789\nsystemid=7710414077311651613\ntimeline=1\nversion=170004\nxlog_segment_size=16777216\n{more}",
            end = segment + 1
        );
        fs::create_dir_all(self.path("home/main/base").join(id)).unwrap();
        fs::write(self.path("home/main/meta").join(format!("{id}-backup.info")), text).unwrap();
    }

    fn wal(&self, segments: impl IntoIterator<Item = u32>) {
        for segment in segments {
            let name = format!("0000000100000000000000{segment:02X}");
            fs::write(self.path("home/main/wals/0000000100000000").join(name), "x").unwrap();
        }
    }

    fn run(&self, args: &[&str]) -> Run {
        run_as("tapster", &[&["-c", self.path("tapster.conf").to_str().unwrap()], args].concat())
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_report_says_from_when_to_when_one_can_recover_and_lets_no_markup_in() {
    let shelf = Shelf::new();
    shelf.backup("20261120T100000", 3, "status=DONE\n");
    shelf.backup("20261120T110000", 10, "status=DONE\n");
    shelf.backup("20261120T120000", 20, &format!("status=FAILED\nerror={HOSTILE}\n"));
    shelf.wal((3..8).chain(10..16));
    let file = shelf.path("report.html");
    fs::write(&file, "old").unwrap();
    let run = shelf.run(&["report", "--no-check", "--html", file.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("2 windows with gaps between"), "{run:?}");
    assert!(run.stdout.contains("young: At risk"), "{run:?}");
    let page = fs::read_to_string(&file).unwrap();
    assert!(
        !page.contains("alert(1)</script>") && !page.contains("<svg onload"),
        "hostile text became markup"
    );
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("000000010000000000000008 to 000000010000000000000009"), "the gap is named");
    assert!(page.contains("number 1 of the 1 newest backups to keep"), "the verdict has its reason");
    // Nothing is loaded from anywhere.
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
    assert_eq!(page.matches("<script").count(), 1);
    let left = names(shelf.home.path());
    assert!(!left.iter().any(|name| name.contains("report.html") && name != "report.html"), "{left:?}");

    let found: Value =
        serde_json::from_str(&shelf.run(&["-f", "json", "report", "--no-check", "main"]).stdout).unwrap();
    let main = &found["main"];
    assert_eq!(main["state"], "attention");
    assert_eq!(main["windows"].as_array().unwrap().len(), 2);
    assert_eq!(main["windows"][0]["from"]["lsn"], "0/4000100");
    assert_eq!(main["windows"][0]["to"]["lsn"], "0/8000000");
    assert_eq!(main["windows"][0]["ends_at_gap"], true);
    assert_eq!(main["windows"][1]["to"]["lsn"], "0/10000000");
    let gap = &main["wal"]["timelines"][0]["gaps"][0];
    assert_eq!((gap["segments"].as_u64(), gap["needed"].as_bool()), (Some(2), Some(true)));
    assert!(found.get("young").is_none(), "only what was named");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let shelf = Shelf::new();
    let run = shelf.run(&["report", "--no-check", "--html", "/nowhere/at/all.html", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("the report is not written"), "{run:?}");
    assert_eq!(shelf.run(&["report", "--no-check", "nobody"]).code, 1);
}
