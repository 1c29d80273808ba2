//! The ways in which archives of WAL (L-A1 to L-A37), base backups (L-B1 to L-B36), restores (L-C1 to L-C14) and retention
//! (L-D1 to L-D10) have lost data elsewhere, and what holds each of them here.
//!
//! Two cannot occur. L-A5: nothing waits on the database host, so there is no queue that could be cut or grow past its limit;
//! `archive_command` fails until the hub has the segment, and PostgreSQL keeps it. L-A24: what `pg_rewind` removes from a server that
//! had not archived it, no archive can have; a receiver has it, because it does not wait for `.ready`.
//!
//! Of base backups: there is no store of blocks apart from PostgreSQL's own incremental files, whose headers list them (L-B5), no
//! second repository (L-B10), no bundling (L-B9), nothing that is merged in place (L-B26), and no copy of a server onto another whose
//! source is written to (L-B27).
//!
//! Of restores: nothing less than a whole cluster is restored (L-C2).
//!
//! Of retention: there is no second repository with a policy of its own (L-D2).

use std::path::Path;

const OF_WAL: [(u32, &[&str]); 37] = [
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
            "killed_at_any_moment_it_acknowledges_nothing_that_is_not_there",
            "of_a_segment_in_parts_nothing_is_listed_before_it_is_whole",
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
    // A catalog has one host, whose locks hold all that works on it. An object store has many, and no locks.
    (
        9,
        &[
            "locked_backups_stay",
            "wal_stays_for_a_backup_whose_record_is_empty",
            "wal_of_a_backup_under_way_stays_until_it_has_been_silent_for_a_week",
        ],
    ),
    (10, &["l_a1_l_a10_l_a17_l_a22_what_is_no_segment_of_ours_is_refused"]),
    (
        11,
        &[
            "l_a11_l_a8_an_archived_segment_is_never_replaced",
            "the_same_again_is_fine_and_other_content_is_an_error",
            "what_is_archived_is_never_replaced",
        ],
    ),
    (12, &["l_a12_a_history_file_is_never_replaced", "l_a12_a_history_file_of_another_cluster_is_refused"]),
    (
        13,
        &[
            "l_a25_l_a26_l_a13_any_failing_call_leaves_the_source_and_a_rerun_completes",
            "a_store_that_fails_is_a_failure",
            "a_daemon_that_is_killed_has_acknowledged_nothing_that_is_not_there",
        ],
    ),
    (
        14,
        &[
            "l_a14_what_a_power_cut_left_of_it_is_none",
            "l_a14_foreign_keys_are_passed_over",
            "a_record_that_cannot_be_read_stops_every_deletion_and_hides_nothing",
        ],
    ),
    (
        15,
        &[
            "l_a15_two_archivers_at_once_archive_each_file_once",
            "of_two_writers_one_wins_and_the_other_hears_it",
        ],
    ),
    (16, &["a_standby_replays_only_from_the_hub_under_load_and_through_a_promotion"]),
    (
        17,
        &[
            "l_a22_another_system_is_not_received_into_what_is_there",
            "another_clusters_wal_and_cut_off_wal_is_refused",
            "l_a17_two_clusters_do_not_share_a_path",
            "l_a17_texts_of_another_cluster_are_refused",
            "l_a17_whose_the_place_is_is_asked_again",
            "l_a17_an_upload_that_may_not_replace_says_so_at_its_end",
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
    (
        31,
        &[
            "l_a31_get_refuses_what_is_no_whole_segment",
            "what_is_no_segment_never_gets_the_name",
            "what_is_broken_there_is_not_given_to_postgresql",
        ],
    ),
    (
        32,
        &[
            "l_a32_recovery_that_would_end_stops_and_a_standby_tries_again",
            "what_is_not_missing_is_told_apart",
            "only_the_store_says_that_there_is_no_such_file",
            "nothing_but_the_store_can_say_that_an_object_is_not_there",
        ],
    ),
    (33, &["l_a20_l_a33_newest_segments_and_histories", "a_history_file_is_needed_and_must_be_right"]),
    (34, &["l_a34_late_segments_stay_out", "the_spool_serves_the_next_files_and_nothing_stale"]),
    (35, &["l_a35_a_full_disk_stops_the_receiver_where_it_is"]),
    (36, &["wal_that_the_server_has_lost_is_not_written_over"]),
    (37, &["a_standby_is_backed_up_while_its_primary_has_nothing_to_do"]),
];

const OF_BACKUPS: [(u32, &[&str]); 36] = [
    (1, &["l_b1_only_what_cannot_have_changed_is_shared"]),
    (
        2,
        &[
            "l_c10_half_a_restore_cannot_be_started_and_half_a_deletion_not_restored",
            "a_file_copy_that_dies_is_in_nobodys_way",
            "l_e2_a_backup_that_is_killed_is_in_nobodys_way",
        ],
    ),
    (3, &["nothing_is_left_of_a_manifest_that_was_not_made", "files_vanish_grow_and_shrink_under_the_copy"]),
    (4, &["l_b4_backups_that_are_no_chain_are_refused", "broken_and_circular_chains_are_never_deleted"]),
    (5, &[]),
    (6, &["what_is_wrong_is_found_and_leaves_nothing_to_start"]),
    (7, &["headers_are_refused_when_they_are_not_those_of_a_segment", "padding_and_lengths"]),
    (8, &["a_standbys_files_are_copied"]),
    (9, &[]),
    (10, &[]),
    (11, &["l_b11_a_success_that_carries_an_error_is_none"]),
    (12, &["a_cut_stream_is_seen_wherever_it_is_cut", "pieces_of_any_size_make_the_same_pages"]),
    (13, &["what_vanishes_is_forgiven_and_what_fails_is_tried_again", "a_stop_and_an_error_end_the_copy"]),
    (14, &["differences_from_the_manifest_are_named"]),
    (15, &["l_b15_an_object_that_ends_about_the_end_of_a_part_is_whole"]),
    (16, &["remote_files_come_over_ssh"]),
    (
        17,
        &[
            "l_b17_a_data_directory_behind_links_is_copied_as_one",
            "pg_l_b17_links_external_files_and_broken_pages",
        ],
    ),
    (18, &["the_minimum_redundancy_of_full_backups_survives", "increments_follow_their_root"]),
    (19, &["l_b19_a_chain_gives_what_the_server_had"]),
    (20, &["l_b19_a_chain_gives_what_the_server_had"]),
    (21, &["chains_are_restored_to_what_the_server_had"]),
    (22, &["as_the_servers_own_summaries"]),
    (23, &["l_b23_only_files_of_relations_have_pages"]),
    (24, &["l_b24_the_block_number_counts_over_segments"]),
    (25, &["stopped_anywhere_it_leaves_nothing_to_start"]),
    (26, &[]),
    (27, &[]),
    (28, &["a_standbys_files_are_copied", "l_b1_only_what_cannot_have_changed_is_shared"]),
    (29, &["crc32c_is_right_for_every_length_and_split"]),
    (30, &["a_manifest_verifies_what_it_was_made_of_and_is_always_the_same"]),
    (31, &["boundary_conventions", "wal_that_waits_to_be_archived_is_not_missing"]),
    (32, &["only_our_own_names_are_temporary"]),
    (33, &["headers_are_refused_when_they_are_not_those_of_a_segment"]),
    (
        34,
        &[
            "l_b34_a_truncation_length_beyond_the_segment",
            "l_b34_a_truncation_length_beyond_the_segment_is_capped_and_told",
        ],
    ),
    (35, &["a_cut_stream_is_seen_wherever_it_is_cut", "every_form_is_restored_and_read_by_barman"]),
    (36, &["hostile_names_are_refused", "nothing_leaves_the_tree", "hostile_archives_are_refused"]),
];

/// What a failover and everything about targets is watched with.
const TARGETS: &str =
    "l_c3_l_c4_l_c5_every_target_is_reached_across_a_failover_or_refused_with_what_would_work";

const OF_RESTORES: [(u32, &[&str]); 14] = [
    // What is there is either refused or compared; there is no third way.
    (1, &["restores_that_cannot_work_write_nothing", "a_delta_restore_makes_what_a_restore_makes"]),
    (2, &[]),
    (3, &[TARGETS]),
    (4, &[TARGETS]),
    (5, &[TARGETS, "pg_l_c5_after_a_failover_each_restore_follows_its_own_timeline"]),
    (6, &[TARGETS]),
    (7, &["l_a19_large_segments_and_tablespaces"]),
    (8, &["a_delta_restore_makes_what_a_restore_makes", TARGETS]),
    (9, &["a_partial_segment_can_be_the_last", TARGETS]),
    (
        10,
        &[
            "l_c10_half_a_restore_cannot_be_started_and_half_a_deletion_not_restored",
            "a_killed_restore_is_continued",
            "what_is_not_whole_is_neither_done_nor_restored",
        ],
    ),
    (11, &["l_a19_large_segments_and_tablespaces", "every_form_goes_to_another_host_over_one_connection"]),
    (12, &["l_a27_received_wal_flushed_after_each_message", "every_record_of_every_major_is_known"]),
    (13, &[TARGETS, "a_history_file_is_needed_and_must_be_right"]),
    (14, &["l_c14_a_cut_answer_goes_on_where_it_broke"]),
];

const OF_RETENTION: [(u32, &[&str]); 10] = [
    (
        1,
        &[
            "wal_between_backups_stays",
            "the_oldest_takes_its_wal_along",
            "wal_without_backups_goes_by_its_age",
        ],
    ),
    (2, &[]),
    (
        3,
        &[
            "a_backup_that_ended_as_the_window_opens_is_inside_and_not_its_base",
            "standalone_backups_keep_their_own_wal",
        ],
    ),
    (4, &["locked_backups_stay", "l_d4_the_policy_goes_on_beside_a_backup_and_beside_nothing_else"]),
    (5, &["l_d5_a_clock_set_back_costs_no_wal"]),
    (6, &["l_d6_live_branches_keep_their_wal"]),
    (
        7,
        &[
            "half_a_deletion_is_no_backup_and_is_not_undone",
            "l_d7_what_is_no_policy_deletes_nothing",
            "refuses_the_rest",
            "what_is_no_entry",
        ],
    ),
    (8, &["l_d8_more_than_a_thousand_objects_are_listed_and_removed"]),
    (9, &["l_d9_ids_order_across_centuries_and_zones", "years_of_nights_leave_what_the_policy_names"]),
    (
        10,
        &[
            "l_d10_an_archive_is_empty_only_with_nothing_in_it",
            "whether_a_new_cluster_may_archive_is_judged_as_barman_does",
        ],
    ),
];

const OF_EXHAUSTION: [(u32, &[&str]); 5] = [
    (
        1,
        &[
            "l_e1_a_server_that_never_answers_is_given_up",
            "l_e1_an_answer_that_stops_is_not_waited_for_for_ever",
        ],
    ),
    (2, &["l_e2_a_backup_that_is_killed_is_in_nobodys_way"]),
    (3, &["an_upload_holds_no_more_than_its_memory", "the_memory_is_kept_and_the_object_fits"]),
    (4, &["a_million_files_take_no_memory"]),
    (5, &["the_others_that_are_ready_go_with_it", "a_daemon_archives_for_others"]),
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

fn held(section: char, cases: &[(u32, &[&str])], not_here: &[u32]) {
    let mut text = String::new();
    sources(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut text);
    for (at, (number, tests)) in cases.iter().enumerate() {
        assert_eq!(*number, at as u32 + 1);
        assert_eq!(tests.is_empty(), not_here.contains(number), "L-{section}{number}");
        for test in *tests {
            // The arguments of a property's function are not empty.
            let found = text.split(&format!("fn {test}(")).next().filter(|before| before.len() < text.len());
            let before = found.unwrap_or_else(|| panic!("L-{section}{number}: there is no test {test}"));
            assert!(before.trim_end().ends_with("#[test]"), "L-{section}{number}: {test} is no test");
        }
    }
}

#[test]
fn each_case_of_wal_is_held_by_tests_that_exist() {
    held('A', &OF_WAL, &[5, 24]);
}

#[test]
fn each_case_of_backups_is_held_by_tests_that_exist() {
    held('B', &OF_BACKUPS, &[5, 9, 10, 26, 27]);
}

#[test]
fn each_case_of_restores_is_held_by_tests_that_exist() {
    held('C', &OF_RESTORES, &[2]);
}

#[test]
fn each_case_of_retention_is_held_by_tests_that_exist() {
    held('D', &OF_RETENTION, &[2]);
}

#[test]
fn each_case_of_exhaustion_is_held_by_tests_that_exist() {
    held('E', &OF_EXHAUSTION, &[]);
}
