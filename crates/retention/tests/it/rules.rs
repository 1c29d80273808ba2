use tapster_retention::{Keep, Policy, Reason, Status::*, evaluate};

use crate::backup::{Backup, NOW, id, statuses};

#[test]
fn kept_backups_count_towards_the_redundancy() {
    let backups = [Backup::aged(0), Backup::aged(1).kept(Keep::Full), Backup::aged(2)];
    assert_eq!(statuses("redundancy 2", 0, &backups), [Valid, KeepFull, Obsolete]);
}

#[test]
fn the_minimum_redundancy_raises_the_redundancy() {
    let backups = [Backup::aged(0), Backup::aged(1), Backup::aged(2)];
    assert_eq!(statuses("redundancy 1", 2, &backups), [Valid, Valid, Obsolete]);
}

#[test]
fn a_backup_that_ended_as_the_window_opens_is_inside_and_not_its_base() {
    let backups = [Backup::aged(1), Backup::aged(7), Backup::aged(8), Backup::aged(9)];
    assert_eq!(statuses("recovery window of 1 week", 0, &backups), [Valid, Valid, Valid, Obsolete]);
}

#[test]
fn outside_the_window_the_minimum_redundancy_holds_backups_back() {
    let backups = [Backup::aged(8), Backup::aged(9), Backup::aged(10)];
    let policy = "recovery window of 7 days";
    assert_eq!(statuses(policy, 2, &backups), [Valid, PotentiallyObsolete, Obsolete]);
}

#[test]
fn unfinished_backups_are_not_judged_and_do_not_count() {
    let backups = [Backup::aged(0).failed(), Backup::aged(1), Backup::aged(2).child_of(0), Backup::aged(3)];
    assert_eq!(statuses("redundancy 1", 0, &backups), [None, Valid, None, Obsolete]);
}

#[test]
fn increments_follow_their_root() {
    let chain =
        |root: Backup| [Backup::aged(0), Backup::aged(1).child_of(2), Backup::aged(2).child_of(3), root];
    assert_eq!(statuses("redundancy 1", 0, &chain(Backup::aged(3))), [Valid, Obsolete, Obsolete, Obsolete]);
    let root = Backup::aged(3).kept(Keep::Full);
    assert_eq!(statuses("redundancy 1", 0, &chain(root)), [Valid, Valid, Valid, KeepFull]);
    let root = Backup::aged(3).kept(Keep::Standalone);
    assert_eq!(
        statuses("redundancy 1", 0, &chain(root.clone())),
        [Valid, Obsolete, Obsolete, KeepStandalone]
    );
    assert_eq!(statuses("redundancy 2", 0, &chain(root)), [Valid, Valid, Valid, KeepStandalone]);
}

#[test]
fn broken_and_circular_chains_are_never_deleted() {
    let backups = [Backup::aged(1).child_of(5), Backup::aged(2).child_of(3), Backup::aged(3).child_of(2)];
    let verdicts = evaluate(&Policy::Redundancy(0), 0, &backups, NOW);
    assert!(verdicts.iter().all(|v| v.status == None));
    assert_eq!(verdicts[0].reason, Reason::Orphan { missing: id(5) });
}

#[test]
fn a_reason_is_one_line_of_text() {
    let backups = [Backup::aged(1), Backup::aged(2), Backup::aged(3).kept(Keep::Standalone)];
    let text: Vec<String> =
        evaluate(&Policy::Redundancy(1), 0, &backups, NOW).iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "VALID: number 1 of the 1 newest backups to keep",
            "OBSOLETE: older than the 1 newest backups to keep",
            "KEEP:STANDALONE: kept on request (standalone)"
        ]
    );
}
