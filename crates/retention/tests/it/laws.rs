use proptest::prelude::*;
use tapster_retention::{Keep, PeriodUnit, Policy, Rules, Status, Verdict, WindowUnit, evaluate, judge};
use time::Duration;

use crate::backup::{Backup, NOW, id};

fn policy() -> impl Strategy<Value = Policy> {
    let unit = prop_oneof![Just(WindowUnit::Days), Just(WindowUnit::Weeks), Just(WindowUnit::Months)];
    prop_oneof![
        (0u32..6).prop_map(Policy::Redundancy),
        (0u32..4, unit).prop_map(|(count, unit)| Policy::RecoveryWindow { count, unit }),
        prop::collection::btree_map(0usize..5, 1u32..5, 1..4).prop_map(|counts| {
            let words =
                counts.iter().map(|(at, count)| format!(" {count} {}", PeriodUnit::ALL[*at].keyword()));
            format!("KEEP{}", words.collect::<String>()).parse().unwrap()
        }),
    ]
}

/// Up to a dozen backups of different ages, newest first; about a quarter of them increments of an older one.
fn backups() -> impl Strategy<Value = Vec<Backup>> {
    let keep = prop_oneof![6 => Just(None), 1 => Just(Some(Keep::Full)), 1 => Just(Some(Keep::Standalone))];
    let one = (0i64..20, prop::bool::weighted(0.8), keep, prop::option::weighted(0.25, 0i64..300));
    prop::collection::vec(one, 0..12).prop_map(|raw| {
        let mut age = 0;
        raw.into_iter()
            .map(|(step, done, keep, parent)| {
                age += step + 1;
                let parent = parent.map(|p| id(age + p + 1));
                Backup { done, keep: keep.filter(|_| done && parent.is_none()), parent, ..Backup::aged(age) }
            })
            .collect()
    })
}

fn held(verdict: &Verdict) -> bool {
    !matches!(verdict.status, Status::Obsolete | Status::None)
}

proptest! {
    #[test]
    fn display_and_parse_are_inverse(policy in policy()) {
        prop_assert_eq!(policy.to_string().parse::<Policy>(), Ok(policy));
    }

    #[test]
    fn the_minimum_redundancy_of_full_backups_survives(policy in policy(), backups in backups(), minimum in 0u32..5) {
        let verdicts = evaluate(&policy, minimum, &backups, NOW);
        let full: Vec<bool> = backups.iter().zip(&verdicts)
            .filter(|(b, _)| b.done && b.parent.is_none()).map(|(_, v)| held(v)).collect();
        let survivors = full.iter().filter(|held| **held).count();
        prop_assert!(survivors >= full.len().min(minimum as usize));
    }

    #[test]
    fn a_newer_backup_revives_nothing(policy in policy(), backups in backups(), minimum in 0u32..5, age in 0i64..90) {
        let before = evaluate(&policy, minimum, &backups, NOW);
        let mut more = backups.clone();
        more.push(Backup { end: Some(NOW - Duration::days(age)), ..Backup::aged(0) });
        let after = evaluate(&policy, minimum, &more, NOW);
        for (before, after) in before.iter().zip(&after) {
            if before.status == Status::Obsolete {
                prop_assert_eq!(after.status, Status::Obsolete);
            }
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        policy in policy(),
        (sorted, shuffled) in backups().prop_flat_map(|b| (Just(b.clone()), Just(b).prop_shuffle())),
        minimum in 0u32..5,
    ) {
        let expected = evaluate(&policy, minimum, &sorted, NOW);
        let got = evaluate(&policy, minimum, &shuffled, NOW);
        for (backup, verdict) in shuffled.iter().zip(&got) {
            let at = sorted.iter().position(|b| b.id == backup.id).unwrap();
            prop_assert_eq!(verdict, &expected[at]);
        }
    }

    #[test]
    fn what_is_kept_or_unfinished_is_never_deleted(policy in policy(), backups in backups(), minimum in 0u32..5) {
        for (backup, verdict) in backups.iter().zip(evaluate(&policy, minimum, &backups, NOW)) {
            prop_assert!(!(verdict.status.is_deletable() && (backup.keep.is_some() || !backup.done && backup.parent.is_none())));
        }
    }

    #[test]
    fn a_chain_dies_as_a_whole_or_its_root_is_kept_alone(policy in policy(), backups in backups(), minimum in 0u32..5) {
        let verdicts = evaluate(&policy, minimum, &backups, NOW);
        for (backup, verdict) in backups.iter().zip(&verdicts) {
            let Some(parent) = &backup.parent else { continue };
            let Some(at) = backups.iter().position(|b| &b.id == parent && b.parent.is_none()) else { continue };
            if held(verdict) {
                prop_assert!(held(&verdicts[at]), "an increment outlives its base");
            }
        }
    }

    #[test]
    fn what_something_that_stays_builds_on_stays(
        policy in prop::option::of(policy()), backups in backups(), minimum in 0u32..5, after in prop::option::of(0i64..60),
        failed in prop::collection::vec(prop::option::weighted(0.5, 0i64..60), 12),
    ) {
        let mut backups = backups;
        for (backup, days) in backups.iter_mut().zip(failed) {
            backup.failed = days.filter(|_| !backup.done).map(|days| NOW - Duration::days(days));
        }
        let mut rules = Rules::default();
        (rules.policy, rules.minimum_redundancy) = (policy, minimum);
        rules.failed_after = after.map(Duration::days);
        let verdicts = judge(&rules, &backups, NOW);
        for (backup, verdict) in backups.iter().zip(&verdicts) {
            if verdict.status.is_deletable() || backup.failed.is_some() {
                continue;
            }
            let mut parent = backup.parent.as_ref();
            // What has no root is left alone without its ancestors, with which it is worth nothing either.
            while let Some(at) = parent.and_then(|id| backups.iter().position(|b| &b.id == id)) {
                prop_assert!(!verdicts[at].status.is_deletable() || matches!(verdict.status, Status::None), "{}", backup.id);
                parent = backups[at].parent.as_ref();
            }
        }
    }

    #[test]
    fn a_failed_link_does_not_let_go_of_what_is_below_it(policy in policy(), minimum in 0u32..5, ages in (0i64..30, 1i64..30, 1i64..30)) {
        let (tip, link, root) = (ages.0, ages.0 + ages.1, ages.0 + ages.1 + ages.2);
        let failed = Some(NOW - Duration::days(link));
        let chain = [
            Backup::aged(tip).child_of(link),
            Backup { failed, ..Backup::aged(link).child_of(root).failed() },
            Backup::aged(root),
        ];
        let verdicts = evaluate(&policy, minimum, &chain, NOW);
        let goes = |at: usize| verdicts[at].status.is_deletable();
        prop_assert!(goes(0) || !goes(2), "{:?}", verdicts);
    }

    #[test]
    fn what_stays_would_stay_without_what_goes(policy in policy(), backups in backups(), minimum in 0u32..5) {
        let verdicts = evaluate(&policy, minimum, &backups, NOW);
        let left: Vec<Backup> = backups.iter().zip(&verdicts)
            .filter(|(_, verdict)| !verdict.status.is_deletable()).map(|(b, _)| b.clone()).collect();
        for (backup, verdict) in left.iter().zip(evaluate(&policy, minimum, &left, NOW)) {
            prop_assert!(!verdict.status.is_deletable(), "{} goes only the second time", backup.id);
        }
    }

    #[test]
    fn time_alone_makes_nothing_valid_again(policy in policy(), backups in backups(), minimum in 0u32..5, days in 0i64..60) {
        let before = evaluate(&policy, minimum, &backups, NOW);
        let after = evaluate(&policy, minimum, &backups, NOW + Duration::days(days));
        for (before, after) in before.iter().zip(&after) {
            if before.status == Status::Obsolete {
                prop_assert_eq!(after.status, Status::Obsolete);
            }
        }
    }
}
