use super::*;
use crate::env::Env;
use crate::facts::Facts;
use crate::scope::{Scope, Strange};
use crate::snapshot::Snapshot;
use crate::tool::Tools;

fn with_graph<T>(files: &[(&str, &str)], act: impl FnOnce(&Graph<'_>, &Snapshot) -> T) -> T {
    let snapshot = Snapshot::in_memory(files);
    let scope = Scope {
        snapshot: &snapshot,
        excluded: &vec![false; files.len()],
        facts: &Facts::default(),
        tools: &Tools::default(),
        env: &Env::default(),
        secrets_baseline: None,
        strange: Strange::default(),
        trusted: crate::plan::trust::Trusted::default(),
        images: None,
    };
    act(&Graph::new(&scope), &snapshot)
}

fn rel(text: &str) -> RelPath {
    RelPath::new(text).expect(text)
}

fn closure(files: &[(&str, &str)], dir: &str) -> (Vec<String>, Closure) {
    with_graph(files, |graph, snapshot| {
        let closure = graph.closure(&rel(dir));
        let paths = closure
            .files
            .iter()
            .map(|id| snapshot.entry(*id).path.to_string());
        (paths.collect(), closure)
    })
}

#[track_caller]
fn opens(files: &[(&str, &str)], expected: &[&str]) {
    let (paths, closure) = closure(files, "o");
    assert_eq!(paths, expected);
    assert_eq!(closure.problems, BTreeSet::new());
    assert!(closure.unknown.is_none() && closure.remotes.is_empty());
}

#[track_caller]
fn problem(files: &[(&str, &str)], code: &str, place: (&str, u32, u32)) {
    let (_, closure) = closure(files, "o");
    let found: Vec<_> = closure
        .problems
        .iter()
        .map(|p| (p.code, (p.path.as_str(), p.at.line, p.at.column)))
        .collect();
    assert_eq!(found, [(code, place)]);
}

#[test]
fn every_overlay_of_the_example_opens_what_kustomize_opens() {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kustomize/css");
    let files: Vec<(String, String)> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(|entry| entry.expect("the fixture can be walked"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).expect("below the root");
            let text = std::fs::read_to_string(entry.path()).expect("the fixture is text");
            (path.to_str().expect("UTF-8").to_owned(), text)
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(p, t)| (p.as_str(), t.as_str()))
        .collect();

    let rows: [(&str, &[&str], &[&str]); 8] = [
        ("base", &[], &[]),
        ("overlays/base", &[], &[]),
        (
            "overlays/high-performance",
            &["performance-patch"],
            &[
                "custom-config",
                "env-vars",
                "multithreading",
                "pvc",
                "security-hardening",
            ],
        ),
        (
            "overlays/local-proxmox",
            &["metallb-ip-patch"],
            &[
                "env-vars",
                "metallb-loadbalancer",
                "pvc",
                "security-hardening",
                "sparql-endpoint",
            ],
        ),
        (
            "overlays/nodeport-dev",
            &["dev-patch"],
            &["env-vars", "nodeport-service"],
        ),
        (
            "overlays/with-ingress-sparql",
            &["ingress-patch"],
            &["env-vars", "ingress", "pvc", "sparql-endpoint"],
        ),
        (
            "overlays/with-metallb",
            &[],
            &["env-vars", "metallb-loadbalancer", "pvc"],
        ),
        ("overlays/with-pvc", &[], &["pvc"]),
    ];
    let sizes = [3, 4, 17, 16, 9, 15, 11, 7];
    for ((dir, own, components), size) in rows.into_iter().zip(sizes) {
        let mut expected: BTreeSet<String> = ["kustomization", "deployment", "service"]
            .map(|name| format!("base/{name}.yaml"))
            .into();
        expected.insert(format!("{dir}/kustomization.yaml"));
        expected.extend(own.iter().map(|name| format!("{dir}/{name}.yaml")));
        for component in components {
            let prefix = format!("components/{component}/");
            let paths = files.iter().map(|(path, _)| (*path).to_owned());
            expected.extend(paths.filter(|path| path.starts_with(&prefix)));
        }
        let (paths, closure) = closure(&files, dir);
        assert_eq!(paths, expected.into_iter().collect::<Vec<_>>(), "{dir}");
        assert_eq!(paths.len(), size, "{dir}");
        assert_eq!(closure.problems, BTreeSet::new(), "{dir}");
    }
}

#[test]
fn all_kinds_of_files_are_part_of_it() {
    opens(
        &[
            ("b/kustomization.yml", "resources: [r.yaml]"),
            ("b/r.yaml", ""),
            ("b/unused.yaml", ""),
            (
                "c/Kustomization",
                "kind: Component\npatches: [{path: p.yaml}]",
            ),
            ("c/p.yaml", ""),
            ("o/a.env", ""),
            ("o/crd.json", ""),
            (
                "o/kustomization.yaml",
                "resources: [../b]\ncomponents: [../c]\ncrds: [crd.json]\nsecretGenerator: [{envs: [a.env]}]\n\
                 helmCharts: [{name: x, valuesFile: v.yaml}]\nhelmGlobals: {chartHome: ../z}",
            ),
            ("o/v.yaml", ""),
            ("z/x/Chart.yaml", ""),
            ("z/x/templates/t.yaml", ""),
            ("z/y/Chart.yaml", ""),
        ],
        &[
            "b/kustomization.yml",
            "b/r.yaml",
            "c/Kustomization",
            "c/p.yaml",
            "o/a.env",
            "o/crd.json",
            "o/kustomization.yaml",
            "o/v.yaml",
            "z/x/Chart.yaml",
            "z/x/templates/t.yaml",
        ],
    );
}

#[test]
fn files_of_plugins_are_relative_to_the_kustomization_that_lists_the_plugin() {
    let plugin = "apiVersion: builtin\nkind: PatchTransformer\npath: p.yaml\n";
    opens(
        &[
            ("o/kustomization.yaml", "transformers: [t/a.yaml, ./u]"),
            ("o/p.yaml", ""),
            ("o/q.yaml", ""),
            ("o/t/a.yaml", plugin),
            ("o/t/p.yaml", ""),
            ("o/u/b.yaml", &plugin.replace("p.yaml", "q.yaml")),
            ("o/u/kustomization.yaml", "resources: [b.yaml]"),
        ],
        &[
            "o/kustomization.yaml",
            "o/p.yaml",
            "o/q.yaml",
            "o/t/a.yaml",
            "o/u/b.yaml",
            "o/u/kustomization.yaml",
        ],
    );
}

#[test]
fn a_shared_base_is_read_once_and_is_no_cycle() {
    opens(
        &[
            ("a/kustomization.yaml", "namePrefix: a-\nresources: [../c]"),
            ("b/kustomization.yaml", "namePrefix: b-\nresources: [../c]"),
            ("c/kustomization.yaml", "namePrefix: c-"),
            ("o/kustomization.yaml", "resources: [../a, ../b]"),
        ],
        &[
            "a/kustomization.yaml",
            "b/kustomization.yaml",
            "c/kustomization.yaml",
            "o/kustomization.yaml",
        ],
    );
}

#[test]
fn refused_references_are_placed() {
    let o = "o/kustomization.yaml";
    problem(&[(o, "resources:\n- gone.yaml")], "missing", (o, 2, 3));
    problem(&[(o, "patches: [{path: gone}]")], "missing", (o, 1, 18));
    problem(
        &[("a/x.txt", ""), (o, "resources: [../a]")],
        "missing",
        (o, 1, 13),
    );
    problem(&[(o, "resources: [.]")], "cycle", (o, 1, 13));
    problem(
        &[
            ("a/kustomization.yaml", "resources: [../o]"),
            (o, "resources: [../a]"),
        ],
        "cycle",
        ("a/kustomization.yaml", 1, 13),
    );
    problem(
        &[
            ("c/kustomization.yaml", "kind: Component"),
            (o, "resources: [../c]"),
        ],
        "kind",
        (o, 1, 13),
    );
    problem(
        &[
            ("c/kustomization.yaml", "namePrefix: x"),
            (o, "components: [../c]"),
        ],
        "kind",
        (o, 1, 14),
    );
    problem(
        &[("c.yaml", ""), (o, "components: [../c.yaml]")],
        "kind",
        (o, 1, 14),
    );
    problem(&[(o, "a: b: c")], "syntax", (o, 1, 5));
}

#[test]
fn a_second_name_in_a_visited_folder_is_part_of_it_and_refused() {
    let files = [
        ("b/Kustomization", "namePrefix: x"),
        ("b/kustomization.yaml", "namePrefix: x"),
        ("o/kustomization.yaml", "resources: [../b]"),
    ];
    problem(&files, "two-kustomizations", ("b/Kustomization", 1, 1));
    assert_eq!(closure(&files, "o").0.len(), 3);
}

#[test]
fn what_is_missing_is_remembered_so_that_its_coming_is_noticed() {
    let (_, closure) = closure(
        &[("o/kustomization.yaml", "resources: [x/../gone.yaml]")],
        "o",
    );
    assert_eq!(closure.missing, BTreeSet::from(["o/gone.yaml".to_owned()]));
}

#[test]
fn remote_references_are_no_problem_and_are_pinned_by_commits_only() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let text = format!(
        "resources:\n- github.com/o/r//p?ref=v1\n- https://github.com/o/r?ref={commit}\n\
         patches: [{{path: https://example.com/p.yaml}}]\ncomponents: ['git::https://x/o/r']\n"
    );
    let (_, closure) = closure(&[("o/kustomization.yaml", &text)], "o");
    let remotes: Vec<_> = closure
        .remotes
        .iter()
        .map(|r| (r.repository, r.pinned, r.site.1.line))
        .collect();
    let expected = [
        (true, false, 2),
        (true, true, 3),
        (true, false, 5),
        (false, false, 4),
    ];
    assert_eq!(remotes, expected);
    assert_eq!(closure.problems, BTreeSet::new());
}

#[test]
fn a_folder_or_file_of_the_project_wins_over_nothing_but_a_repository_over_a_folder() {
    let text = "resources: [github.com/o/r, github.com/o/f]";
    let files = [
        ("o/github.com/o/f", ""),
        ("o/github.com/o/r/kustomization.yaml", ""),
        ("o/kustomization.yaml", text),
    ];
    let (paths, closure) = closure(&files, "o");
    assert_eq!(paths, ["o/github.com/o/f", "o/kustomization.yaml"]);
    assert_eq!(closure.remotes.len(), 1);
}

#[test]
fn what_leaves_the_project_or_is_downloaded_makes_the_inputs_unknown() {
    for text in [
        "resources: [../../x]",
        "patches: [{path: /etc/x}]",
        "helmCharts: [{name: x, version: 1.0.0, repo: 'https://x'}]",
    ] {
        let (_, closure) = closure(&[("o/kustomization.yaml", text)], "o");
        let why = closure.unknown.expect(text);
        assert!(why.contains("o/kustomization.yaml:1"), "{why}");
    }
}

#[test]
fn resources_come_together_unless_something_between_could_rename_them() {
    let files = [
        ("a/kustomization.yaml", "resources: [a.yaml]"),
        ("a/a.yaml", ""),
        (
            "b/kustomization.yaml",
            "resources: [b.yaml]\nnamePrefix: b-",
        ),
        ("b/b.yaml", ""),
        (
            "o/kustomization.yaml",
            "resources: [../a, ../b, o.yaml]\nnamePrefix: o-",
        ),
        ("o/o.yaml", ""),
    ];
    let gathered = with_graph(&files, |graph, _| graph.resource_files(&rel("o")));
    assert_eq!(gathered, [rel("a/a.yaml"), rel("o/o.yaml")]);
}
