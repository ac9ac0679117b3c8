//! A project that changes at random, with checks of the kinds that users write: none of them declares what it reads, and
//! after each change every answer is that of a run without a cache.

use std::collections::HashMap;

use serde_json::Value;

use super::chance::{Chance, seed, steps, tell};
use super::places::{Place, Places, State};
use crate::support::{Json, Sandbox, have};

const PLACES: &[Place] = &[
    ("src/a.txt", &["one\n", "two needle\n", ""]),
    ("src/b.txt", &["needle\n", "a much longer text than that\n"]),
    ("src/deep/c.txt", &["c\n", "cc needle\n"]),
    ("src/deep/.hidden", &["", "h\n"]),
    ("optional", &["", "set\n", "other\n"]),
    ("maybe/inner", &["", "set\n"]),
    (
        "Makefile",
        &[
            "-include *.mk\nall: ; @echo $(sort $(wildcard src/*.txt)) $(EXTRA)\n",
            "include rules.mk\nall: ; @cat src/b.txt; echo $(EXTRA)\n",
        ],
    ),
    ("rules.mk", &["", "EXTRA = one\n", "EXTRA = two\n"]),
    ("app/__init__.py", &["", "NAME = 'app'\n"]),
    (
        "app/main.py",
        &[
            "import glob\ntry:\n    import helpers\nexcept ImportError:\n    helpers = None\nprint(helpers and helpers.V, sorted(glob.glob('src/**/*.txt', recursive=True)))\n",
            "from app import part\nprint(part.V)\n",
        ],
    ),
    ("app/part.py", &["", "V = 1\n", "V = 2\n"]),
    ("helpers.py", &["", "V = 3\n"]),
    ("helpers/__init__.py", &["", "V = 4\n"]),
    (
        "main.c",
        &[
            "#include \"one.h\"\nint main(void) { return ONE; }\n",
            "#if __has_include(\"two.h\")\n#include \"two.h\"\n#endif\nint main(void) { return 0; }\n",
        ],
    ),
    ("include/one.h", &["", "#define ONE 1\n", "#define ONE\n"]),
    ("one.h", &["", "#define ONE 2\n"]),
    ("include/two.h", &["", "#error two\n", "\n"]),
    (
        "index.js",
        &[
            "let m; try { m = require('./lib') } catch { m = 'none' } console.log(m)\n",
            "console.log(require('fs').readdirSync('src').join())\n",
        ],
    ),
    ("lib.js", &["", "module.exports = 1\n"]),
    ("lib/index.js", &["", "module.exports = 2\n"]),
    (
        "lib/package.json",
        &["", "{\"main\": \"other.js\"}\n", "{}\n"],
    ),
    ("lib/other.js", &["module.exports = 3\n"]),
    ("README.md", &["# One\n", "# Two\n"]),
    ("notes/x", &["x\n", "y\n"]),
    (".gitignore", &["", "src/b.txt\n", "lib/\n"]),
];

/// Name, the programs it needs, script.
const CHECKS: &[(&str, &[&str], &str)] = &[
    ("glob", &["cat"], "cat src/*.txt"),
    (
        "find",
        &["find", "sort"],
        "find . -path ./.git -prune -o -size +20c -print | sort",
    ),
    ("grep", &["grep", "sort"], "grep -rl needle src | sort"),
    (
        "exists",
        &[],
        "[ -e optional ] && echo there; [ -d maybe ] && echo folder; [ -x src/a.txt ]; :",
    ),
    (
        "elsewhere",
        &["cat"],
        "cd src/deep 2>/dev/null && cat ../a.txt ../../optional; echo $?",
    ),
    (
        "copies",
        &["cp", "find", "sort", "mv"],
        "cp -r src out && mv out moved && find moved | sort; read x < moved/a.txt; echo \"$x\"",
    ),
    (
        "links",
        &["ln", "cat"],
        "ln -s src/deep l; cat l/c.txt; ln -s \"$PWD/notes\" /tmp/n; cat /tmp/n/x",
    ),
    (
        "sed",
        &["sed"],
        "sed -i s/e/E/ src/a.txt && read x < src/a.txt; echo \"$x\"",
    ),
    ("make", &["make", "cat"], "make -s"),
    (
        "python",
        &["python3"],
        "python3 -B app/main.py; python3 -B -m app.main",
    ),
    ("c", &["cc"], "cc -fsyntax-only -Iinclude main.c"),
    ("node", &["node"], "node index.js"),
];

/// What the user has as `cat`: nothing but the system's, or a script.
const CATS: &[Option<&str>] = &[
    None,
    Some("exec /bin/cat \"$@\""),
    Some("echo my cat; wc -c \"$@\""),
];

fn users_cat(sandbox: &Sandbox, text: Option<&str>) {
    match text {
        Some(text) => sandbox.program("cat", &format!("#!/bin/sh\n{text}\n")),
        // It may not be there yet.
        None => drop(std::fs::remove_file(sandbox.outer().join("bin/cat"))),
    }
}

#[test]
fn checks_that_declare_nothing_are_never_stale() {
    let (seed, steps) = (seed(), steps("DAGCACHE_TEST_TRACED_STEPS", 4));
    let sandbox = Sandbox::git_repository();
    let mut config = String::new();
    let mut names = Vec::new();
    for (name, tools, script) in CHECKS {
        if tools.iter().all(|tool| have(tool)) {
            config += &format!("[checks.{name}]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
            names.push(*name);
        }
    }
    sandbox.write("dagcache.toml", config);
    let only = names.iter().flat_map(|name| ["--only", name]);
    let args: Vec<&str> = ["lint"].into_iter().chain(only).collect();
    let without: Vec<&str> = args.iter().copied().chain(["--no-cache"]).collect();
    let mut places = Places::new(PLACES, seed, &sandbox);
    let mut known: HashMap<(State, usize), Vec<Said>> = HashMap::new();
    let mut chance = Chance::new(seed);
    let mut program = 0;
    let mut before: Vec<Said> = Vec::new();
    let (mut hits, mut seen, mut needless) = (0, 0, 0);
    for _ in 0..steps {
        places.step(&sandbox);
        if chance.one_in(6) {
            program = chance.below(CATS.len());
            users_cat(&sandbox, CATS[program]);
        }
        let json = sandbox.json(&args);
        let state = (places.state.clone(), program);
        seen += usize::from(known.contains_key(&state));
        let right = known
            .entry(state)
            .or_insert_with(|| all_said(&sandbox.json(&without), &names));
        let said = all_said(&json, &names);
        assert_eq!(said, *right, "cat {program}, {}", places.story());
        for (at, name) in names.iter().enumerate() {
            let hit = json.check(name)["cache"] == "hit";
            hits += usize::from(hit);
            needless += usize::from(!hit && before.get(at) == said.get(at));
        }
        before = said;
    }
    let count = names.len();
    tell(&format!(
        "seed {seed}: {steps} steps, {count} checks: {hits} of {} replayed ({} with every file in the key), {needless} run \
         again in vain",
        steps * count,
        seen * count,
    ));
}

#[derive(Debug, PartialEq, Clone)]
struct Said {
    name: String,
    exit_code: Option<i64>,
    stdout: Value,
    stderr: Value,
}

fn all_said(json: &Json, names: &[&str]) -> Vec<Said> {
    let one = |name: &&str| {
        let check = json.check(name);
        Said {
            name: (*name).to_owned(),
            exit_code: check["exit_code"].as_i64(),
            stdout: check["stdout"].clone(),
            stderr: check["stderr"].clone(),
        }
    };
    names.iter().map(one).collect()
}
