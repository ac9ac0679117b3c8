//! The store believes only this user and root, and nothing is written through links of others.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::pre_commit::Repo;
use crate::support::{Run, Sandbox};

/// A user that nobody is.
const OTHER: u32 = 65_533;

fn sandbox() -> Sandbox {
    own("")
}

fn own(script: &str) -> Sandbox {
    let config =
        "[checks.own]\ncommand = [\"./check.sh\"]\ntools = [\"mkdir\", \"chmod\"]\ntrace = false\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.script("check.sh", script);
    sandbox
}

fn lint(sandbox: &Sandbox) -> Run {
    sandbox.run(&["lint", "--only", "own", "--message-format", "json"])
}

/// How the one check was served.
#[track_caller]
fn cache(sandbox: &Sandbox) -> String {
    let json = sandbox.json(&["lint", "--only", "own"]).expect(0);
    json.check("own")["cache"].to_string()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
}

fn mode_of(path: &Path) -> u32 {
    path.metadata().expect("metadata").mode() & 0o7777
}

/// Runs twice, uncached each time, saying so in a single line.
#[track_caller]
fn assert_uncached(sandbox: &Sandbox, said: &str) {
    for _ in 0..2 {
        let run = lint(sandbox).expect(0);
        assert!(run.stdout.contains("\"cache\":\"miss\""), "{}", run.stdout);
        let lines: Vec<&str> = run
            .stderr
            .lines()
            .filter(|line| line.contains("warning"))
            .collect();
        assert_eq!(lines.len(), 1, "{}", run.stderr);
        assert!(
            lines[0].contains(said) && lines[0].contains("not cached"),
            "{lines:?}"
        );
    }
    let run = sandbox.run(&["lint", "--dry-run"]).expect(0);
    assert!(
        run.stderr.contains(said) && run.stderr.contains("Dirty"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_new_store_and_its_rooms_are_private() {
    let sandbox = sandbox();
    assert_eq!(cache(&sandbox), "\"miss\"");
    let base = sandbox.cache().join("v1");
    assert_eq!(mode_of(&base), 0o700);
    let rooms = walkdir::WalkDir::new(base.join("rooms"))
        .min_depth(1)
        .max_depth(2);
    let rooms: Vec<_> = rooms
        .into_iter()
        .map(|room| room.expect("room").into_path())
        .collect();
    assert_eq!(rooms.len(), 2, "{rooms:?}");
    assert!(rooms.iter().all(|room| mode_of(room) == 0o700), "{rooms:?}");
}

#[test]
fn a_store_that_others_can_write_to_is_not_used_until_it_is_closed() {
    let sandbox = sandbox();
    assert_eq!(cache(&sandbox), "\"miss\"");
    for place in ["", "v1", "v1/ac"] {
        let place = sandbox.cache().join(place);
        let before = mode_of(&place);
        mode(&place, 0o777);
        assert_uncached(&sandbox, "chmod 700");
        mode(&place, before);
        assert_eq!(cache(&sandbox), "\"hit\"");
    }
    mode(&sandbox.cache().join("v1"), 0o777);
    sandbox.run(&["cache", "clear"]).expect(0);
    assert_eq!(mode_of(&sandbox.cache().join("v1")), 0o700);
    assert_eq!(cache(&sandbox), "\"miss\"");
    assert_eq!(cache(&sandbox), "\"hit\"");
}

#[test]
fn a_store_that_only_the_users_own_group_can_write_to_is_closed_silently() {
    let sandbox = sandbox();
    cache(&sandbox);
    let base = sandbox.cache().join("v1");
    let group = base.metadata().expect("store").gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let shared = users
        .lines()
        .filter(|line| line.split(':').nth(3) == Some(&group.to_string()));
    let line = groups
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&group.to_string()));
    let is_private = shared.count() <= 1 && line.is_none_or(|line| line.ends_with(':'));
    mode(&base, 0o770);
    match is_private {
        true => {
            assert_eq!(cache(&sandbox), "\"hit\"");
            assert_eq!(mode_of(&base), 0o700);
        }
        false => assert_uncached(&sandbox, "chmod 700"),
    }
}

#[test]
fn what_another_user_owns_is_neither_read_nor_written() {
    let sandbox = sandbox();
    cache(&sandbox);
    let base = sandbox.cache().join("v1");
    if chown(&base, Some(OTHER), None).is_err() {
        return; // Only root can give it away.
    }
    let before = walkdir::WalkDir::new(&base).into_iter().count();
    assert_uncached(&sandbox, "belongs to another user");
    assert_eq!(walkdir::WalkDir::new(&base).into_iter().count(), before);
    chown(&base, Some(0), None).expect("owner");
    assert_eq!(cache(&sandbox), "\"hit\"");
    chown(sandbox.cache(), Some(OTHER), None).expect("owner");
    assert_uncached(&sandbox, "belongs to another user");
    chown(sandbox.cache(), Some(0), None).expect("owner");
    // Sealed well, by somebody else.
    for kind in ["v1/ac", "v1/memo", "v1/cas"] {
        for file in sandbox.cached(kind, "") {
            chown(file, Some(OTHER), None).expect("owner");
        }
        let run = lint(&sandbox).expect(0);
        let miss = kind == "v1/ac";
        assert_eq!(
            run.stdout.contains("\"cache\":\"miss\""),
            miss,
            "{kind}: {}",
            run.stdout
        );
        assert_eq!(
            run.stdout.contains("belongs to another user"),
            miss,
            "{}",
            run.stdout
        );
    }
}

#[test]
fn links_in_the_place_of_our_folders_are_not_written_through() {
    let outside = |sandbox: &Sandbox| sandbox.outer().join("outside");
    for place in [
        "rooms",
        "layers",
        "locks",
        "ac",
        "cas",
        "runs",
        "memo",
        "quarantine",
        "last",
    ] {
        let sandbox = sandbox();
        std::fs::create_dir(outside(&sandbox)).expect("folder");
        let base = sandbox.cache().join("v1");
        std::fs::create_dir(&base).expect("folder");
        symlink(outside(&sandbox), base.join(place)).expect("link");
        assert_uncached(&sandbox, &format!("{place} is a link"));
        sandbox.run(&["cache", "clear"]).expect(0);
        assert_eq!(cache(&sandbox), "\"miss\"");
        assert_eq!(cache(&sandbox), "\"hit\"");
        let left = std::fs::read_dir(outside(&sandbox))
            .expect("folder")
            .count();
        assert_eq!(left, 0, "{place}");
    }
}

#[test]
fn links_deeper_in_the_store_are_not_written_through() {
    let sandbox = sandbox();
    assert_eq!(cache(&sandbox), "\"miss\"");
    let outside = sandbox.outer().join("outside");
    std::fs::create_dir(&outside).expect("folder");
    let base = sandbox.cache().join("v1");
    let depth = |path: &Path| {
        path.strip_prefix(&base)
            .map_or(0, |path| path.components().count())
    };
    for kind in ["ac", "cas", "rooms", "runs", "trees"] {
        let all = walkdir::WalkDir::new(base.join(kind))
            .min_depth(1)
            .max_depth(1);
        for place in all
            .into_iter()
            .map(|place| place.expect("place").into_path())
        {
            match place.is_dir() {
                true => std::fs::remove_dir_all(&place).expect("removed"),
                false => std::fs::remove_file(&place).expect("removed"),
            }
            assert_eq!(depth(&place), 2);
            symlink(&outside, &place).expect("link");
        }
    }
    sandbox.script("check.sh", "echo changed");
    lint(&sandbox).expect(0);
    assert_eq!(std::fs::read_dir(&outside).expect("folder").count(), 0);
}

#[test]
fn a_cache_folder_behind_an_absolute_link_works() {
    let sandbox = sandbox();
    let data = sandbox.outer().join("data");
    std::fs::create_dir(&data).expect("folder");
    std::fs::remove_dir(sandbox.cache()).expect("folder");
    symlink(&data, sandbox.cache()).expect("link");
    assert_eq!(cache(&sandbox), "\"miss\"");
    assert_eq!(cache(&sandbox), "\"hit\"");
    assert!(data.join("v1/ac").is_dir());
    // ~/.cache as a link.
    symlink(&data, sandbox.home().join(".cache")).expect("link");
    for served in ["\"cache\":\"miss\"", "\"cache\":\"hit\""] {
        let mut command = sandbox.command(&["lint", "--only", "own", "--message-format", "json"]);
        command.env_remove("DAGCACHE_DIR");
        let run = Run::of(command).expect(0);
        assert!(
            run.stdout.contains(served),
            "{}\n{}",
            run.stdout,
            run.stderr
        );
    }
    assert!(data.join("dagcache/v1/ac").is_dir());
}

#[test]
fn a_locked_folder_in_a_room_is_removed_by_the_next_run() {
    let script = "for folder in . \"$HOME\" \"$TMPDIR\"; do
        mkdir -p \"$folder/a/b/c\"; chmod 000 \"$folder/a/b\" \"$folder/a\"; done; chmod 000 sub";
    let sandbox = own(script);
    sandbox.write("sub/file", "1\n");
    for round in 0..3 {
        sandbox.write("sub/file", format!("{round}\n"));
        let run = sandbox.run_as_nobody(&["lint", "--only", "own", "--message-format", "json"]);
        let run = run.expect(0);
        assert!(run.stdout.contains("\"cache\":\"miss\""), "{}", run.stdout);
    }
    sandbox.run_as_nobody(&["cache", "clear"]).expect(0);
    assert_eq!(sandbox.cached("v1/rooms", "").len(), 0);
}

#[test]
fn a_project_does_not_bound_the_cache_and_holes_do_not_count() {
    let config = "[cache]\nmax-size = \"1kB\"\n[checks.own]\ncommand = [\"./check.sh\"]\n";
    let sandbox = Sandbox::with(&[("dagcache.toml", config)]);
    sandbox.script("check.sh", "");
    let run = lint(&sandbox).expect(0);
    assert!(run.stderr.contains("DAGCACHE_MAX_SIZE"), "{}", run.stderr);
    let sparse = sandbox.cache().join("v1/rooms/sparse");
    let file = std::fs::File::create(sparse).expect("file");
    file.set_len(200 << 30).expect("holes");
    sandbox.run(&["cache", "prune"]).expect(0);
    assert_eq!(cache(&sandbox), "\"hit\"");
    let status = sandbox.json(&["cache", "status"]);
    let bytes = status.lines[0]["store"]["bytes"].as_u64();
    assert!(bytes.is_none_or(|bytes| bytes < 1 << 30), "{bytes:?}");
    assert!(
        !status.run.stderr.contains("cache prune"),
        "{}",
        status.run.stderr
    );
}

#[test]
fn manifests_are_not_written_through_links_of_the_project() {
    let kustomization = "resources: [a.yaml]\n";
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let files = [
        ("o/prod/kustomization.yaml", kustomization),
        ("o/prod/a.yaml", config_map),
    ];
    let outside = |sandbox: &Sandbox| {
        let outside = sandbox.outer().join("outside");
        std::fs::create_dir_all(&outside).expect("folder");
        outside
    };
    let sandbox = Sandbox::with(&files);
    sandbox.program("kustomize", "#!/bin/sh\necho built\n");
    symlink(outside(&sandbox), sandbox.path("manifests")).expect("link");
    let run = sandbox.run(&["generate"]).expect(3);
    assert!(run.stderr.contains("manifests is a link"), "{}", run.stderr);
    std::fs::remove_file(sandbox.path("manifests")).expect("link");
    std::fs::create_dir(sandbox.path("manifests")).expect("folder");
    let target = outside(&sandbox).join("file");
    std::fs::write(&target, "theirs").expect("file");
    symlink(&target, sandbox.path("manifests/prod.yaml")).expect("link");
    let run = sandbox.run(&["generate"]).expect(3);
    assert!(run.stderr.contains("prod.yaml"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&target).expect("file"), "theirs");
    assert_eq!(
        std::fs::read_dir(outside(&sandbox))
            .expect("folder")
            .count(),
        1
    );
    // A folder that the user names is the user's.
    let args = ["generate", "--output-dir", "../outside/deep"];
    sandbox.run(&args).expect(0);
    assert!(outside(&sandbox).join("deep/prod.yaml").is_file());
}

#[test]
fn a_hook_is_not_installed_through_links_nor_outside_of_the_repository() {
    let repo = Repo::with(&[("a", "1\n")]);
    let hooks = repo.sandbox.path(".git/hooks");
    let outside = repo.sandbox.outer().join("outside");
    std::fs::create_dir(&outside).expect("folder");
    std::fs::remove_dir_all(&hooks).ok();
    symlink(&outside, &hooks).expect("link");
    for command in ["install", "uninstall"] {
        let run = repo.sandbox.run(&["pre-commit", command]).expect(3);
        assert!(run.stderr.contains("hooks is a link"), "{}", run.stderr);
    }
    std::fs::remove_file(&hooks).expect("link");
    let path = outside.to_str().expect("text");
    repo.git(&["config", "--local", "core.hooksPath", path])
        .expect(0);
    let run = repo.sandbox.run(&["pre-commit", "install"]).expect(2);
    assert!(run.stderr.contains("core.hooksPath"), "{}", run.stderr);
    assert_eq!(std::fs::read_dir(outside).expect("folder").count(), 0);
}
