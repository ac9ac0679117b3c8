//! Each rule that keeps verdicts true has a test that fails when the rule is turned off: no test is there for show.

use crate::random::chance::{Chance, seed, steps};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use dagcache::for_tests::Rule;

/// (rules, a test that fails without them). A rule may have several lines. Two rules in a line are turned off together,
/// where the system this runs on is too good to need the one without the other.
pub(crate) const RULES: &[(&str, &str)] = &[
    (
        "change-time",
        "misses::an_edit_of_the_same_size_with_kept_mtime",
    ),
    ("fine-times,racy", "misses::edits_right_after_a_run"),
    (
        "folders-listed",
        "misses::a_file_that_is_added_though_empty",
    ),
    ("ignore-files", "misses::an_ignore_file_that_was_there"),
    ("ignore-files", "misses::the_exclude_file_of_the_repository"),
    ("ignore-files", "misses::the_users_own_ignore_file"),
    ("new-ignore-file", "misses::an_ignore_file_that_changed"),
    ("git-settings", "misses::an_ignore_file_that_git_is_told_of"),
    (
        "tracked-paths",
        "misses::an_ignored_file_that_leaves_the_index",
    ),
    (
        "tracked-paths",
        "misses::an_ignored_file_that_joins_the_index",
    ),
    (
        "blob-ids",
        "pre_commit::commits::a_file_that_changes_and_changes_back",
    ),
    (
        "checkout-rules",
        "pre_commit::content::line_ends_idents_and_encodings_by_attributes",
    ),
    (
        "filters-again",
        "pre_commit::content::a_filter_that_makes_something_else_later",
    ),
    (
        "index-stays",
        "pre_commit::interrupted::what_is_staged_meanwhile_is_checked_too",
    ),
    (
        "nothing-beside",
        "pre_commit::commits::what_git_ignores_is_not_in_a_commit",
    ),
    ("memo-identity", "misses::the_ignore_file_of_another_user"),
    ("seal-verified", "not_stored::an_altered_memo"),
    (
        "only-files-are-read",
        "walls::sizes::a_pipe_in_the_place_of_a_file_is_not_read",
    ),
    (
        "largest-input",
        "walls::sizes::a_file_above_4_gib_is_no_input",
    ),
    (
        "largest-read",
        "walls::sizes::what_is_too_large_to_be_parsed_is_named_and_the_rest_is_checked",
    ),
    (
        "copy-verified",
        "edits_during_run::an_edit_between_hashing_and_copying_is_seen",
    ),
    (
        "room-cleaned",
        "own_checks::it_works_on_a_copy_that_is_made_right_again",
    ),
    (
        "room-checked",
        "not_stored::an_altered_copy_in_a_room_is_made_right",
    ),
    ("env-hidden", "own_checks::the_environment_is_clean"),
    ("umask", "own_checks::its_umask_is_not_the_users"),
    (
        "ignored-inputs",
        "misses::an_ignored_file_that_is_a_declared_input",
    ),
    (
        "config-above",
        "rust::rustfmt_finds_file_and_line_and_sees_its_configuration",
    ),
    (
        "timeouts",
        "own_checks::a_check_over_its_time_is_an_error_and_not_stored",
    ),
    ("signals", "not_stored::a_check_that_was_killed"),
    (
        "signal-codes",
        "not_stored::an_exit_code_that_reports_a_signal",
    ),
    (
        "signal-codes",
        "not_stored::a_check_whose_program_was_killed",
    ),
    (
        "signal-messages",
        "not_stored::a_failure_that_tells_of_a_signal",
    ),
    ("interrupted", "not_stored::an_interrupted_run"),
    (
        "odd-entries",
        "not_stored::what_the_snapshot_cannot_hold_is_not_stored",
    ),
    (
        "links-out",
        "not_stored::a_link_out_of_the_project_is_not_stored",
    ),
    ("entry-verified", "not_stored::an_altered_entry"),
    ("entry-format", "not_stored::an_entry_of_another_format"),
    ("entry-key", "not_stored::an_entry_of_another_key"),
    ("entry-plain", "not_stored::an_entry_replaced_by_a_link"),
    ("blob-verified", "not_stored::a_damaged_blob"),
    ("joined", "join::the_second_waits_and_replays"),
    ("rename", "crash::killed_in_the_middle_of_writing_a_result"),
    (
        "entry-last",
        "crash::killed_before_what_a_result_names_is_written",
    ),
    (
        "key-lock",
        "concurrency::who_misses_what_another_runs_waits_for_it",
    ),
    (
        "store-lock",
        "concurrency::clear_and_prune_wait_for_runs_and_say_so",
    ),
    (
        "full-disk",
        "crash::a_check_on_a_disk_that_is_full_gives_no_verdict",
    ),
    (
        "full-disk",
        "crash::a_failure_that_speaks_of_a_full_disk_is_not_stored",
    ),
    (
        "room-kept",
        "crash::a_cache_whose_folder_is_removed_while_a_check_runs",
    ),
    (
        "secrets-masked",
        "secrets::the_check_sees_it_and_nobody_else",
    ),
    (
        "secret-rooms-emptied",
        "secrets::nothing_that_a_check_leaves_in_its_room_stays",
    ),
    (
        "outputs-restored",
        "outputs::what_is_gone_or_altered_is_restored_on_a_hit",
    ),
    (
        "outputs-whole",
        "outputs::a_damaged_or_missing_copy_in_the_store_makes_it_run_again",
    ),
    (
        "outputs-follow-no-link",
        "outputs::a_folder_that_is_a_link_is_not_followed",
    ),
    (
        "tracked-outputs-compared",
        "outputs::a_committed_output_is_compared_and_left_alone",
    ),
    (
        "replaced-files-kept",
        "outputs::what_is_replaced_is_kept_and_the_line_brings_it_back",
    ),
    (
        "edited-outputs-stay",
        "outputs::what_was_edited_during_the_run_stays",
    ),
    ("max-age", "own_checks::results_older_than_max_age_miss"),
    (
        "max-age-of-parts",
        "settings::a_whole_is_as_old_as_its_oldest_part",
    ),
    (
        "cache-off",
        "settings::turning_the_cache_off_serves_nothing_that_was_stored_before",
    ),
    (
        "lies-quarantined",
        "audit::a_wrong_verdict_is_told_and_not_served_again",
    ),
    (
        "lies-distrusted",
        "audit::a_wrong_verdict_is_told_and_not_served_again",
    ),
    (
        "confined,own-root",
        "confined::what_is_outside_every_cover_cannot_be_read_either",
    ),
    (
        "confined,own-root",
        "confined::programs_of_the_host_cannot_be_written_through_their_links",
    ),
    (
        "own-root",
        "confined::a_room_has_the_same_path_in_every_checkout_and_store",
    ),
    (
        "offline",
        "confined::there_is_no_network_but_a_loopback_of_its_own",
    ),
    #[cfg(target_os = "linux")]
    (
        "own-processes",
        "walls::room::other_processes_cannot_be_seen_limited_or_signalled",
    ),
    #[cfg(target_os = "linux")]
    (
        "own-session",
        "walls::room::the_users_terminal_is_out_of_reach",
    ),
    #[cfg(target_os = "linux")]
    ("traced", "traced::the_reason_names_the_file"),
    #[cfg(target_os = "linux")]
    (
        "calls",
        "walls::room::system_calls_that_lead_around_the_walls_are_refused",
    ),
    #[cfg(target_os = "linux")]
    ("no-capabilities", "walls::room::no_capability_is_left"),
    #[cfg(target_os = "linux")]
    (
        "descriptors",
        "walls::room::files_the_user_has_open_are_not_passed_on",
    ),
    #[cfg(target_os = "linux")]
    (
        "read-only",
        "walls::room::nothing_outside_the_room_can_be_changed_not_even_modes_and_times",
    ),
    #[cfg(target_os = "linux")]
    ("limits", "walls::limits::too_many_processes_end_the_check"),
    (
        "tool-content",
        "misses::a_program_replaced_at_the_same_path",
    ),
    (
        "neighbours",
        "tools::what_was_installed_with_a_program_counts",
    ),
    ("interpreter", "misses::the_interpreter_of_a_script"),
    (
        "venv-packages",
        "python_tools::a_module_that_is_edited_in_place_makes_another_tool",
    ),
    ("node-packages", "tools::a_program_of_node_is_its_packages"),
    (
        "shims",
        "tools::behind_a_shim_stands_the_program_it_would_run",
    ),
    (
        "hidden-tools",
        "own_checks::a_program_that_is_a_script_is_run_but_not_stored",
    ),
    (
        "discovered-programs",
        "discovered_programs::a_stored_failure_is_not_served_once_the_program_is_there",
    ),
    (
        "absent-tools",
        "tools::a_program_that_building_may_call_counts_also_when_it_is_not_there",
    ),
    (
        "product-reads",
        "rust_stale::what_products_were_made_from_still_counts",
    ),
    (
        "member-units",
        "rust_stale::a_warm_room_says_what_a_clean_build_says",
    ),
    (
        "seeds-doubted",
        "rust_reads::damaged_products_of_the_users_make_no_verdict",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "engine-env-hidden",
        "dagger::checks::nothing_of_the_engine_is_in_the_environment",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "signals-are-forgotten",
        "dagger::checks::exit_codes_that_report_a_signal_are_no_verdict",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "missing-is-forgotten",
        "dagger::checks::a_program_that_is_not_in_the_image_is_named_with_the_ways_out",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "timeouts-are-forgotten",
        "dagger::checks::a_time_limit_is_no_verdict",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "container-umask",
        "dagger::checks::the_umask_is_that_of_every_check",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "nonce-tells",
        "dagger::checks::what_the_engine_remembers_is_told_from_what_ran",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "output-as-bytes",
        "dagger::checks::output_is_the_same_as_on_this_machine",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "staged-upload",
        "dagger::checks::an_edit_of_the_same_size_with_kept_mtime_is_uploaded",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "staged-upload",
        "dagger::checks::modes_of_another_umask_change_nothing",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "run-again",
        "dagger::checks::a_run_that_must_be_another_one_is_one",
    ),
    #[cfg(all(feature = "dagger", unix))]
    (
        "kept-by-content",
        "dagger::rust::in_a_place_that_is_kept_the_content_decides",
    ),
];

/// (rules, a test that passes without them all the same): the other half of what a line above says of two rules.
const STILL: &[(&str, &str)] = &[("fine-times", "misses::edits_right_after_a_run")];

#[test]
fn every_rule_has_a_test() {
    let named: Vec<&str> = RULES
        .iter()
        .flat_map(|(rules, _)| rules.split(','))
        .collect();
    for rule in Rule::ALL {
        assert!(
            named.contains(&rule.name()),
            "no test is named for the rule {}",
            rule.name()
        );
    }
    for name in named {
        let known = Rule::ALL.iter().any(|rule| rule.name() == name);
        assert!(known, "{name} is no rule");
    }
}

#[test]
fn every_test_of_a_rule_fails_without_it() {
    if !crate::support::has_switches() {
        return crate::support::skip("the program was built without debug assertions");
    }
    let lines: Vec<(&str, &str, bool)> = RULES
        .iter()
        .map(|(rules, test)| (*rules, *test, false))
        .chain(STILL.iter().map(|(rules, test)| (*rules, *test, true)))
        .collect();
    // Usually some of them, others each time.
    let count = steps("DAGCACHE_TEST_RULES", 25).min(lines.len());
    let begin = Chance::new(seed()).below(lines.len());
    let chosen = lines.iter().cycle().skip(begin).take(count);
    let chosen: Vec<_> = chosen.collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        let take = || chosen.get(next.fetch_add(1, Ordering::Relaxed));
        let taken = std::iter::from_fn(take);
        taken
            .filter_map(|(rules, test, passes)| wrong(rules, test, *passes))
            .collect::<Vec<String>>()
    };
    let broken = std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        [worker(), other.join().expect("the other half")].concat()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What is wrong with a line of a table.
fn wrong(rules: &str, test: &str, passes: bool) -> Option<String> {
    let this = std::env::current_exe().expect("the path of the tests");
    let run = Command::new(this)
        .args(["--exact", test, "--test-threads", "1", "--nocapture"])
        .env("DAGCACHE_WITHOUT", rules)
        .output()
        .expect("the tests run");
    let said = String::from_utf8_lossy(&run.stdout);
    // What this machine lacks says nothing of a rule.
    if String::from_utf8_lossy(&run.stderr).contains("skipped: ") {
        return None;
    }
    let (passed, failed) = if passes { (1, 0) } else { (0, 1) };
    if said.contains(&format!("{passed} passed; {failed} failed")) {
        return None;
    }
    let not = if passes { "fails" } else { "does not fail" };
    Some(format!("{test} {not} without {rules}:\n{said}"))
}
