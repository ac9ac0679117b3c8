//! The project that is mutated: its paths, what may stand in them, and its configuration.

use super::chance::Chance;

/// Paths that files are written to, besides those that renames make.
pub(crate) const PATHS: &[&str] = &[
    "src/a.txt",
    "src/b.txt",
    "src/c.txt",
    "src/deep/a.txt",
    "src/deep/d.txt",
    "src/deep/er/x.txt",
    "src/gen/g.txt",
    "src/ignored.log",
    "src/A.txt",
    "docs/a.md",
    "docs/b.md",
    "docs/sub/c.md",
    "rules/limit",
    "rules/level",
    "data/a.yaml",
    "data/b.yaml",
    "data/deep/c.yml",
    "data/list.json",
    "k8s/base/kustomization.yaml",
    "k8s/base/kustomization.yml",
    "k8s/base/deploy.yaml",
    "k8s/base/map.yaml",
    "k8s/component/kustomization.yaml",
    "k8s/component/patch.yaml",
    "k8s/dev/kustomization.yaml",
    "k8s/dev/patch.yaml",
    "k8s/dev/settings.env",
    "k8s/prod/kustomization.yaml",
    "k8s/prod/Kustomization",
    "k8s/prod/extra.yaml",
    "chart/Chart.yaml",
    "chart/templates/t.yaml",
    "chart/values.yaml",
    "keys/a.txt",
    "keys/b.conf",
    "tests/token.txt",
    "links/one",
    "links/two",
    "links/deep/three",
    "py/mod.py",
    "local.env",
    "notes.txt",
    "build.log",
    "ci/cat.sh",
    "ci/files.sh",
    "ci/each.sh",
    "ci/single.sh",
    "ci/env.sh",
    "ci/tool.sh",
    "ci/dir.sh",
    "ci/local.sh",
    "ci/names.sh",
    "ci/bits.sh",
];

/// Folders that are moved, removed, or replaced as a whole.
pub(crate) const FOLDERS: &[&str] = &[
    "src/deep",
    "src/deep2",
    "src/deep/er",
    "docs/sub",
    "data/deep",
    "links/deep",
    "chart/templates",
    "k8s/component",
    "src/gen",
    "keys",
];

/// What links lead to; `OUTSIDE` stands for a file beside the project.
pub(crate) const TARGETS: &[&str] = &[
    "a.txt",
    "b.txt",
    "deep",
    "../src/a.txt",
    "../rules/limit",
    "nowhere",
    ".",
    "../docs",
    "one",
    "OUTSIDE",
];

/// Ignore files of the project and beside it, and what may stand in them.
pub(crate) const IGNORE_FILES: &[&str] = &[
    ".gitignore",
    "src/.gitignore",
    "k8s/.gitignore",
    ".git/info/exclude",
];
pub(crate) const IGNORE_RULES: &[&str] = &[
    "",
    "*.log\nlocal.env\n",
    "local.env\n*.log\ngen/\n",
    "*.txt\n!a.txt\n",
    "deep\nlocal.env\n",
    "/sub/\n*.yml\n",
];

const PLAIN: &[&str] = &[
    "one\n",
    "two\n",
    "bad\n",
    "ok\nbad\nok\n",
    "",
    "no newline",
    "ONE\n",
    "1\n2\n3\n",
];
const DATA: &[&str] = &[
    "a: 1\n",
    "a: 2\n",
    "a: [1\n",
    "a: 1\na: 2\n",
    "b:\n  - x\n",
    "",
    "a: !x 1\n",
    "a: 1\n---\nb: }\n",
];
const MAPS: &[&str] = &[
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: x}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: y}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n",
    "kind: [\n",
];
const BASES: &[&str] = &[
    "resources: [deploy.yaml, map.yaml]\n",
    "resources: [deploy.yaml]\n",
    "resources: [map.yaml]\ncomponents: [../component]\n",
    "resources: [map.yaml, extra.yaml]\n",
    "namePrefix: p-\nresources: [map.yaml]\n",
];
const COMPONENTS: &[&str] = &[
    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: patch.yaml}]\n",
    "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c\n",
];
const OVERLAYS: &[&str] = &[
    "resources: [../base]\n",
    "resources: [../base]\npatches: [{path: patch.yaml}]\n",
    "resources: [../base]\ncomponents: [../component]\n",
    "resources: [../base, extra.yaml]\nnamePrefix: q-\n",
    "resources: [../dev]\n",
    "resources: [../base]\nconfigMapGenerator: [{name: g, envs: [settings.env]}]\n",
    "resources: [../base, nowhere.yaml]\n",
];

/// What may stand in a file of this name.
pub(crate) fn contents(path: &str) -> Vec<String> {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    if let Some(name) = path
        .strip_suffix(".sh")
        .and_then(|path| path.rsplit('/').next())
    {
        return ["", "# another\n", "echo more\n"]
            .iter()
            // Files that share a process can only be told apart if it says nothing but findings.
            .filter(|more| name != "each" || !more.starts_with("echo"))
            // The last digit may be flipped, and nothing else of a script.
            .map(|more| format!("#!/bin/sh\n{}{more}# 1\n", script(name)))
            .collect();
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match (folder, name) {
        ("k8s/base", "kustomization.yaml" | "kustomization.yml") => own(BASES),
        ("k8s/component", "kustomization.yaml") => own(COMPONENTS),
        ("k8s/dev" | "k8s/prod", "kustomization.yaml" | "Kustomization") => own(OVERLAYS),
        (folder, name) if folder.starts_with("k8s/") && name.ends_with(".yaml") => own(MAPS),
        ("chart", "Chart.yaml") => own(&["name: x\nversion: 1.0.0\n", ""]),
        ("chart/templates", _) => own(&["a: {{ .Values.a }}\n", "{{ if }}\n"]),
        ("keys" | "tests", _) => secrets(),
        (_, name) if name.ends_with(".yaml") || name.ends_with(".yml") => own(DATA),
        _ => own(PLAIN),
    }
}

/// Texts with and without secrets; put together here so that none stands in this file.
fn secrets() -> Vec<String> {
    let token = |end: &str| format!("key gh{}_wWPw5k4aXcaT4fNP0UcnZwJUVFk6LOp{end}", 'p');
    vec![
        format!("{}\n", token("ab3Yq")),
        format!("\n{}\n", token("ab3Yz")),
        format!("{} # dagcache: allow-{}\n", token("ab3Yq"), "secret"),
        "nothing\n".to_owned(),
    ]
}

/// The body of a check's script: the shell and, at most, one program.
fn script(name: &str) -> &'static str {
    match name {
        "cat" => concat!(
            "code=0\nfor f in src/* src/*/* src/*/*/*; do [ -f \"$f\" ] || continue; echo \"== $f\"; n=0\n",
            "while read -r line || [ -n \"$line\" ]; do n=$((n+1)); echo \"$line\"\n",
            "case $line in *bad*) echo \"$f:$n: error: bad line [B1]\"; code=1;; esac; done < \"$f\"; done\n",
            "echo \"args $*\"; [ $code = 0 ] || exit $code\n"
        ),
        "each" => concat!(
            "code=0; read -r limit < rules/limit || limit=none\nfor f; do n=0\n",
            "while read -r line || [ -n \"$line\" ]; do n=$((n+1))\n",
            "case $line in *bad*) echo \"$f:$n: error: bad, limit $limit [B2]\"; code=1;; esac; done < \"$f\"; done\n",
            "[ $code = 0 ] || exit $code\n"
        ),
        "single" => {
            "for f; do while read -r line || [ -n \"$line\" ]; do echo \"$f $line\"; done < \"$f\"; done\n"
        }
        "files" => concat!(
            "echo \"$*\"; for f; do line=; read -r line < \"$f\"; echo \"$line\"; done\n",
            "read -r limit < rules/limit && [ \"$limit\" != bad ] || exit 3\n"
        ),
        "env" => concat!(
            "read -r level < rules/level; echo \"${SEEN-unset} ${LEVEL-unset} ${HIDDEN-unset} ${FIXED-unset} $level\"\n",
            "[ \"$LEVEL\" != high ] || exit 4\n"
        ),
        "tool" => "helper \"more $*\" || exit\n",
        "dir" => {
            "echo *; for f in *.txt; do [ -x \"$f\" ] && echo \"run $f\"; done; [ -e b.txt ] || exit 1\n"
        }
        "local" => {
            "if [ -f local.env ]; then read -r line < local.env; echo \"$line\"; else echo absent; exit 1; fi\n"
        }
        "names" => "ls -R1\n",
        "bits" => "stat -c '%a %F %N' src/* links/* || exit\n",
        other => panic!("no script {other}"),
    }
}

/// One of the texts for this path.
pub(crate) fn content(path: &str, chance: &mut Chance) -> String {
    let all = contents(path);
    chance.pick(&all).clone()
}
