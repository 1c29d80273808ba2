//! Policies of periods, which Barman does not have.

use tapster_retention::{Keep, Rules, Status, Status::*, judge};
use time::{Duration, OffsetDateTime};

use crate::backup::{Backup, NOW, statuses};

fn taken(id: &str) -> Backup {
    Backup { id: id.to_owned(), ..Backup::aged(1) }
}

fn reasons(policy: &str, minimum: u32, backups: &[Backup]) -> Vec<String> {
    let policy = policy.parse().unwrap();
    tapster_retention::evaluate(&policy, minimum, backups, NOW).iter().map(ToString::to_string).collect()
}

#[test]
fn the_newest_of_each_period_stays_and_says_for_which() {
    let ids = ["20261121T020000", "20261120T220000", "20261120T020000", "20261115T020000", "20261101T020000"];
    assert_eq!(
        reasons("KEEP 2 DAILY 2 WEEKLY", 0, &ids.map(taken)),
        [
            "VALID: newest backup of the day 2026-11-21 (1 of 2) and of the week 2026-W47 (1 of 2)",
            "VALID: newest backup of the day 2026-11-20 (2 of 2)",
            "OBSOLETE: not the newest backup of any period to keep (KEEP 2 DAILY 2 WEEKLY)",
            "VALID: newest backup of the week 2026-W46 (2 of 2)",
            "OBSOLETE: not the newest backup of any period to keep (KEEP 2 DAILY 2 WEEKLY)",
        ]
    );
}

/// A backup each night for four years, enforced each morning: what is there in the end is what the policy names.
#[test]
fn years_of_nights_leave_what_the_policy_names() {
    let policy = "KEEP 7 DAILY 4 WEEKLY 12 MONTHLY 2 YEARLY".parse().unwrap();
    let mut kept: Vec<Backup> = Vec::new();
    let begin = NOW - Duration::days(4 * 365);
    for night in 0..4 * 365 {
        let at = begin + Duration::days(night);
        let id = format!("{}{:02}{:02}T020000", at.year(), u8::from(at.month()), at.day());
        kept.push(Backup { id, end: Some(at), ..Backup::aged(0) });
        let verdicts = tapster_retention::evaluate(&policy, 1, &kept, at);
        let mut verdicts = verdicts.iter();
        kept.retain(|_| !verdicts.next().unwrap().status.is_deletable());
    }
    let ids: Vec<&str> = kept.iter().map(|backup| backup.id.as_str()).collect();
    let months =
        ["20251231", "20260131", "20260228", "20260331", "20260430", "20260531", "20260630", "20260731"];
    let weeks = ["20260831", "20260930", "20261031", "20261101", "20261108"];
    let days = ["20261114", "20261115", "20261116", "20261117", "20261118", "20261119", "20261120"];
    let expected: Vec<String> =
        months.iter().chain(&weeks).chain(&days).map(|day| format!("{day}T020000")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn a_chain_stays_as_far_as_something_needs_it() {
    let child = |id: &str, parent: &str| Backup { parent: Some(parent.to_owned()), ..taken(id) };
    let (full, first, second, third) =
        ("20261116T000000", "20261117T000000", "20261118T000000", "20261119T000000");
    let backups = [
        taken("20261121T000000"),
        child(third, first),
        child(second, first),
        child(first, full),
        taken(full),
        taken("20261101T000000"),
    ];
    let policy = "KEEP 2 DAILY";
    assert_eq!(statuses(policy, 0, &backups), [Valid, Valid, Obsolete, Valid, Valid, Obsolete]);
    assert_eq!(
        reasons(policy, 0, &backups)[4],
        format!("VALID: the incremental backup {third} builds on it")
    );
    // Also what is being taken, or waits for its WAL.
    let waiting = Backup { done: false, ..backups[2].clone() };
    assert_eq!(
        statuses("KEEP 1 DAILY", 0, &[backups[0].clone(), waiting, backups[3].clone(), taken(full)]),
        [Valid, None, Valid, Valid]
    );
}

#[test]
fn requests_and_the_minimum_hold_what_no_period_does() {
    let backups = [
        taken("20261121T030000"),
        taken("20261121T020000"),
        taken("20261121T010000"),
        taken("20261120T010000").kept(Keep::Standalone),
    ];
    assert_eq!(
        statuses("KEEP 1 YEARLY", 2, &backups),
        [Valid, PotentiallyObsolete, Obsolete, KeepStandalone]
    );
    let undated = [Backup { end: Option::None, ..taken("lost") }];
    assert_eq!(statuses("KEEP 1 YEARLY", 0, &undated), [None]);
}

#[test]
fn what_failed_goes_after_its_time_and_only_without_what_builds_on_it() {
    let mut rules = Rules::default();
    rules.failed_after = Some(Duration::days(7));
    let failed =
        |days: i64| Backup { failed: Some(NOW - Duration::days(days)), ..Backup::aged(days).failed() };
    let backups = [
        Backup::aged(1).child_of(9),
        failed(2),
        failed(7),
        failed(8),
        failed(9),
        failed(10).child_of(8),
        Backup { keep: Some(Keep::Full), ..failed(11) },
    ];
    let judged = |rules: &Rules| -> Vec<Status> {
        judge(rules, &backups, NOW).iter().map(|verdict| verdict.status).collect()
    };
    assert_eq!(judged(&rules), [None, None, None, Obsolete, None, Obsolete, None]);
    assert_eq!(judged(&Rules::default()), [None; 7]);
    rules.policy = Some("REDUNDANCY 0".parse().unwrap());
    assert_eq!(judged(&rules)[3], Obsolete);
    let text = judge(&rules, &backups, NOW).remove(4).to_string();
    assert!(text.ends_with("builds on it"), "{text}");
    // A time before the calendar or after it is no reason to delete.
    rules.failed_after = Some(Duration::MAX);
    assert_eq!(judge(&rules, &[failed(8)], OffsetDateTime::UNIX_EPOCH)[0].status, None);
}

/// Ids are local time: they order over the end of a century, and in the hour that a clock shows twice.
#[test]
fn l_d9_ids_order_across_centuries_and_zones() {
    let ids = ["20000101T000000", "19991231T235959", "19991231T235958", "19991031T023000", "19991031T020000"];
    let backups = ids.map(|id| Backup { end: Option::None, ..taken(id) });
    assert_eq!(statuses("REDUNDANCY 2", 0, &backups), [Valid, Valid, Obsolete, Obsolete, Obsolete]);
    assert_eq!(statuses("KEEP 3 DAILY", 0, &backups), [Valid, Valid, Obsolete, Valid, Obsolete]);
    // The window goes by when they ended, in whatever zone that is written.
    let east = time::UtcOffset::from_hms(14, 0, 0).unwrap();
    let ended = |days: i64| (NOW - Duration::days(days)).to_offset(east);
    let mut backups = [Backup::aged(1), Backup::aged(7), Backup::aged(8)];
    for (backup, days) in backups.iter_mut().zip([1, 7, 8]) {
        backup.end = Some(ended(days));
    }
    assert_eq!(statuses("RECOVERY WINDOW OF 6 DAYS", 0, &backups), [Valid, Valid, Obsolete]);
}
