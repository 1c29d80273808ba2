//! The ways in which archives of WAL have lost data elsewhere (L-A1 to L-A37), and what holds each of them here.
//!
//! Two cannot occur. L-A5: nothing waits on the database host, so there is no queue that could be cut or grow past its limit;
//! `archive_command` fails until the hub has the segment, and PostgreSQL keeps it. L-A24: what `pg_rewind` removes from a server that
//! had not archived it, no archive can have; a receiver has it, because it does not wait for `.ready`.

use std::path::Path;

const HELD: [(u32, &[&str]); 37] = [
    (
        1,
        &[
            "l_a1_l_a35_a_full_disk_loses_nothing_wherever_it_strikes",
            "l_a1_l_a11_any_failing_operation_acknowledges_nothing_that_is_not_there",
            "a_queue_is_archived_one_by_one_where_there_is_no_room_for_more",
        ],
    ),
    (
        2,
        &[
            "l_a2_leftovers_of_a_crash_do_not_block",
            "l_a26_l_a2_what_was_acknowledged_is_there_after_any_crash",
        ],
    ),
    (3, &["l_a3_the_errors_directory_is_explained_retried_and_discarded"]),
    (4, &["another_readers_segments_are_never_used", "short_files_are_thrown_away_instead_of_used"]),
    (5, &[]),
    (
        6,
        &[
            "l_a6_the_segments_of_the_next_timeline_follow",
            "a_standby_replays_only_from_the_hub_under_load_and_through_a_promotion",
        ],
    ),
    (
        7,
        &[
            "l_a7_older_partials_are_archived_as_partials",
            "a_standby_replays_only_from_the_hub_under_load_and_through_a_promotion",
        ],
    ),
    (8, &["l_a8_segments_that_differ_only_behind_their_last_record_are_the_same"]),
    // A catalog has one host, whose locks hold all that works on it.
    (9, &["locked_backups_stay", "wal_stays_for_a_backup_whose_record_is_empty"]),
    (10, &["l_a1_l_a10_l_a17_l_a22_what_is_no_segment_of_ours_is_refused"]),
    (
        11,
        &[
            "l_a11_l_a8_an_archived_segment_is_never_replaced",
            "the_same_again_is_fine_and_other_content_is_an_error",
        ],
    ),
    (12, &["l_a12_a_history_file_is_never_replaced", "l_a12_a_history_file_of_another_cluster_is_refused"]),
    (13, &["l_a25_l_a26_l_a13_any_failing_call_leaves_the_source_and_a_rerun_completes"]),
    (14, &["l_a14_what_a_power_cut_left_of_it_is_none"]),
    (15, &["l_a15_two_archivers_at_once_archive_each_file_once"]),
    (16, &["a_standby_replays_only_from_the_hub_under_load_and_through_a_promotion"]),
    (
        17,
        &[
            "l_a22_another_system_is_not_received_into_what_is_there",
            "another_clusters_wal_and_cut_off_wal_is_refused",
        ],
    ),
    (18, &["l_a18_appending_and_rebuilding_at_once_loses_no_line"]),
    (19, &["l_a19_large_segments_and_tablespaces"]),
    (20, &["l_a20_timelines_are_hexadecimal", "l_a20_l_a33_newest_segments_and_histories"]),
    // No server is asked for the name of a segment.
    (21, &["boundary_conventions"]),
    (22, &["l_a22_another_system_is_not_received_into_what_is_there", "l_a22_foreign_wal_is_refused"]),
    (23, &["l_a23_a_slot_made_anew_leaves_no_silent_hole", "a_gap_stays_in_sight"]),
    (24, &[]),
    (25, &["l_a25_l_a26_l_a13_any_failing_call_leaves_the_source_and_a_rerun_completes"]),
    (26, &["l_a26_ingest", "l_a26_l_a2_what_was_acknowledged_is_there_after_any_crash"]),
    (27, &["l_a27_received_wal_flushed_after_each_message", "l_a27_a_synchronous_commit_is_on_disk"]),
    (28, &["l_a28_it_follows_a_promotion", "l_a28_follows_a_timeline_and_keeps_the_tail_partial"]),
    (29, &["l_a29_a_file_being_written_waits_for_the_next_run"]),
    (30, &["killed_again_and_again_it_loses_nothing", "a_short_partial_is_filled_up_and_a_long_one_refused"]),
    (31, &["l_a31_get_refuses_what_is_no_whole_segment", "what_is_no_segment_never_gets_the_name"]),
    (
        32,
        &[
            "l_a32_recovery_that_would_end_stops_and_a_standby_tries_again",
            "what_is_not_missing_is_told_apart",
        ],
    ),
    (33, &["l_a20_l_a33_newest_segments_and_histories", "a_history_file_is_needed_and_must_be_right"]),
    (34, &["l_a34_late_segments_stay_out", "the_spool_serves_the_next_files_and_nothing_stale"]),
    (35, &["l_a35_a_full_disk_stops_the_receiver_where_it_is"]),
    (36, &["wal_that_the_server_has_lost_is_not_written_over"]),
    (37, &["a_standby_is_backed_up_while_its_primary_has_nothing_to_do"]),
];

fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_case_is_held_by_tests_that_exist() {
    let mut text = String::new();
    sources(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut text);
    for (at, (number, tests)) in HELD.iter().enumerate() {
        assert_eq!(*number, at as u32 + 1);
        assert!(!tests.is_empty() || [5, 24].contains(number), "L-A{number}");
        for test in *tests {
            let found = text.split(&format!("fn {test}()")).next().filter(|before| before.len() < text.len());
            let before = found.unwrap_or_else(|| panic!("L-A{number}: there is no test {test}"));
            assert!(before.trim_end().ends_with("#[test]"), "L-A{number}: {test} is no test");
        }
    }
}
