//! `outputs`: what a check makes comes to the project, comes back on a hit, and nothing of the user's is lost for it.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::{Json, Run, Sandbox, open_gate};

/// A project with one check `own` that makes what `script` says, from `src/a`.
fn sandbox(outputs: &str, script: &str) -> Sandbox {
    let config = format!("[checks.own]\ncommand = [\"./check.sh\"]\noutputs = {outputs}\n");
    let files = [
        ("src/a", "one\n"),
        (".gitignore", "/build/\n"),
        ("dagcache.toml", &config),
    ];
    let sandbox = Sandbox::with(&files);
    sandbox.script("check.sh", script);
    sandbox
}

/// Copies `src/a`, and says so.
const COPY: &str = "read line < src/a; echo \"$line\" > build/report.txt; echo made";

fn reporting() -> Sandbox {
    sandbox("[\"build/report.txt\"]", COPY)
}

fn own(sandbox: &Sandbox) -> Json {
    sandbox.json(&["lint", "--only", "own"])
}

/// Does as a person who copies the command that is printed after these words.
fn type_what_follows(sandbox: &Sandbox, run: &Run, words: &str) {
    let (_, command) = run.stderr.split_once(words).expect("the words");
    let command = command.lines().next().expect("a command");
    let shell = std::process::Command::new("sh")
        .args(["-c", command])
        .current_dir(sandbox.project())
        .status();
    assert!(shell.expect("sh").success(), "{command}");
}

#[test]
fn what_a_check_makes_comes_to_the_project() {
    let sandbox = reporting();
    let json = own(&sandbox).expect(0);
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
    // There was nothing to replace.
    assert!(!json.run.stderr.contains("report"), "{}", json.run.stderr);
    own(&sandbox).expect(0).expect_fresh();
}

#[test]
fn without_outputs_nothing_comes() {
    let script = "echo x > made";
    let sandbox = sandbox("[]", script);
    own(&sandbox).expect(0);
    assert!(!sandbox.path("made").exists());
}

#[test]
fn what_is_gone_or_altered_is_restored_on_a_hit() {
    let sandbox = reporting();
    own(&sandbox).expect(0);
    sandbox.remove("build/report.txt");
    own(&sandbox).expect(0).expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "one\n");

    std::fs::remove_dir_all(sandbox.path("build")).expect("remove");
    own(&sandbox).expect(0).expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "one\n");

    sandbox.write("build/report.txt", "altered\n");
    own(&sandbox).expect(0).expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "one\n");

    sandbox.mode("build/report.txt", 0o755);
    own(&sandbox).expect(0).expect_fresh();
    let mode = std::fs::metadata(sandbox.path("build/report.txt"));
    assert_eq!(mode.expect("file").permissions().mode() & 0o111, 0);
}

#[test]
fn an_older_result_brings_back_what_it_made() {
    let sandbox = reporting();
    own(&sandbox).expect(0);
    sandbox.write("src/a", "two\n");
    assert_eq!(own(&sandbox).expect(0).ran(), ["own input-changed src/a"]);
    assert_eq!(sandbox.read("build/report.txt"), "two\n");
    sandbox.write("src/a", "one\n");
    let json = own(&sandbox).expect(0);
    json.expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
    // Both were made by the check: nothing of the user's was replaced.
    assert_eq!(json.run.stderr, "");
}

#[test]
fn what_is_replaced_is_kept_and_the_line_brings_it_back() {
    let sandbox = reporting();
    sandbox.write("build/report.txt", "written by hand\n");
    let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
    type_what_follows(&sandbox, &run, "to restore the old file: ");
    assert_eq!(sandbox.read("build/report.txt"), "written by hand\n");
    // Not even a clearing loses it.
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(sandbox.cached("v1/kept", "").len(), 1);
}

#[test]
fn kinds_and_folders_come_as_they_were_made() {
    let script = "mkdir -p build/a/b; echo x > build/a/b/tool; chmod +x build/a/b/tool; ln -s b/tool build/a/link; echo 1 > other";
    let sandbox = sandbox("[\"build/**\", \"!**/*.log\"]", script);
    let config = sandbox.read("dagcache.toml");
    sandbox.write(
        "dagcache.toml",
        format!("{config}tools = [\"mkdir\", \"chmod\", \"ln\"]\n"),
    );
    for _ in 0..2 {
        own(&sandbox).expect(0);
        let mode = |path| {
            std::fs::metadata(sandbox.path(path))
                .expect(path)
                .permissions()
                .mode()
        };
        assert_ne!(mode("build/a/b/tool") & 0o100, 0);
        let target = std::fs::read_link(sandbox.path("build/a/link")).expect("link");
        assert_eq!(target.to_str(), Some("b/tool"));
        assert!(!sandbox.path("other").exists());
        std::fs::remove_dir_all(sandbox.path("build")).expect("remove");
    }
}

#[test]
fn an_output_is_no_input_of_its_check() {
    // Not ignored, so it is a file of the project after the first run.
    let script = "[ ! -e out.txt ] || exit 9; echo made > out.txt";
    let sandbox = sandbox("[\"out.txt\"]", script);
    own(&sandbox).expect(0);
    own(&sandbox).expect(0).expect_fresh();
    sandbox.write("out.txt", "edited\n");
    own(&sandbox).expect(0).expect_fresh();
    assert_eq!(sandbox.read("out.txt"), "made\n");
    sandbox.write("src/a", "two\n");
    own(&sandbox).expect(0);
}

#[test]
fn a_failure_and_its_report_are_stored_too() {
    let sandbox = sandbox(
        "[\"build/report.txt\"]",
        "echo red > build/report.txt; exit 1",
    );
    own(&sandbox).expect(1);
    sandbox.remove("build/report.txt");
    own(&sandbox).expect(1).expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "red\n");
}

#[test]
fn a_committed_output_is_compared_and_left_alone() {
    let sandbox = sandbox("[\"gen.txt\"]", "echo made > gen.txt");
    sandbox.write("gen.txt", "old\n");
    sandbox.commit("generated");
    for fresh in [false, true] {
        let json = own(&sandbox).expect(1);
        let check = json.check("own");
        assert_eq!(check["verdict"], "failed");
        assert_eq!(check["exit_code"], 0);
        assert_eq!(check["cache"] == "hit", fresh);
        assert_eq!(check["findings"][0]["path"], "gen.txt");
        assert_eq!(sandbox.read("gen.txt"), "old\n");
    }
    let run = sandbox.run(&["lint", "--only", "own"]).expect(1);
    type_what_follows(&sandbox, &run, "to use the output of the check: ");
    let json = own(&sandbox).expect(0);
    json.expect_fresh();
    assert_eq!(json.check("own")["verdict"], "passed");
    // One that was deleted but is still tracked is a difference, too.
    sandbox.remove("gen.txt");
    own(&sandbox).expect(1).expect_fresh();
    assert!(!sandbox.path("gen.txt").exists());
}

/// Nothing is written for the output, and it is said why.
#[track_caller]
fn not_written(run: &Run, why: &str) {
    let said = run.stderr.contains("not writing the output ") && run.stderr.contains(why);
    assert!(said, "{}", run.stderr);
}

#[test]
fn a_folder_that_is_a_link_is_not_followed() {
    let sandbox = sandbox("[\"build/report.txt\"]\ninputs = [\"src/**\"]", COPY);
    let outside = sandbox.outer().join("outside");
    std::fs::create_dir(&outside).expect("folder");
    symlink(&outside, sandbox.path("build")).expect("link");
    for _ in 0..2 {
        let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
        not_written(&run, "build is a link");
        assert_eq!(std::fs::read_dir(&outside).expect("folder").count(), 0);
    }
}

#[test]
fn a_folder_in_the_place_of_an_output_stays() {
    let sandbox = reporting();
    std::fs::create_dir_all(sandbox.path("build/report.txt/deep")).expect("folder");
    let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
    not_written(&run, "something other than a file");
    assert!(sandbox.path("build/report.txt/deep").is_dir());
}

#[test]
fn a_link_in_the_place_of_an_output_is_replaced_and_not_followed() {
    let sandbox = reporting();
    let theirs = sandbox.outer().join("theirs");
    std::fs::write(&theirs, "theirs\n").expect("write");
    std::fs::create_dir(sandbox.path("build")).expect("folder");
    symlink(&theirs, sandbox.path("build/report.txt")).expect("link");
    let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
    assert!(
        run.stderr.contains("which was a link to "),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
    assert_eq!(std::fs::read_to_string(theirs).expect("file"), "theirs\n");
}

#[test]
fn what_was_edited_during_the_run_stays() {
    let sandbox = sandbox(
        "[\"build/report.txt\"]\ntools = [\"mkfifo\"]\ntimeout = \"60s\"",
        "mkfifo gate; read line < gate; echo made > build/report.txt",
    );
    let child = sandbox.start(&["lint", "--only", "own"]);
    let gate = sandbox.gate();
    sandbox.write("build/report.txt", "just written\n");
    open_gate(&gate);
    let run = Run::end_of(child).expect(0);
    not_written(&run, "edited during the run");
    assert_eq!(sandbox.read("build/report.txt"), "just written\n");
    own(&sandbox).expect(0).expect_fresh();
    assert_eq!(sandbox.read("build/report.txt"), "made\n");
}

#[test]
fn what_cannot_be_an_output_is_refused_and_not_stored() {
    let cases = [
        (
            "ln -s /etc/passwd build/report.txt",
            "is a link to outside the project",
        ),
        (
            "ln -s ../../x build/report.txt",
            "is a link to outside the project",
        ),
        ("mkfifo build/report.txt", "neither a file nor a link"),
    ];
    for (script, why) in cases {
        let sandbox = sandbox("[\"build/**\"]\ntools = [\"ln\", \"mkfifo\"]", script);
        for _ in 0..2 {
            let json = own(&sandbox).expect(0);
            let check = json.check("own");
            assert_eq!(check["cache"], "miss", "{script}");
            let reason = check["not_stored"].as_str().expect("a reason");
            assert!(reason.contains(why), "{reason}");
            assert!(sandbox.path("build/report.txt").symlink_metadata().is_err());
        }
    }
}

#[test]
fn a_folder_of_the_room_that_is_a_link_is_not_read_through() {
    let script = "ln -s /etc build";
    let sandbox = sandbox(
        "[\"build/*\"]\ntools = [\"ln\", \"rmdir\"]",
        &format!("rmdir build; {script}"),
    );
    own(&sandbox).expect(0);
    assert!(!sandbox.path("build").exists());
}

#[test]
fn a_damaged_or_missing_copy_in_the_store_makes_it_run_again() {
    for damage in [true, false] {
        let sandbox = reporting();
        own(&sandbox).expect(0);
        sandbox.remove("build/report.txt");
        let blobs = sandbox.cached("v1/cas", "").into_iter();
        let blob = blobs.filter(|blob| std::fs::read(blob).is_ok_and(|bytes| bytes == b"one\n"));
        for blob in blob {
            if damage {
                std::fs::write(blob, "won\n").expect("damage");
            } else {
                std::fs::remove_file(blob).expect("remove");
            }
        }
        let json = own(&sandbox).expect(0);
        assert_eq!(json.check("own")["miss"]["kind"], "damaged");
        assert_eq!(sandbox.read("build/report.txt"), "one\n");
        sandbox.remove("build/report.txt");
        own(&sandbox).expect(0).expect_fresh();
        assert_eq!(sandbox.read("build/report.txt"), "one\n");
    }
}

/// Whoever can write to the store can write a checksum, too: what an entry names is looked at all the same.
#[test]
fn a_stored_result_cannot_name_what_no_output_may_be() {
    let outside = ["outside", "project/inside", "absolute"];
    for (number, to) in ["../outside", "inside", "ABSOLUTE", ".git/hooks/x"]
        .into_iter()
        .enumerate()
    {
        let sandbox = reporting();
        own(&sandbox).expect(0);
        let absolute = sandbox.outer().join("absolute");
        let to = to.replace("ABSOLUTE", &absolute.to_string_lossy());
        sandbox.forge("\"build/report.txt\"", &format!("\"{to}\""));
        let json = own(&sandbox).expect(0);
        assert_eq!(
            json.check("own")["miss"]["kind"],
            "damaged",
            "{number}: {to}"
        );
        for path in outside {
            assert!(!sandbox.outer().join(path).exists(), "{path}");
        }
        assert!(!sandbox.path(".git/hooks/x").exists());
        own(&sandbox).expect(0).expect_fresh();
    }
}

#[test]
fn a_stored_result_writes_through_no_link_and_makes_none_that_leads_out() {
    let script = "echo made > build/report.txt; ln -s report.txt build/link";
    let keys = "[\"build/**\"]\ninputs = [\"src/**\"]\ntools = [\"ln\"]";
    let sandbox = sandbox(keys, script);
    own(&sandbox).expect(0);
    std::fs::remove_dir_all(sandbox.path("build")).expect("remove");
    let outside = sandbox.outer().join("outside");
    std::fs::create_dir(&outside).expect("folder");
    // A path through a folder that is a link in the project.
    std::fs::create_dir(sandbox.path("build")).expect("folder");
    symlink(&outside, sandbox.path("build/deep")).expect("link");
    sandbox.forge("\"build/report.txt\"", "\"build/deep/report.txt\"");
    let run = sandbox.run(&["lint", "--only", "own"]).expect(0);
    not_written(&run, "build/deep is a link");
    assert_eq!(std::fs::read_dir(&outside).expect("folder").count(), 0);

    // A link whose text is that of another blob, which leads out.
    let text = b"made\n";
    let target = outside.to_string_lossy().into_owned();
    let blob = |bytes: &[u8]| dagcache::for_tests::Digest::of(bytes).to_string();
    let (from, to) = (blob(b"report.txt"), blob(target.as_bytes()));
    let made = sandbox.cached("v1/cas", &blob(text)[2..]);
    let folder = made[0].parent().and_then(std::path::Path::parent);
    let folder = folder.expect("a folder").join(&to[..2]);
    std::fs::create_dir_all(&folder).expect("folder");
    std::fs::write(folder.join(made_name(&made[0], &blob(text), &to)), target).expect("blob");
    sandbox.forge(&from, &to);
    sandbox.remove("build/link");
    let json = own(&sandbox).expect(0);
    assert_eq!(json.check("own")["miss"]["kind"], "damaged");
    let link = std::fs::read_link(sandbox.path("build/link")).expect("link");
    assert_eq!(link.to_str(), Some("report.txt"));
}

/// The name of a blob's file, as that of another blob is made.
fn made_name(other: &std::path::Path, other_digest: &str, digest: &str) -> String {
    let name = other.file_name().expect("a name").to_string_lossy();
    if name == other_digest {
        return digest.to_owned();
    }
    digest[digest.len() - name.len()..].to_owned()
}

#[test]
fn a_dry_run_writes_nothing_and_no_cache_still_brings_what_was_made() {
    let sandbox = reporting();
    sandbox.json(&["lint", "--dry-run"]).expect(0);
    assert!(!sandbox.path("build").exists());
    sandbox
        .json(&["lint", "--only", "own", "--no-cache"])
        .expect(0);
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
    own(&sandbox).expect(0);
    sandbox.remove("build/report.txt");
    sandbox
        .json(&["lint", "--only", "own", "--dry-run"])
        .expect(0);
    assert!(!sandbox.path("build/report.txt").exists());
    sandbox
        .json(&["lint", "--only", "own", "--cached-only"])
        .expect(0);
    assert_eq!(sandbox.read("build/report.txt"), "one\n");
}

#[test]
fn other_outputs_are_another_check() {
    let sandbox = reporting();
    own(&sandbox).expect(0);
    let config = sandbox
        .read("dagcache.toml")
        .replace("build/report.txt", "build/*.txt");
    sandbox.write("dagcache.toml", config);
    let ran = own(&sandbox).expect(0).ran();
    // The configuration is an input of this check, too.
    assert_eq!(ran.len(), 1, "{ran:?}");
}

#[test]
fn what_makes_no_sense_is_a_configuration_error() {
    for (outputs, why) in [
        ("[\"**\"]", "the whole project"),
        ("[\"../x\"]", ".."),
        ("[\"/tmp/x\"]", "absolute"),
        (
            "[\"o\"]\nfiles = [\"src/*\"]\nper-file = true",
            "cannot be combined",
        ),
    ] {
        let run = sandbox(outputs, "").run(&["lint"]).expect(2);
        assert!(run.stderr.contains(why), "{outputs}: {}", run.stderr);
    }
}
