//! The git hook, with the real git: exactly the commit is checked, and nothing of the user's is lost.

mod commits;
mod content;
mod failures;
mod fix;
mod install;
mod interrupted;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Json, Run, Sandbox, binary};

/// A check that prints all that it sees: paths, kinds, content.
const SEE: &str = "find . -name .git -prune -o \\( -type f -o -type l \\) -print | sort | while read -r f; do\n\
    if [ -L \"$f\" ]; then echo \"$f -> $(readlink \"$f\")\"\n\
    elif [ -x \"$f\" ]; then echo \"$f* $(cksum <\"$f\")\"\n\
    else echo \"$f $(cksum <\"$f\")\"; fi; done";

const CONFIG: &str = "[checks.see]\ncommand = [\"./see.sh\"]\n\
    tools = [\"find\", \"sort\", \"readlink\", \"cksum\"]\n";

/// A repository with that check, and a hook that tells what it did.
pub(crate) struct Repo {
    pub(crate) sandbox: Sandbox,
}

impl Repo {
    /// With a commit of `a`, and a check of it that waits at its gate before it runs `then`.
    pub(crate) fn waiting(then: &str) -> Self {
        let repo = Self::with(&[("a", "1\n")]);
        repo.sandbox.write(
            "dagcache.toml",
            "[checks.see]\ncommand = [\"./wait.sh\"]\ninputs = [\"a\"]\ntools = [\"mkfifo\"]\ntrace = false\n",
        );
        let script = format!("mkfifo gate; read line <gate; {then}");
        repo.sandbox.script("wait.sh", &script);
        repo.git(&["add", "--all"]).expect(0);
        repo
    }

    /// Without a commit; everything that is there is staged.
    pub(crate) fn new() -> Self {
        let repo = Self {
            sandbox: Sandbox::git_repository(),
        };
        repo.sandbox.write("dagcache.toml", CONFIG);
        repo.sandbox.script("see.sh", SEE);
        for (name, value) in [("user.name", "t"), ("user.email", "t@example.invalid")] {
            repo.git(&["config", "--global", name, value]).expect(0);
        }
        repo.git(&["config", "--global", "protocol.file.allow", "always"])
            .expect(0);
        repo.git(&["add", "--all"]).expect(0);
        repo
    }

    /// With these files committed, and then the hook.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let repo = Self::new();
        for (path, text) in files {
            repo.sandbox.write(path, text);
        }
        repo.git(&["add", "--all"]).expect(0);
        repo.git(&["commit", "--quiet", "--message", "files"])
            .expect(0);
        repo.watch(&repo.sandbox.path(".git/hooks"), "pre-commit");
        repo
    }

    /// Makes a hook that leaves a report in [`Repo::report`].
    pub(crate) fn watch(&self, hooks: &Path, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let report = self.report();
        let text = format!(
            "#!/bin/sh\nexec '{}' pre-commit run --message-format json >'{}' 2>'{}'\n",
            binary().display(),
            report.display(),
            report.with_extension("err").display(),
        );
        std::fs::create_dir_all(hooks).expect("folder");
        std::fs::write(hooks.join(name), text).expect("hook");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(hooks.join(name), mode).expect("mode");
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.sandbox.outer().join("hook.json")
    }

    /// What the hook did since the last time.
    #[track_caller]
    pub(crate) fn hook(&self) -> Json {
        let stdout = std::fs::read_to_string(self.report()).expect("the hook ran");
        let error = self.report().with_extension("err");
        let stderr = std::fs::read_to_string(&error).unwrap_or_default();
        std::fs::remove_file(self.report()).expect("report");
        Json::of(Run {
            code: None,
            stdout,
            stderr,
        })
    }

    /// Git with the sandbox's home and cache, in a folder.
    pub(crate) fn git_in(&self, dir: &Path, args: &[&str]) -> Run {
        Run::of(self.git_command(dir, args))
    }

    pub(crate) fn git_command(&self, dir: &Path, args: &[&str]) -> Command {
        let ours = self.sandbox.command(&[]);
        let mut command = Command::new("git");
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(
                ours.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_EDITOR", "true")
            .stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn git(&self, args: &[&str]) -> Run {
        self.git_in(&self.sandbox.project(), args)
    }

    /// Runs the program in a folder, and reads what it did.
    pub(crate) fn json_in(&self, dir: &Path, args: &[&str]) -> Json {
        let mut command = self.sandbox.command(args);
        command
            .args(["--message-format", "json"])
            .current_dir(dir)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        Json::of(Run::of(command))
    }

    /// Commits, and asserts that the hook saw exactly what a clone of the commit has.
    #[track_caller]
    pub(crate) fn commits_exactly(&self, args: &[&str]) -> Json {
        self.git(args).expect(0);
        self.saw_exactly(&self.sandbox.project())
    }

    /// Asserts that the hook saw exactly what a clone of the last commit in `dir` has: the same output, and the same
    /// key, so that nothing is run in the clone.
    #[track_caller]
    pub(crate) fn saw_exactly(&self, dir: &Path) -> Json {
        let hook = self.hook();
        let clone = self.clone_of(dir);
        let there = self.json_in(&clone, &["dev-check"]).expect(0);
        let seen = |json: &Json| json.check("see")["stdout"].as_str().map(str::to_owned);
        assert_eq!(seen(&hook), seen(&there), "{}", hook.run.stderr);
        there.expect_fresh();
        hook
    }

    pub(crate) fn clone_of(&self, dir: &Path) -> PathBuf {
        let clone = self.sandbox.outer().join("clone");
        if clone.exists() {
            std::fs::remove_dir_all(&clone).expect("old clone");
        }
        let from = dir.to_str().expect("path");
        let to = clone.to_str().expect("path");
        self.git(&["clone", "--quiet", "--recurse-submodules", from, to])
            .expect(0);
        clone
    }
}
