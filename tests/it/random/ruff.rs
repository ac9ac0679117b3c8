//! A Python project that changes at random, against plain `ruff` on a copy: modules that come and go decide which imports
//! are first-party, and so what other files are told.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use super::chance::{seed, steps, tell};
use super::places::{Place, Places, State};
use crate::support::{Sandbox, have};

const MIXED: &str =
    "import os\n\nimport helpers\nimport requests\n\nprint(os, helpers, requests)\n";
const APART: &str =
    "import os\n\nimport requests\n\nimport helpers\n\nprint(os, helpers, requests)\n";

const PLACES: &[Place] = &[
    (
        "ruff.toml",
        &[
            "[lint]\nselect = [\"I\", \"F\"]\n",
            "src = [\"lib\"]\n[lint]\nselect = [\"I\", \"F\"]\n",
            "[lint]\nselect = [\"I\"]\n[lint.isort]\nknown-first-party = [\"requests\"]\n",
            "line-length = 20\n[lint]\nselect = [\"I\", \"E\"]\n",
        ],
    ),
    ("app/__init__.py", &["", "import os\n", "VALUE = 1\n"]),
    (
        "app/main.py",
        &[
            MIXED,
            APART,
            "import os\n\n\u{c}import numpy\n\u{c}import wandb\n\nprint(os, numpy, wandb)\n",
            "import os\r\rimport numpy\rimport wandb.runs\r\rprint(os, numpy, wandb)\r",
            "x = (\n",
        ],
    ),
    ("tool.py", &[APART, MIXED, "x = 1\n", "x=1\n"]),
    (
        "lib/deep.py",
        &[
            "import helpers\nimport numpy\n\nprint(helpers, numpy)\n",
            "import numpy\n\nimport helpers\n\nprint(helpers, numpy)\n",
        ],
    ),
    ("helpers.py", &["", "x = 1\n", "x  = 1\n"]),
    ("helpers/__init__.py", &["", "y = 1\n"]),
    ("lib/helpers.py", &["", "z = 1\n"]),
    ("lib/numpy/__init__.py", &["", "z = 1\n"]),
    ("app/requests.py", &["", "z = 1\n"]),
    ("requests/inner.py", &["", "z = 1\n"]),
    ("helpers.pyi", &["", "x: int\n"]),
    (
        "app/ruff.toml",
        &[
            "",
            "extend = \"../ruff.toml\"\nsrc = [\".\"]\n",
            "[lint]\nselect = [\"F\"]\n",
        ],
    ),
    ("wandb/run.txt", &["1\n", "2\n"]),
    ("wandb/runs/run.txt", &["1\n", "2\n"]),
    ("README.md", &["# One\n", "```python\nx  = 1\n```\n"]),
    ("notes.txt", &["one\n", "two\n"]),
    (".gitignore", &["", "helpers.py\n", "lib/\n"]),
];

#[test]
fn ruff_says_what_it_says_by_itself() {
    if !have("ruff") {
        return;
    }
    let (seed, steps) = (seed(), steps("DAGCACHE_TEST_RUFF_STEPS", 15));
    let sandbox = Sandbox::git_repository();
    let mut places = Places::new(PLACES, seed, &sandbox);
    let mut known: HashMap<State, [Said; 2]> = HashMap::new();
    let mut replayed = 0;
    for _ in 0..steps {
        places.step(&sandbox);
        let json = sandbox.json(&["lint"]);
        let seen = known.contains_key(&places.state);
        let right = known
            .entry(places.state.clone())
            .or_insert_with(|| plain(&sandbox));
        for (id, right) in ["python:ruff-check", "python:ruff-format"]
            .into_iter()
            .zip(right)
        {
            let line = json.check(id);
            let stdout = line["stdout"].as_str().expect("text");
            let said = Said {
                exit_code: line["exit_code"].as_i64(),
                stdout: sorted(stdout),
            };
            assert_eq!(said, *right, "{}{line:#}", places.story());
            let hit = line["cache"] == "hit";
            assert!(hit || !seen, "was run again: {}{line:#}", places.story());
            replayed += usize::from(hit);
        }
    }
    tell(&format!(
        "seed {seed}: {steps} steps, {} states, {replayed} checks replayed",
        known.len()
    ));
}

#[derive(Debug, PartialEq)]
struct Said {
    exit_code: Option<i64>,
    stdout: Vec<String>,
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What ruff says of a copy of the files that git does not ignore.
fn plain(sandbox: &Sandbox) -> [Said; 2] {
    let dir = tempfile::tempdir().expect("folder");
    for path in sandbox
        .git(&["ls-files", "--others", "--exclude-standard"])
        .lines()
    {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().expect("folder")).expect("folder");
        fs::copy(sandbox.path(path), to).expect("copy");
    }
    fs::create_dir(dir.path().join(".git")).expect("folder");
    let check: &[&str] = &["check", "--no-fix", "--output-format=concise"];
    [check, &["format", "--check"]].map(|args| {
        let output = Command::new("ruff")
            .args(args)
            .args(["--no-cache", "."])
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            .env("HOME", sandbox.home())
            .output()
            .expect("ruff");
        Said {
            exit_code: output.status.code().map(i64::from),
            stdout: sorted(&String::from_utf8_lossy(&output.stdout)),
        }
    })
}
