//! The correctness matrix: what must miss, what must hit, what must never be stored, what is repaired or refused; and
//! for each row the tests that show it. `rules` names for each rule a test that fails without it.
//!
//! The rows are the sentences below, piece by piece and in order, so that none is left out; tests are looked up in this
//! very program, so that none is only promised.

use std::process::Command;

const MATRIX: &str = "\
must miss: same-size edit with kept mtime · edit within the racy window · chmod +x · file→symlink, symlink target · \
rename, add, delete, empty vs missing · file becomes directory · argument order · declared env changed, set to empty, unset · \
tool replaced on PATH (same path, other content; other path earlier on PATH; interpreter; venv package; behind a shim) · \
config of the tool, also above the root · toolchain file · engine kind · closure of the lockfile · \
gitignored file that is a declared input · ignore file changed · new file that a glob now matches · \
`git rm --cached` of an ignored file · `mod.rs` added beside `mod`, a header or env var a build script reads · \
first-party module added (ruff) · a second kustomization name added · KEY_VERSION. \
must hit: touch, checkout of the same content elsewhere, other user (key equality), other umask, other cwd, \
other absolute path, reordered config keys, undeclared env, unrelated lock entry, unrelated file, \
staged vs work tree of the same content. \
input edited while the check runs (also when reverted): what is stored is the verdict of the hashed content; \
the edited content misses. \
must not be cached: check killed, timed out, out of memory, interrupted · engine lost · disk full · \
dependents of a failed member. \
must be repaired or refused: blob truncated, altered, replaced by a symlink; entry of another key; \
output altered in the work tree (restored on a hit); artifact with `..`, absolute path, symlink parent; \
store of a newer version; read-only or missing store (runs uncached with one warning).";

/// (row, tests that show it): those of this program, after `- key::` a unit test; for a row that has none yet, why,
/// after a `-`.
const ROWS: &[(&str, &[&str])] = &[
    // must miss
    (
        "same-size edit with kept mtime",
        &["misses::an_edit_of_the_same_size_with_kept_mtime"],
    ),
    (
        "edit within the racy window",
        &["misses::edits_right_after_a_run"],
    ),
    ("chmod +x", &["misses::the_execute_bit"]),
    ("file→symlink", &["misses::a_file_that_becomes_a_link"]),
    ("symlink target", &["misses::the_target_of_a_link"]),
    (
        "rename",
        &[
            "misses::a_renamed_file",
            "misses::two_files_that_swap_their_contents",
            "misses::a_folder_that_becomes_another_by_name_only",
        ],
    ),
    ("add", &["misses::a_file_that_is_added_though_empty"]),
    ("delete", &["misses::a_file_that_is_removed"]),
    (
        "empty vs missing",
        &[
            "misses::a_file_that_is_emptied",
            "misses::a_file_that_is_removed_though_empty",
        ],
    ),
    (
        "file becomes directory",
        &["misses::a_file_that_becomes_a_folder"],
    ),
    (
        "argument order",
        &[
            "misses::the_order_of_arguments",
            "misses::how_arguments_are_divided",
        ],
    ),
    (
        "declared env changed, set to empty, unset",
        &[
            "misses::a_declared_variable_that_is_unset_empty_or_other",
            "misses::a_declared_variable_with_other_bytes_that_are_no_text",
        ],
    ),
    (
        "same path, other content",
        &[
            "misses::a_program_replaced_at_the_same_path",
            "misses::a_program_rewritten_in_place",
        ],
    ),
    (
        "other path earlier on PATH",
        &["misses::a_program_found_earlier_on_path"],
    ),
    ("interpreter", &["misses::the_interpreter_of_a_script"]),
    (
        "venv package",
        &["python::a_program_on_path_is_used_if_it_is_exactly_what_is_locked"],
    ),
    (
        "behind a shim",
        &[
            "tools::behind_a_shim_stands_the_program_it_would_run",
            "tools::a_proxy_of_rustup_is_the_toolchain_it_chooses",
        ],
    ),
    (
        "config of the tool",
        &[
            "rust::rustfmt_finds_file_and_line_and_sees_its_configuration",
            "python::yamllint_runs_on_what_changed_and_replays_the_rest",
        ],
    ),
    (
        "also above the root",
        &["rust::rustfmt_finds_file_and_line_and_sees_its_configuration"],
    ),
    ("toolchain file", &["rust::a_toolchain_file"]),
    (
        "engine kind",
        &["- key::fingerprint::tests::engines_and_platforms_share_no_key"],
    ),
    (
        "closure of the lockfile",
        &["python::only_what_a_tool_is_locked_with_makes_its_layer_another"],
    ),
    (
        "gitignored file that is a declared input",
        &["misses::an_ignored_file_that_is_a_declared_input"],
    ),
    (
        "ignore file changed",
        &[
            "misses::an_ignore_file_that_changed",
            "misses::an_ignore_file_that_was_there",
            "misses::an_ignore_file_of_a_folder",
            "misses::the_exclude_file_of_the_repository",
            "misses::the_users_own_ignore_file",
            "misses::an_ignore_file_that_git_is_told_of",
            "misses::the_ignore_file_of_another_user",
        ],
    ),
    (
        "new file that a glob now matches",
        &["misses::a_file_that_is_added_though_empty"],
    ),
    (
        "`git rm --cached` of an ignored file",
        &[
            "misses::an_ignored_file_that_leaves_the_index",
            "misses::an_ignored_file_that_joins_the_index",
        ],
    ),
    (
        "`mod.rs` added beside `mod`",
        &["rust::a_file_beside_a_module_is_seen"],
    ),
    (
        "a header or env var a build script reads",
        &[
            "rust_stale::a_warm_room_says_what_a_clean_build_says",
            "rust_stale::what_products_were_made_from_still_counts",
        ],
    ),
    (
        "first-party module added (ruff)",
        &["python::a_first_party_module_that_joins_reruns_ruff"],
    ),
    (
        "a second kustomization name added",
        &["kustomize::a_second_name_of_a_kustomization_is_seen"],
    ),
    (
        "KEY_VERSION",
        &[
            "- key::fingerprint::tests::golden_keys_stay_as_they_are",
            "- key::diff::tests::a_fingerprint_of_another_version_says_that_and_nothing_else",
        ],
    ),
    // must hit
    (
        "touch",
        &[
            "hits::touched_files",
            "hits::rewritten_with_the_same_content",
            "hits::changed_and_changed_back",
        ],
    ),
    (
        "checkout of the same content elsewhere",
        &[
            "hits::another_checkout_with_another_umask_has_the_same_keys",
            "hits::a_branch_and_back",
            "hits::a_linked_work_tree",
        ],
    ),
    (
        "other user (key equality)",
        &["hits::another_user_has_the_same_keys"],
    ),
    (
        "other umask",
        &[
            "hits::another_checkout_with_another_umask_has_the_same_keys",
            "hits::permission_bits_other_than_execution",
            "own_checks::its_umask_is_not_the_users",
        ],
    ),
    ("other cwd", &["hits::another_current_directory"]),
    (
        "other absolute path",
        &["hits::another_checkout_with_another_umask_has_the_same_keys"],
    ),
    (
        "reordered config keys",
        &["hits::reordered_keys_and_comments_of_the_configuration"],
    ),
    (
        "undeclared env",
        &[
            "hits::an_undeclared_variable",
            "own_checks::the_environment_is_clean",
        ],
    ),
    (
        "unrelated lock entry",
        &["python::only_what_a_tool_is_locked_with_makes_its_layer_another"],
    ),
    ("unrelated file", &["hits::an_unrelated_file"]),
    (
        "staged vs work tree of the same content",
        &["pre_commit::commits::a_commit_right_after_dev_check_runs_nothing"],
    ),
    // edits
    (
        "input edited while the check runs",
        &[
            "edits_during_run::the_stored_verdict_is_that_of_the_hashed_content",
            "edits_during_run::a_red_verdict_is_not_hidden_by_an_edit",
        ],
    ),
    (
        "(also when reverted)",
        &["edits_during_run::an_edit_that_is_reverted_before_the_end_leaves_no_trace"],
    ),
    (
        "what is stored is the verdict of the hashed content",
        &["edits_during_run::an_edit_between_hashing_and_copying_is_seen"],
    ),
    (
        "the edited content misses",
        &[
            "edits_during_run::the_stored_verdict_is_that_of_the_hashed_content",
            "edits_during_run::a_file_that_goes_away_meanwhile_is_seen",
            "edits_during_run::a_file_that_never_holds_still_is_an_error",
        ],
    ),
    // must not be cached
    (
        "check killed",
        &[
            "not_stored::a_check_that_was_killed",
            "not_stored::an_exit_code_that_reports_a_signal",
            "not_stored::a_failure_that_tells_of_a_signal",
        ],
    ),
    (
        "timed out",
        &["own_checks::a_check_over_its_time_is_an_error_and_not_stored"],
    ),
    (
        "out of memory",
        &["not_stored::a_check_whose_program_was_killed"],
    ),
    (
        "interrupted",
        &[
            "not_stored::an_interrupted_run",
            "not_stored::a_terminated_run",
        ],
    ),
    ("engine lost", &["- the local engine is this process"]),
    (
        "disk full",
        &[
            "crash::a_disk_that_is_full_gives_no_verdict",
            "crash::a_check_on_a_disk_that_is_full_gives_no_verdict",
            "crash::a_failure_that_speaks_of_a_full_disk_is_not_stored",
        ],
    ),
    (
        "dependents of a failed member",
        &["- members are not yet parts of their own"],
    ),
    // must be repaired or refused
    (
        "blob truncated",
        &[
            "not_stored::a_damaged_blob",
            "not_stored::a_truncated_entry",
        ],
    ),
    (
        "altered",
        &[
            "not_stored::a_damaged_blob",
            "not_stored::an_altered_entry",
            "not_stored::an_altered_memo",
            "not_stored::an_altered_copy_in_a_room_is_made_right",
            "not_stored::everything_else_in_the_store_may_be_damaged_too",
        ],
    ),
    (
        "replaced by a symlink",
        &[
            "not_stored::a_damaged_blob",
            "not_stored::an_entry_replaced_by_a_link",
        ],
    ),
    (
        "entry of another key",
        &["not_stored::an_entry_of_another_key"],
    ),
    (
        "output altered in the work tree (restored on a hit)",
        &[
            "outputs::what_is_gone_or_altered_is_restored_on_a_hit",
            "outputs::what_is_replaced_is_kept_and_the_line_brings_it_back",
        ],
    ),
    (
        "artifact with `..`, absolute path, symlink parent",
        &[
            "outputs::a_stored_result_cannot_name_what_no_output_may_be",
            "outputs::a_stored_result_writes_through_no_link_and_makes_none_that_leads_out",
            "outputs::what_cannot_be_an_output_is_refused_and_not_stored",
            "outputs::a_folder_that_is_a_link_is_not_followed",
            "outputs::a_folder_of_the_room_that_is_a_link_is_not_read_through",
            "outputs::what_makes_no_sense_is_a_configuration_error",
        ],
    ),
    (
        "store of a newer version",
        &["not_stored::an_entry_of_another_format"],
    ),
    (
        "read-only or missing store (runs uncached with one warning)",
        &[
            "bad_input::a_cache_folder_that_cannot_be_made",
            "bad_input::a_cache_folder_without_permission_to_write",
            "bad_input::no_home_at_all",
        ],
    ),
];

/// What stands between two rows.
const BETWEEN: [&str; 7] = [
    "must miss",
    "must hit",
    "must not be cached",
    "must be repaired or refused",
    "tool replaced on PATH",
    "(",
    ")",
];

#[test]
fn every_row_has_a_line() {
    let mut rest = MATRIX;
    let mut between = String::new();
    for (row, tests) in ROWS {
        let found = rest.split_once(row);
        let (before, after) = found.unwrap_or_else(|| panic!("{row} is no row, or out of order"));
        between.push_str(before);
        rest = after;
        assert!(!tests.is_empty(), "{row}");
    }
    between.push_str(rest);
    for words in BETWEEN {
        between = between.replace(words, "");
    }
    let left = between.trim_matches(|c: char| " ·,;:.".contains(c));
    let left: Vec<&str> = left.split([' ', '·', ',', ';', ':', '.']).collect();
    assert_eq!(left.concat(), "", "no line tells of this");
}

#[test]
fn every_test_of_a_row_exists() {
    let this = std::env::current_exe().expect("the path of the tests");
    let listed = Command::new(this)
        .arg("--list")
        .output()
        .expect("the tests are listed");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let all: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    let of_rows = ROWS.iter().flat_map(|(_, tests)| *tests);
    let of_rules = crate::rules::RULES.iter().map(|(_, test)| test);
    for test in of_rows.chain(of_rules) {
        let there = match test.strip_prefix("- ") {
            Some(unit) if unit.starts_with("key::") => is_unit_test(unit),
            Some(_) => true,
            None => all.contains(test),
        };
        let elsewhere = !cfg!(target_os = "linux") && test.contains("never_holds_still");
        assert!(there || elsewhere, "there is no test {test}");
    }
}

/// Whether the source has a test of that path (`key::diff::tests::NAME`).
fn is_unit_test(path: &str) -> bool {
    let (module, name) = path.split_once("::tests::").expect("a module of tests");
    let file = format!("src/{}.rs", module.replace("::", "/"));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(file).expect("its source");
    text.contains(&format!("    #[test]\n    fn {name}("))
}
