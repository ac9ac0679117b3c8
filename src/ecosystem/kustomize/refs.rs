//! `kustomize:refs`: checks the references between a project's kustomizations without running kustomize.
//!
//! Every target exists; there are no cycles; `components` lists components and nothing else does; a folder has one
//! kustomization; resources are unique. Only what kustomize certainly rejects is a finding: two resources are
//! considered equal only if group, version, kind, namespace and name are written alike, and only if no kustomization
//! in between could rename or remove one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use super::closure::Problem;
use super::node::{self, Node, Place};
use crate::finding::{Finding, Severity};
use crate::path::RelPath;
use crate::plan::{Builtin, InputView};

pub(crate) const ID: &str = "kustomize:refs";

/// The check, with the results of walking the graph.
#[derive(Debug, Default)]
pub(super) struct Refs {
    pub(crate) problems: BTreeSet<Problem>,
    /// Missing targets. Together with the content of the inputs they determine all problems, so they are in the key.
    pub(crate) missing: BTreeSet<String>,
    /// For each folder, the files whose resources meet there with unchanged ids.
    pub(crate) resources: BTreeMap<RelPath, Vec<RelPath>>,
}

impl Builtin for Refs {
    fn name(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        1
    }

    fn params(&self) -> Vec<(String, String)> {
        let missing = self.missing.iter().cloned();
        missing.map(|path| ("missing".to_owned(), path)).collect()
    }

    fn check(&self, view: &dyn InputView) -> io::Result<Vec<Finding>> {
        let mut findings: BTreeSet<Finding> = self.problems.iter().map(finding).collect();
        let mut known: HashMap<&RelPath, Vec<(ResourceId, Place)>> = HashMap::new();
        for file in self.resources.values().flatten() {
            if !known.contains_key(file) {
                let bytes = view.read(file)?;
                known.insert(file, resource_ids(&String::from_utf8_lossy(&bytes)));
            }
        }
        let mut reported = BTreeSet::new();
        for (dir, files) in &self.resources {
            // Duplicates in a base also appear in everything built on it, but are reported once.
            let new = duplicates(dir, files, &known).into_iter();
            let new = new.filter(|found| reported.insert((found.path.clone(), found.at)));
            findings.extend(new.map(|problem| finding(&problem)));
        }
        Ok(findings.into_iter().collect())
    }
}

fn finding(problem: &Problem) -> Finding {
    Finding {
        path: Some(problem.path.clone()),
        line: Some(problem.at.line),
        column: Some(problem.at.column),
        severity: Severity::Error,
        code: Some(problem.code.to_owned()),
        message: problem.message.clone(),
        rendered: None,
    }
}

/// The identity of a resource in kustomize.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ResourceId {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

fn duplicates(
    dir: &RelPath,
    files: &[RelPath],
    known: &HashMap<&RelPath, Vec<(ResourceId, Place)>>,
) -> Vec<Problem> {
    let mut first: HashMap<&ResourceId, &RelPath> = HashMap::new();
    let mut problems = Vec::new();
    for file in files {
        for (id, at) in known.get(file).into_iter().flatten() {
            match first.get(id) {
                None => {
                    first.insert(id, file);
                }
                Some(earlier) => problems.push(Problem {
                    path: file.clone(),
                    at: *at,
                    code: "duplicate-id",
                    message: format!(
                        "{} `{}` comes into `{dir}` twice, the first time from `{earlier}`",
                        id.kind, id.name
                    ),
                }),
            }
        }
    }
    problems
}

/// The ids of a file's resources, if they are certain. None for invalid YAML, which other checks report.
fn resource_ids(text: &str) -> Vec<(ResourceId, Place)> {
    let documents = node::parse(text);
    if documents.broken.is_some() {
        return Vec::new();
    }
    documents.nodes.iter().filter_map(resource_id).collect()
}

fn resource_id(node: &Node) -> Option<(ResourceId, Place)> {
    let text = |node: &Node, key: &str| Some(node.get(key)?.text()?.to_owned());
    let metadata = node.get("metadata")?;
    let kind = text(node, "kind")?;
    // A list stands for its items; local configuration is dropped.
    if kind.ends_with("List") || metadata.get("annotations").is_some_and(is_local) {
        return None;
    }
    let id = ResourceId {
        api_version: text(node, "apiVersion")?,
        kind,
        namespace: text(metadata, "namespace"),
        name: text(metadata, "name").filter(|name| !name.is_empty())?,
    };
    Some((id, node.at))
}

fn is_local(annotations: &Node) -> bool {
    annotations
        .get("config.kubernetes.io/local-config")
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_need_all_their_parts_and_lists_have_none() {
        let text = "apiVersion: v1\nkind: A\nmetadata: {name: x}\n---\n# nothing\n---\n\
                    apiVersion: v1\nkind: AList\nmetadata: {name: x}\nitems: []\n---\n\
                    apiVersion: v1\nkind: B\nmetadata: {generateName: x}\n---\n\
                    apiVersion: v1\nkind: C\nmetadata: {name: x, annotations: {config.kubernetes.io/local-config: 'true'}}\n";
        let ids = resource_ids(text);
        let kinds: Vec<_> = ids
            .iter()
            .map(|(id, at)| (id.kind.as_str(), at.line))
            .collect();
        assert_eq!(kinds, [("A", 1)]);
        assert_eq!(resource_ids("a: b: c"), []);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            resource_ids(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn nearly_right_text_never_panics(text in crate::testing::damaged_text(
            "apiVersion: v1\nkind: A\nmetadata: &m {name: x, annotations: {a: 'b'}}\n---\nkind: B\nmetadata: *m\n",
        )) {
            resource_ids(&text);
        }
    }
}
