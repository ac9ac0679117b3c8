//! Parses the references of a kustomization file.
//!
//! Follows the fields of kustomize's own `Kustomization` type, including deprecated ones, and the fields of its
//! built-in plugins' configurations. Reads no files: whether a target exists, or is a folder or a link, is unknown
//! here.

use serde::{Deserialize, Serialize};

use super::node::{self, Node, Value};
pub(crate) use super::node::{Broken, Place};

/// The memoised facts about a kustomization file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kustomization {
    pub(crate) kind: Kind,
    /// Its references, in kustomize's reading order.
    pub(crate) references: Vec<Reference>,
    /// Whether its resources keep the ids in their files, because it has no field that could rename, remove or
    /// replace any.
    pub(crate) keeps_ids: bool,
    /// Why it could not be read completely.
    pub(crate) broken: Option<Broken>,
}

/// The kind of a kustomization file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Kustomization,
    /// It is mixed into others.
    Component,
    /// It belongs to another program that uses the same file name (Flux).
    Foreign,
}

/// A reference to a file, a folder or something remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// How kustomize uses it.
    pub(crate) role: Role,
    /// As written, without the key of `key=path`.
    pub(crate) target: String,
    pub(crate) at: Place,
}

/// How kustomize uses a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// `resources`, `bases`: a file, a folder, or remote.
    Resource,
    /// `components`: a folder, or remote.
    Component,
    /// `generators`, `transformers`, `validators`: like a resource that configures plugins.
    Plugin,
    /// Anything else: a file, or an HTTP URL.
    File,
    /// The folder of a Helm chart; downloaded if it does not exist.
    Chart,
}

/// Raise with every change of [`kustomization`], whose results are memoised under it.
pub(super) const KUSTOMIZATION_FACT: &str = "kustomization/1";
/// Likewise for [`plugin_config`].
pub(super) const PLUGIN_FACT: &str = "kustomize-plugin/1";

/// Fields that do not change the ids of resources.
const HARMLESS: [&str; 18] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "images",
    "imageTags",
    "replicas",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "configurations",
    "crds",
    "openapi",
    "buildMetadata",
];

/// Parses a kustomization file. Only its first document counts.
#[must_use]
pub(crate) fn kustomization(text: &str) -> Kustomization {
    let documents = node::parse(text);
    let mut references = Vec::new();
    let root = documents.nodes.first();
    if let Some(root) = root {
        collect(root, &mut references);
    }
    let harmless = |key: &str| HARMLESS.iter().any(|name| name.eq_ignore_ascii_case(key));
    Kustomization {
        kind: root.map_or(Kind::Kustomization, kind),
        references,
        keeps_ids: root.is_some_and(|root| root.keys().into_iter().all(harmless)),
        broken: documents.broken,
    }
}

/// Parses a plugin configuration: the files that kustomize's built-in plugins will load. They are relative to the
/// kustomization that lists the plugin, not to this file.
#[must_use]
pub(crate) fn plugin_config(text: &str) -> Vec<Reference> {
    let mut references = Vec::new();
    for document in &node::parse(text).nodes {
        if string(document, "apiVersion") == Some("builtin") {
            plugin(document, &mut references);
        }
    }
    references
}

fn kind(root: &Node) -> Kind {
    let version = string(root, "apiVersion").unwrap_or_default();
    if version.starts_with("kustomize.toolkit.fluxcd.io/") {
        return Kind::Foreign;
    }
    match string(root, "kind") {
        Some("Component") => Kind::Component,
        _ => Kind::Kustomization,
    }
}

fn collect(root: &Node, out: &mut Vec<Reference>) {
    for (field, role) in [
        ("resources", Role::Resource),
        ("bases", Role::Resource),
        ("components", Role::Component),
        ("configurations", Role::File),
        ("crds", Role::File),
    ] {
        list(root, field, role, out);
    }
    for field in ["configMapGenerator", "secretGenerator"] {
        each(root, field, |item| key_values(item, out));
    }
    for field in ["generators", "transformers", "validators"] {
        each(root, field, |item| plugin_entry(item, out));
    }
    for field in ["patches", "patchesJson6902", "replacements"] {
        each(root, field, |item| one(item, "path", Role::File, out));
    }
    each(root, "patchesStrategicMerge", |item| merge_patch(item, out));
    if let Some(openapi) = root.get("openapi") {
        one(openapi, "path", Role::File, out);
    }
    charts(root, out);
}

fn push(node: &Node, role: Role, out: &mut Vec<Reference>) {
    if let Some(target) = node.text().filter(|text| !text.is_empty()) {
        out.push(Reference {
            role,
            target: target.to_owned(),
            at: node.at,
        });
    }
}

fn one(node: &Node, field: &str, role: Role, out: &mut Vec<Reference>) {
    if let Some(node) = node.get(field) {
        push(node, role, out);
    }
}

fn each(node: &Node, field: &str, mut act: impl FnMut(&Node)) {
    for item in node.get(field).map_or(&[][..], Node::items) {
        act(item);
    }
}

fn list(node: &Node, field: &str, role: Role, out: &mut Vec<Reference>) {
    each(node, field, |item| push(item, role, out));
}

fn string<'n>(node: &'n Node, field: &str) -> Option<&'n str> {
    node.get(field)?.text().filter(|text| !text.is_empty())
}

/// The files of a ConfigMap or Secret generator: `path` or `key=path`, and files with `NAME=value` lines.
fn key_values(node: &Node, out: &mut Vec<Reference>) {
    each(node, "files", |item| {
        let Some(text) = item.text() else { return };
        let target = text.split_once('=').map_or(text, |(_, path)| path);
        if !target.is_empty() {
            out.push(Reference {
                role: Role::File,
                target: target.to_owned(),
                at: item.at,
            });
        }
    });
    one(node, "env", Role::File, out);
    list(node, "envs", Role::File, out);
}

/// A path or an inline configuration.
fn plugin_entry(item: &Node, out: &mut Vec<Reference>) {
    let Some(text) = item.text() else { return };
    if !is_inline(text) {
        return push(item, Role::Plugin, out);
    }
    out.extend(plugin_config(text).into_iter().map(|reference| Reference {
        at: item.at,
        ..reference
    }));
}

/// A path or an inline patch.
fn merge_patch(item: &Node, out: &mut Vec<Reference>) {
    if !item.text().is_some_and(is_inline) {
        push(item, Role::File, out);
    }
}

fn is_inline(text: &str) -> bool {
    let documents = node::parse(text).nodes;
    let first = documents.first().map(|node| &node.value);
    matches!(first, Some(Value::Mapping(_) | Value::Sequence(_)))
}

/// The file fields of all built-in plugins have different names, so the plugin's kind does not matter.
fn plugin(node: &Node, out: &mut Vec<Reference>) {
    key_values(node, out);
    one(node, "path", Role::File, out);
    each(node, "paths", |item| merge_patch(item, out));
    each(node, "replacements", |item| {
        one(item, "path", Role::File, out);
    });
    if string(node, "kind") == Some("HelmChartInflationGenerator") {
        let home = string(node, "chartHome");
        chart(node, home, ["name", "version", "repo", "valuesFile"], out);
    }
}

fn charts(root: &Node, out: &mut Vec<Reference>) {
    let globals = root.get("helmGlobals");
    let home = globals.and_then(|globals| string(globals, "chartHome"));
    each(root, "helmCharts", |item| {
        chart(item, home, ["name", "version", "repo", "valuesFile"], out);
    });
    let names = ["chartName", "chartVersion", "chartRepoUrl", "values"];
    each(root, "helmChartInflationGenerator", |item| {
        chart(item, string(item, "chartHome").or(home), names, out);
    });
}

/// The chart's folder is `HOME/NAME`, or `HOME/NAME-VERSION/NAME` if both version and repository are given.
fn chart(node: &Node, home: Option<&str>, fields: [&str; 4], out: &mut Vec<Reference>) {
    let [name, version, repo, values] = fields;
    one(node, values, Role::File, out);
    list(node, "additionalValuesFiles", Role::File, out);
    let home = home.unwrap_or("charts");
    let Some(chart) = string(node, name) else {
        return;
    };
    let target = match (string(node, version), string(node, repo)) {
        (Some(version), Some(_)) => format!("{home}/{chart}-{version}/{chart}"),
        _ => format!("{home}/{chart}"),
    };
    out.push(Reference {
        role: Role::Chart,
        target,
        at: node.at,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Vec<(Role, String)> {
        let references = kustomization(text).references.into_iter();
        references.map(|r| (r.role, r.target)).collect()
    }

    fn files(text: &str) -> Vec<String> {
        let of_role = |(role, target)| (role == Role::File).then_some(target);
        targets(text).into_iter().filter_map(of_role).collect()
    }

    #[test]
    fn kinds() {
        let kind = |text: &str| kustomization(text).kind;
        assert_eq!(kind(""), Kind::Kustomization);
        assert_eq!(kind("resources: []"), Kind::Kustomization);
        assert_eq!(kind("kind: Component"), Kind::Component);
        let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization";
        assert_eq!(kind(flux), Kind::Foreign);
    }

    #[test]
    fn resources_components_and_plugins() {
        let text = "resources: [a.yaml, ../b]\nbases: [c]\ncomponents: [d]\n\
                    generators: [e.yaml]\ntransformers: [f]\nvalidators: [g]\n";
        use Role::{Component, Plugin, Resource};
        assert_eq!(
            targets(text),
            [
                (Resource, "a.yaml"),
                (Resource, "../b"),
                (Resource, "c"),
                (Component, "d"),
                (Plugin, "e.yaml"),
                (Plugin, "f"),
                (Plugin, "g"),
            ]
            .map(|(role, target)| (role, target.to_owned()))
        );
    }

    #[test]
    fn patches_by_path_are_files_and_inline_ones_are_not() {
        let text = "patches:\n- path: a.yaml\n  target: {kind: Service}\n- patch: |-\n    - op: add\n      path: /no\n\
                    patchesJson6902: [{target: {name: x}, path: b.json}]\n\
                    patchesStrategicMerge:\n- c.yaml\n- |\n  kind: Deployment\n  metadata: {name: x}\n\
                    replacements: [{path: d.yaml}, {source: {kind: X}}]\n";
        assert_eq!(files(text), ["a.yaml", "b.json", "d.yaml", "c.yaml"]);
    }

    #[test]
    fn generators_name_files_with_and_without_keys() {
        let text = "configMapGenerator:\n- name: x\n  files: [a.txt, k=dir/b.txt]\n  envs: [c.env]\n  env: d.env\n  literals: [e=f]\n\
                    secretGenerator: [{name: y, files: [tls.key]}]\n";
        assert_eq!(
            files(text),
            ["a.txt", "dir/b.txt", "d.env", "c.env", "tls.key"]
        );
    }

    #[test]
    fn configuration_of_kustomize_itself() {
        let text = "configurations: [a]\ncrds: [b]\nopenapi: {path: c}\n";
        assert_eq!(files(text), ["a", "b", "c"]);
    }

    #[test]
    fn charts_are_folders_named_by_version_and_repository() {
        let text = "helmGlobals: {chartHome: ../home}\nhelmCharts:\n\
                    - {name: a, version: 1.2.3, repo: 'https://x', valuesFile: v.yaml, additionalValuesFiles: [w.yaml]}\n\
                    - {name: b}\nhelmChartInflationGenerator: [{chartName: c, values: u.yaml}]\n";
        let charts: Vec<_> = targets(text)
            .into_iter()
            .filter(|(role, _)| *role == Role::Chart)
            .map(|(_, target)| target)
            .collect();
        assert_eq!(charts, ["../home/a-1.2.3/a", "../home/b", "../home/c"]);
        assert_eq!(files(text), ["v.yaml", "w.yaml", "u.yaml"]);
    }

    #[test]
    fn plugins_of_kustomize_itself_load_files() {
        let config = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: p.yaml\n---\n\
                      apiVersion: example.com/v1\nkind: Own\npath: not-read.yaml\n";
        let targets: Vec<_> = plugin_config(config)
            .into_iter()
            .map(|r| r.target)
            .collect();
        assert_eq!(targets, ["p.yaml"]);
        let inline = "transformers:\n- |\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  files: [k=q.txt]\n";
        assert_eq!(files(inline), ["q.txt"]);
    }

    #[test]
    fn references_know_their_place_and_broken_files_keep_what_was_read() {
        let read = kustomization("resources:\n  - a.yaml\n  - b.yaml\npatches: {\n");
        assert_eq!(read.references.len(), 2);
        assert_eq!(read.references[1].at, Place { line: 3, column: 5 });
        assert!(read.broken.is_some());
    }

    #[test]
    fn ids_are_kept_unless_a_field_could_change_one() {
        let keeps = |text: &str| kustomization(text).keeps_ids;
        assert!(keeps("kind: Kustomization\nresources: [a]\nlabels: []\n"));
        for field in [
            "namePrefix: x-",
            "namespace: x",
            "patches: []",
            "components: [c]",
            "new: 1",
        ] {
            assert!(!keeps(&format!("resources: [a]\n{field}\n")), "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let text = String::from_utf8_lossy(&bytes);
            let _ = kustomization(&text);
            let _ = plugin_config(&text);
        }

        #[test]
        fn nearly_right_text_never_panics(text in crate::testing::damaged_text(
            "resources:\n- ../base\n- a.yaml\npatches:\n- path: p.yaml\n  target: {kind: A}\n\
             configMapGenerator:\n- name: c\n  files: [k=f.txt]\n  envs: &e [a.env]\nhelmCharts:\n- name: x\n  valuesFile: *e\n",
        )) {
            let _ = kustomization(&text);
            let _ = plugin_config(&text);
        }
    }
}
