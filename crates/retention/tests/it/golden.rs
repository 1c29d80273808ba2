//! `verdicts.txt` holds what real Barman said of generated catalogs.

use tapster_retention::{Keep, Policy, Status, evaluate};
use time::Duration;

use crate::backup::{Backup, NOW};

#[test]
fn agrees_with_barman() {
    let text = include_str!("../data/verdicts.txt");
    let mut scenarios = 0;
    let mut lines = text.lines().filter(|l| !l.starts_with('#')).peekable();
    while let Some(head) = lines.next() {
        let fields: Vec<&str> = head.split('|').collect();
        let policy: Policy = fields[1].parse().unwrap();
        assert_eq!(policy.to_string(), fields[2]);
        let minimum = fields[3].parse().unwrap();
        let (mut backups, mut expected) = (vec![], vec![]);
        while let Some(line) = lines.next_if(|l| !l.starts_with("scenario")) {
            let fields: Vec<&str> = line.split('|').collect();
            let age = Duration::days(fields[1].parse().unwrap()) + Duration::HOUR * 12;
            backups.push(Backup {
                id: fields[0].to_owned(),
                end: Some(NOW - age),
                done: fields[2] == "DONE",
                keep: match fields[3] {
                    "full" => Some(Keep::Full),
                    "standalone" => Some(Keep::Standalone),
                    _ => None,
                },
                parent: (fields[4] != "-").then(|| fields[4].to_owned()),
                failed: None,
            });
            expected.push(fields[5]);
        }
        let verdicts = evaluate(&policy, minimum, &backups, NOW);
        for ((backup, verdict), expected) in backups.iter().zip(&verdicts).zip(expected) {
            // Barman's list shows `-` for VALID, and no verdict for a failed backup.
            if expected == "none" {
                assert!(
                    backup.parent.is_some() || verdict.status == Status::None,
                    "{head}: {} {verdict}",
                    backup.id
                );
                continue;
            }
            let shown = match verdict.status {
                Status::Valid => "-".to_owned(),
                other => other.to_string(),
            };
            assert_eq!(shown, expected, "{head}: {} {verdict}", backup.id);
        }
        scenarios += 1;
    }
    assert_eq!(scenarios, 150);
}
