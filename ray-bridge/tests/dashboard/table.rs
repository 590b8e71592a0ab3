//! Every pitfall met on real clusters, and the test of its handling. This fails if the test of a pitfall is
//! missing.

/// The pitfall, and its test.
const TRAPS: &[(&str, &str)] = &[
    // Jobs
    ("/api/jobs without its slash is 404", "the_list_of_jobs_is_requested_with_a_trailing_slash"),
    (
        "ids with a slash or .. are accepted, and the job is then not found",
        "ids_that_ray_cannot_find_again_are_refused",
    ),
    (
        "Ray lists jobs whose ids no URL can carry",
        "jobs_whose_ids_are_not_safe_in_a_url_are_left_out_of_the_list",
    ),
    (
        "a submission id that exists: 500 with a traceback",
        "a_duplicate_submission_id_is_a_conflict_although_ray_answers_500",
    ),
    ("a field of the wrong type: 400 with a traceback", "a_refused_job_gives_the_last_line_of_the_traceback"),
    ("a job that no node can take stays PENDING", "a_pending_job_has_no_end_and_null_fields"),
    ("a job waits for a label that no node has", "a_job_that_waits_for_a_label_has_that_message"),
    (
        "a server that returns: SUCCEEDED, and the engine is dead",
        "a_job_that_succeeded_has_failed_as_a_service",
    ),
    (
        "stale RUNNING of a job whose driver died with the head",
        "a_job_that_ray_reports_running_without_its_actor_has_ended",
    ),
    ("deleting a running job: 500 with a traceback", "deleting_a_running_job_is_refused_with_the_reason"),
    ("a deleted job is back as FAILED within 5 s", "a_deleted_job_that_comes_back_is_deleted_again"),
    ("GET of a job gives its environment in clear", "the_environment_of_a_job_is_not_kept"),
    ("a submit that timed out may have been applied", "submits_are_never_retried"),
    ("a stop of a job that has ended: 200", "stopping_an_ended_job_returns_false"),
    ("states of a newer Ray", "a_state_of_a_newer_ray_is_unknown_not_an_error"),
    // Logs
    ("the log of a job on a dead node is empty", "the_log_of_a_dead_node_is_empty"),
    ("Ray reads, quotes and sends the whole log", "only_the_end_of_a_long_log_is_requested"),
    ("a log that is not UTF-8: 500 from Ray", "a_log_with_invalid_utf_8_is_read"),
    (
        "a reused name appends to the log of the earlier job",
        "only_the_last_launch_of_a_reused_name_is_returned",
    ),
    (
        "a launch that ended before it wrote shows the earlier one's log",
        "a_launch_without_output_does_not_return_the_one_before",
    ),
    (
        "the tail is closed normally when its node is lost",
        "a_closed_stream_does_not_prove_that_the_job_has_ended",
    ),
    ("the tail always starts at the beginning of the log", "a_resumed_stream_repeats_nothing"),
    ("the tail answers no pings", "a_stream_without_new_lines_is_quiet"),
    // Packages
    (
        "a package is dropped with the last job that used it",
        "a_package_that_ray_dropped_is_uploaded_again_and_pinned",
    ),
    // Nodes and GPUs
    (
        "dead nodes stay listed; free GPUs are in another reply",
        "dead_nodes_are_listed_and_free_gpus_come_from_another_reply",
    ),
    (
        "a dead node keeps its GPUs in the status for a while",
        "a_dead_node_is_dead_even_if_the_status_counts_its_gpus",
    ),
    ("keys of resources are mangled", "keys_mangled_to_camel_case_do_not_hide_gpus"),
    ("the status comes a while after the head", "all_gpus_are_free_before_the_first_status_report"),
    ("/nodes without a view: 500", "node_summaries_are_requested_with_their_view"),
    ("an agent that could not listen has port -1", "an_agent_without_a_port_is_unreachable"),
    // State API
    ("lists are truncated silently at a limit", "a_list_that_ray_truncated_is_an_error"),
    ("limits over 10,000 are refused", "the_limit_of_a_list_is_the_largest_that_ray_accepts"),
    ("filters need escaping", "filters_are_escaped"),
    ("an unknown column: 400", "a_refused_filter_gives_the_message_of_ray"),
    ("num_restarts is a string", "num_restarts_is_a_string"),
    ("launch times of u64::MAX", "launch_times_of_u64_max_are_none"),
    ("an unplaced bundle has node id \"\"", "placement_groups_are_read_in_every_recorded_state"),
    ("removed groups stay listed under their name", "a_removed_group_of_the_same_name_is_ignored"),
    ("dead actors stay listed", "dead_ranks_have_their_cause"),
    // Access
    ("401 without a token, 403 with a wrong one", "a_missing_token_is_distinguished_from_a_wrong_one"),
    ("a token that was rotated", "a_changed_token_file_is_read_again"),
    ("a login page of a proxy", "html_instead_of_json_is_malformed_and_reported_as_a_page"),
    // Failures of the dashboard itself
    ("a dashboard that accepts and never answers", "a_dashboard_that_accepts_and_never_answers_times_out"),
    ("a head that was killed: connections are refused", "a_port_that_nothing_listens_on_is_refused"),
    ("an endless reply", "a_reply_over_the_limit_is_too_large"),
    ("an endless error", "an_endless_error_is_read_in_part"),
    ("a restarted head has lost its state", "a_restarted_head_has_another_session"),
    // Ray 2.46
    ("500 to requests without User-Agent", "every_request_has_a_user_agent"),
    ("no entrypoint label selectors: 400", "a_ray_without_label_selectors_pins_the_job_by_address"),
    ("no bundle label selectors", "test_without_label_selectors_every_bundle_is_pinned_by_ip"),
    ("no list of metrics targets", "without_a_list_of_metrics_targets_they_are_derived_from_the_nodes"),
    ("no authentication", "a_ray_without_authentication_is_open"),
    ("agents do not report their port", "agents_of_an_older_ray_use_the_default_port"),
    ("an empty log breaks the connection", "an_empty_log_of_an_older_ray_is_empty"),
];

const SOURCES: &[&str] = &[
    include_str!("health.rs"),
    include_str!("jobs.rs"),
    include_str!("logs.rs"),
    include_str!("old_ray.rs"),
    include_str!("replies.rs"),
    include_str!("tokens.rs"),
    include_str!("../observe.rs"),
    include_str!("../../src/dashboard/wire.rs"),
    include_str!("../../src/engine/launch_log.rs"),
    include_str!("../../launcher/tests/test_placement.py"),
];

#[test]
fn every_pitfall_has_its_test() {
    for (trap, test) in TRAPS {
        let defined = [format!("fn {test}("), format!("def {test}(")];
        assert!(
            SOURCES.iter().any(|source| defined.iter().any(|name| source.contains(name.as_str()))),
            "{trap}: no test {test}"
        );
    }
}
