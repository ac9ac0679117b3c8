//! The named parts of a key before hashing. Stored with each entry, so that a miss can name what changed.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::env::Env;
use crate::key::KEY_VERSION;
use crate::key::encode::Encoder;
use crate::key::tree::{self, Trees};
use crate::plan::check::OutsideFile;
use crate::plan::{Check, Command, Layer, Plan, Tool, Work};
use crate::snapshot::Entry;

/// What a part of a fingerprint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PartKind {
    /// Engine class and platform.
    Engine,
    /// A layer, by its key.
    Layer,
    /// Argv, earlier commands, or a built-in and its version.
    Command,
    /// The working directory.
    Dir,
    /// A user's variable, by declared name.
    Env,
    /// A variable with a fixed value.
    SetEnv,
    /// A program on the check's PATH.
    Tool,
    /// Any other configuration.
    Option,
    /// The tree of shared files.
    Inputs,
    /// Files from outside the snapshot.
    Outside,
    /// The tree of checked files.
    Files,
    /// Replaces `Inputs`: paths, kinds and link targets of the shared files.
    Names,
    /// Replaces `Inputs`: the tree of the files that were read.
    Reads,
    /// A folder that exists for the check although it sees none of its files.
    Folder,
    /// Replaces `Inputs`: the states of what a traced run asked about.
    States,
}

/// One named part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// What it is about.
    pub(crate) kind: PartKind,
    /// Empty if its kind has only one part.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// `None` means unset or absent, which differs from empty.
    pub(crate) value: Option<String>,
    /// The parts of a layer, or the version of a program. Not hashed, since the value is a digest; only words
    /// reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) detail: Vec<(String, String)>,
}

/// All named parts of a key in their fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// The [`KEY_VERSION`] it was made with: parts of different versions cannot be compared.
    #[serde(default = "first_version")]
    pub(crate) version: u32,
    /// The parts.
    pub(crate) parts: Vec<Part>,
}

/// The only version that did not record itself.
const fn first_version() -> u32 {
    1
}

impl Default for Fingerprint {
    /// Of this version, without parts.
    fn default() -> Self {
        Self {
            version: KEY_VERSION,
            parts: Vec::new(),
        }
    }
}

impl Fingerprint {
    pub(super) fn push(&mut self, kind: PartKind, name: &str, value: Option<String>) {
        self.parts.push(Part {
            kind,
            name: name.to_owned(),
            value,
            detail: Vec::new(),
        });
    }

    /// Canonical digest of the parts that `keep` selects.
    pub(super) fn digest(&self, domain: &str, keep: impl Fn(PartKind) -> bool) -> Digest {
        let mut encoder = Encoder::new(domain);
        for part in self.parts.iter().filter(|part| keep(part.kind)) {
            encoder.number(part.kind as u64).str(&part.name);
            match &part.value {
                Some(value) => encoder.number(1).str(value),
                None => encoder.number(0),
            };
        }
        encoder.finish()
    }

    /// The value of a part whose kind occurs only once.
    #[must_use]
    pub(crate) fn value(&self, kind: PartKind) -> Option<&str> {
        self.parts
            .iter()
            .find(|part| part.kind == kind)?
            .value
            .as_deref()
    }
}

/// The keys of one check.
#[derive(Debug, Clone)]
pub(crate) struct CheckKey {
    /// Key of the whole check.
    pub(crate) whole: Digest,
    /// Everything except the checked files: the base of part keys.
    pub(crate) common: Digest,
    /// Everything except files: products of earlier runs may be reused if it is equal.
    pub(crate) products: Digest,
    /// The parts, for storing and for miss reasons.
    pub(crate) fingerprint: Fingerprint,
}

impl CheckKey {
    /// The key of a run that is known to depend on less than all visible files: `base` has the other parts, and this
    /// one stands for what the run met.
    pub(super) fn narrowed(
        base: &Fingerprint,
        kind: PartKind,
        value: Digest,
        products: Digest,
    ) -> Self {
        let mut fingerprint = base.clone();
        fingerprint.push(kind, "", Some(value.to_string()));
        let whole = fingerprint.digest("check", |_| true);
        Self {
            whole,
            common: whole,
            products,
            fingerprint,
        }
    }
}

/// The key of a layer: its parts and the layers below it. Does not include its name, so that equal layers are shared.
#[must_use]
pub(crate) fn layer_key(plan: &Plan, layer: &Layer) -> Digest {
    let mut encoder = Encoder::new("layer");
    encoder.str(layer.kind.as_str());
    let below: Vec<&Layer> = layer
        .on
        .iter()
        .filter_map(|name| plan.layer(name))
        .collect();
    encoder.number(below.len() as u64);
    for lower in below {
        encoder.digest(&layer_key(plan, lower));
    }
    encoder.number(layer.parts.len() as u64);
    for (name, value) in &layer.parts {
        encoder.str(name).str(value);
    }
    encoder.finish()
}

/// These layers of the plan, each with its key.
#[must_use]
pub(crate) fn with_keys<'p>(
    plan: &'p Plan,
    layers: impl IntoIterator<Item = &'p Layer>,
) -> Vec<(&'p Layer, Digest)> {
    let layers = layers.into_iter();
    layers
        .map(|layer| (layer, layer_key(plan, layer)))
        .collect()
}

/// The layers of a check, each with its key.
#[must_use]
pub(crate) fn layers_of<'p>(plan: &'p Plan, check: &Check) -> Vec<(&'p Layer, Digest)> {
    let names = check.layers.iter();
    with_keys(plan, names.filter_map(|name| plan.layer(name)))
}

/// The key of one part of a check: the common key, its file and, for a link, what it leads to.
#[must_use]
pub(crate) fn part_key<'e>(
    common: &Digest,
    file: &Entry,
    linked: impl IntoIterator<Item = &'e Entry>,
) -> Digest {
    let mut encoder = Encoder::new("part");
    encoder.digest(common).bytes(&tree::entry(file));
    for entry in linked {
        encoder.bytes(&tree::entry(entry));
    }
    encoder.finish()
}

/// The keys of a check on the snapshot of `trees`, for an engine of `class` on `platform`.
#[must_use]
pub(crate) fn check_key(
    plan: &Plan,
    check: &Check,
    trees: &mut Trees<'_>,
    env: &Env,
    class: &str,
    platform: &str,
) -> CheckKey {
    let mut print = Fingerprint::default();
    print.push(PartKind::Engine, "", Some(format!("{class} {platform}")));
    for (layer, key) in layers_of(plan, check) {
        print.parts.push(Part {
            kind: PartKind::Layer,
            name: layer.name.clone(),
            value: Some(key.to_string()),
            detail: layer.parts.clone(),
        });
    }
    match &check.work {
        Work::Builtin(builtin) => {
            print.push(
                PartKind::Command,
                "",
                Some(format!(
                    "built in, {} {}",
                    builtin.name(),
                    builtin.version()
                )),
            );
            for (name, value) in builtin.params() {
                print.push(PartKind::Option, &name, Some(value));
            }
        }
        Work::Command(command) => push_command(&mut print, command, env),
        Work::Missing(_) | Work::Unsupported(_) => {}
    }
    print.push(
        PartKind::Inputs,
        "",
        Some(trees.digest(&check.inputs.shared).to_string()),
    );
    for file in &check.inputs.outside {
        print.push(
            PartKind::Outside,
            &outside_name(file),
            Some(file.digest.to_string()),
        );
    }
    if let Some(file) = check.work.command().and_then(|c| c.reduced.as_ref()) {
        print.push(PartKind::Outside, &file.path, Some(file.digest.to_string()));
    }
    for folder in &check.inputs.folders {
        print.push(PartKind::Folder, folder, Some(String::new()));
    }
    if let Some(files) = check.inputs.checked() {
        print.push(PartKind::Files, "", Some(trees.digest(&files).to_string()));
    }
    let is_file = |kind| {
        use PartKind::{Files, Folder, Inputs, Outside};
        matches!(kind, Inputs | Files | Outside | Folder)
    };
    CheckKey {
        whole: print.digest("check", |_| true),
        common: print.digest("common", |kind| kind != PartKind::Files),
        products: print.digest("products", |kind| !is_file(kind)),
        fingerprint: print,
    }
}

fn push_command(print: &mut Fingerprint, command: &Command, env: &Env) {
    for earlier in &command.before {
        print.push(PartKind::Command, "before", Some(argv(earlier)));
    }
    print.push(PartKind::Command, "", Some(argv(&command.argv)));
    print.push(
        PartKind::Dir,
        "",
        Some(command.dir.display_dot().to_owned()),
    );
    for name in &command.env {
        print.push(PartKind::Env, name, env.var_os(name).map(env_value));
    }
    for secret in &command.secrets {
        let mac = secret.mac.map(|mac| mac.to_string());
        print.push(PartKind::Env, &secret.name, mac);
    }
    for (name, value) in &command.set_env {
        print.push(PartKind::SetEnv, name, Some(value.clone()));
    }
    for name in command.grants.keys() {
        print.push(PartKind::Option, "grant", Some(name.clone()));
    }
    for tool in &command.tools {
        let value = match tool {
            Tool::Host { identity, .. } => Some(identity.to_string()),
            // The layer's key is already included; the path tells which of its programs this is.
            Tool::Layer { layer, path, .. } => Some(format!("{layer} {path}")),
            Tool::Image { .. } => Some("of the image".to_owned()),
            Tool::Absent { .. } => None,
        };
        print.push(PartKind::Tool, tool.name(), value);
        let (Tool::Host { version, .. } | Tool::Layer { version, .. }) = tool else {
            continue;
        };
        if let (Some(part), Some(version)) = (print.parts.last_mut(), version) {
            part.detail.push(("version".to_owned(), version.clone()));
        }
    }
    for product in &command.products {
        print.push(
            PartKind::Option,
            "product",
            Some(product.display_dot().to_owned()),
        );
    }
    for output in &command.outputs {
        print.push(PartKind::Option, "output", Some(output.clone()));
    }
    if command.keep.is_some() {
        print.push(PartKind::Option, "incremental", Some("true".to_owned()));
    }
    print.push(
        PartKind::Option,
        "network",
        Some(command.network.to_string()),
    );
    for (name, limit) in command.limits.named() {
        let name = format!("limits.{name}");
        print.push(PartKind::Option, &name, Some(limit.to_string()));
    }
    print.push(PartKind::Option, "findings", Some(command.parse.identity()));
}

/// Joins words unambiguously.
fn argv(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

/// Encodes a value unambiguously: non-UTF-8 bytes follow a NUL, which no value contains.
fn env_value(value: &OsString) -> String {
    match value.to_str() {
        Some(text) => text.to_owned(),
        None => format!("\0{value:?}"),
    }
}

/// The path of an outside file for display: `../../rustfmt.toml`.
#[must_use]
pub(crate) fn outside_name(file: &OutsideFile) -> String {
    format!("{}{}", "../".repeat(file.up as usize), file.path.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::path::RelPath;
    use crate::plan::check::{Reduced, Secret};
    use crate::plan::output::{NoFindings, Output, Parsed};
    use crate::plan::{Inputs, LayerKind};
    use crate::snapshot::Snapshot;

    fn command(argv: &[&str]) -> Command {
        Command {
            env: vec!["MODE".into()],
            ..Command::new(
                argv.iter().map(ToString::to_string).collect(),
                RelPath::root(),
                vec![Tool::Host {
                    name: "sh".into(),
                    path: "/bin/sh".into(),
                    identity: Digest::of(b"sh"),
                    version: None,
                }],
                Arc::new(NoFindings),
            )
        }
    }

    fn check(command: Command) -> Check {
        Check::new("c", "lint", command.into())
            .sees(Inputs::per_file(vec![1, 2]).and_shared([0]))
            .on(vec!["base".into()])
    }

    fn plan() -> Plan {
        let layer = Layer {
            name: "base".into(),
            kind: LayerKind::Base,
            on: vec![],
            parts: vec![("os".into(), "linux".into())],
            build: crate::plan::Build::Present,
        };
        Plan {
            layers: vec![layer],
            ..Plan::default()
        }
    }

    const FILES: &[(&str, &str)] = &[("a", "1"), ("b", "2"), ("c", "3")];

    fn key(change: impl FnOnce(&mut Check, &mut Plan)) -> CheckKey {
        key_on(FILES, &Env::default(), change)
    }

    fn key_on(
        files: &[(&str, &str)],
        env: &Env,
        change: impl FnOnce(&mut Check, &mut Plan),
    ) -> CheckKey {
        let mut check = check(command(&["sh", "x", "y"]));
        let mut plan = plan();
        change(&mut check, &mut plan);
        check_key(
            &plan,
            &check,
            &mut Trees::new(&Snapshot::in_memory(files)),
            env,
            "local",
            "linux-x86_64-gnu",
        )
    }

    fn with_command(check: &mut Check, change: impl FnOnce(&mut Command)) {
        if let Work::Command(command) = &mut check.work {
            change(command);
        }
    }

    #[test]
    fn golden_keys_stay_as_they_are() {
        // What a change of these values costs: every stored result of every user misses once, on every machine and in
        // every shared store, so each project is checked whole once more; and what was stored before is dead weight
        // until it is pruned. Raise KEY_VERSION with it: without, a key could mean one thing to this version and another
        // to the last, and the misses would have no reason to print.
        let keys = key(|_, _| {});
        assert_eq!(keys.whole.short(), "b2a19cf72af3");
        assert_eq!(keys.common.short(), "b41485926e7a");
        let snapshot = Snapshot::in_memory(FILES);
        let part = part_key(&keys.common, snapshot.entry(1), []);
        assert_eq!(part.short(), "cbc686dac38e");
    }

    #[test]
    fn engines_and_platforms_share_no_key() {
        let mut check = check(command(&["true"]));
        check.inputs = Inputs::default();
        let snapshot = Snapshot::in_memory(&[]);
        let of = |class, platform| {
            let mut trees = Trees::new(&snapshot);
            let env = Env::default();
            check_key(&plan(), &check, &mut trees, &env, class, platform).whole
        };
        let local = of("local", "linux-x86_64");
        assert_ne!(local, of("dagger", "linux-x86_64"));
        assert_ne!(local, of("local", "macos-aarch64"));
        assert_eq!(local, of("local", "linux-x86_64"));
    }

    /// The key after a change of the command.
    fn with(change: impl FnOnce(&mut Command)) -> CheckKey {
        key(|check, _| with_command(check, change))
    }

    #[test]
    fn every_row_of_the_table_makes_another_key() {
        fn rel(path: &str) -> RelPath {
            RelPath::from_normal(path.into())
        }
        let tool = |name: &str, identity: &[u8]| Tool::Host {
            name: name.into(),
            path: "/bin/sh".into(),
            identity: Digest::of(identity),
            version: None,
        };
        let in_layer = |layer: &str, path: &str| Tool::Layer {
            name: "sh".into(),
            layer: layer.into(),
            path: path.into(),
            version: None,
        };
        let secret = |mac: Option<&[u8]>| Secret {
            name: "MODE".into(),
            mac: mac.map(Digest::of),
            shared: false,
        };
        let reduced = |content: &[u8]| {
            Some(Reduced {
                path: rel("a"),
                digest: Digest::of(content),
                reduce: str::to_owned,
            })
        };
        let outside = |up, content: &[u8]| OutsideFile {
            up,
            path: rel("a"),
            digest: Digest::of(content),
        };
        let files = |files: &[(&str, &str)]| key_on(files, &Env::default(), |_, _| {});
        let mode = |value| key_on(FILES, &Env::from_pairs(&[("MODE", value)]), |_, _| {});
        let engine = |class: &str, platform: &str| {
            let snapshot = Snapshot::in_memory(FILES);
            let check = check(command(&["sh", "x", "y"]));
            let mut trees = Trees::new(&snapshot);
            check_key(
                &plan(),
                &check,
                &mut trees,
                &Env::default(),
                class,
                platform,
            )
        };
        let argv = |words: &[&str]| with(|c| c.argv = words.iter().map(|w| (*w).into()).collect());
        let all = [
            key(|_, _| {}),
            engine("dagger", "linux-x86_64-gnu"),
            engine("local", "linux-aarch64-gnu"),
            key(|check, _| check.layers.clear()),
            key(|_, plan| plan.layers[0].parts[0].1 = "macos".into()),
            argv(&["sh", "y", "x"]),
            argv(&["sh", "x y"]),
            argv(&["sh", "x", "y", ""]),
            with(|c| c.before = vec![vec!["z".into()]]),
            with(|c| c.before = vec![vec!["z".into()], vec!["z".into()]]),
            with(|c| c.dir = rel("d")),
            with(|c| c.env.clear()),
            with(|c| c.env.push("MORE".into())),
            mode(""),
            mode("1"),
            with(|c| c.secrets = vec![secret(None)]),
            with(|c| c.secrets = vec![secret(Some(b"1"))]),
            with(|c| c.secrets = vec![secret(Some(b"2"))]),
            with(|c| c.set_env = [("MODE".into(), "1".into())].into()),
            with(|c| c.set_env = [("MODE".into(), "2".into())].into()),
            with(|c| c.grants = [("MODE".into(), "/1".into())].into()),
            with(|c| c.tools = vec![tool("sh", b"other")]),
            with(|c| c.tools = vec![tool("sh", b"sh"), tool("tr", b"sh")]),
            with(|c| c.tools = vec![Tool::Absent { name: "sh".into() }]),
            with(|c| c.tools = vec![Tool::Image { name: "sh".into() }]),
            with(|c| c.tools = vec![in_layer("base", "bin/sh")]),
            with(|c| c.tools = vec![in_layer("base", "bin/dash")]),
            with(|c| c.products = vec![rel("o")]),
            with(|c| c.reduced = reduced(b"1")),
            with(|c| c.reduced = reduced(b"2")),
            with(|c| c.outputs = vec!["o".into()]),
            with(|c| c.keep = Some("true".into())),
            with(|c| c.network = true),
            with(|c| c.parse = Arc::new(Lines)),
            key(|check, _| check.inputs.shared = vec![]),
            key(|check, _| check.inputs.outside = vec![outside(1, b"1")]),
            key(|check, _| check.inputs.outside = vec![outside(1, b"2")]),
            key(|check, _| check.inputs.outside = vec![outside(2, b"1")]),
            key(|check, _| check.inputs.folders = vec![rel("e")]),
            key(|check, _| check.inputs.folders = vec![rel("e/f")]),
            key(|check, _| check.inputs.linked = [(1, vec![0])].into()),
            key(|check, _| check.inputs.parts = None),
            key(|check, _| check.inputs.parts = Some(vec![1])),
            files(&[("a", "9"), ("b", "2"), ("c", "3")]),
            files(&[("a", "1"), ("bb", "2"), ("c", "3")]),
            files(&[("a", "1"), ("b", "3"), ("c", "2")]),
        ];
        let mut seen = BTreeMap::new();
        for (row, key) in all.iter().enumerate() {
            let earlier = seen.insert(key.whole, row);
            assert_eq!(earlier, None, "row {row} has the key of an earlier one");
        }
    }

    #[derive(Debug)]
    struct Lines;

    impl crate::plan::output::Parse for Lines {
        fn identity(&self) -> String {
            "lines/1".to_owned()
        }

        fn parse(&self, _: &Output, _: &RelPath, _: &[&RelPath]) -> Parsed {
            Parsed::default()
        }
    }

    #[test]
    fn what_does_not_decide_a_result_is_in_no_key() {
        let base = key(|_, _| {}).whole;
        let other = Env::from_pairs(&[("OTHER", "1")]);
        assert_eq!(base, key_on(FILES, &other, |_, _| {}).whole);
        let more = [FILES, &[("d", "4")]].concat();
        assert_eq!(base, key_on(&more, &Env::default(), |_, _| {}).whole);
        let elsewhere = Tool::Host {
            name: "sh".into(),
            path: "/usr/local/bin/sh".into(),
            identity: Digest::of(b"sh"),
            version: Some("sh 1.0".into()),
        };
        assert_eq!(base, with(|c| c.tools = vec![elsewhere]).whole);
        let granted = |home: &str| with(|c| c.grants = [("HOME".into(), home.into())].into());
        assert_eq!(granted("/root").whole, granted("/home/me").whole);
        let renamed = key(|check, plan| {
            plan.layers[0].parts.clear();
            check.layers.clear();
            check.id = "renamed".into();
            check.tags.clear();
            check.timeout = Some(std::time::Duration::from_secs(1));
            check.max_age = Some(std::time::Duration::from_secs(1));
        });
        assert_eq!(renamed.whole, key(|check, _| check.layers.clear()).whole);
    }

    #[cfg(unix)]
    #[test]
    fn where_and_when_files_were_written_is_in_no_key() {
        use std::os::unix::fs::PermissionsExt as _;

        let of = |mode: u32, written: u64| {
            let dir = tempfile::tempdir().expect("a folder");
            let root = dir.path().join("project");
            std::fs::create_dir(&root).expect("a folder");
            for (path, text) in FILES {
                let path = root.join(path);
                std::fs::write(&path, text).expect("a file");
                let mode = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(&path, mode).expect("its mode");
                let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(written);
                let file = std::fs::File::open(&path).expect("a file");
                file.set_modified(written).expect("its time");
            }
            let memo = dir.path().join("memo");
            let snapshot = Snapshot::take(&root, &memo, &Env::default()).expect("a snapshot");
            let check = check(command(&["sh"]));
            let mut trees = Trees::new(&snapshot);
            let env = Env::default();
            check_key(&plan(), &check, &mut trees, &env, "local", "linux").whole
        };
        let base = of(0o644, 1_000_000_000);
        assert_eq!(base, of(0o600, 1_700_000_000));
        assert_ne!(base, of(0o755, 1_000_000_000));
    }

    proptest! {
        #[test]
        fn different_fingerprints_never_share_a_digest(a in some_parts(), b in some_parts()) {
            prop_assert_eq!(a == b, a.digest("check", |_| true) == b.digest("check", |_| true));
            prop_assert_ne!(a.digest("check", |_| true), a.digest("weak", |_| true));
        }
    }

    /// Few kinds, names and values, so that many fingerprints are nearly the same.
    fn some_parts() -> impl Strategy<Value = Fingerprint> {
        let kind = prop::sample::select(vec![PartKind::Env, PartKind::SetEnv]);
        let text = || prop::sample::select(vec!["", "A", "AB", "B"]);
        let part = (kind, text(), prop::option::of(text()));
        prop::collection::vec(part, 0..3).prop_map(|parts| {
            let mut print = Fingerprint::default();
            for (kind, name, value) in parts {
                print.push(kind, name, value.map(str::to_owned));
            }
            print
        })
    }

    #[test]
    fn a_layer_is_its_kind_its_parts_and_what_it_lies_on() {
        let of = |change: &dyn Fn(&mut Layer)| {
            let mut plan = plan();
            let mut upper = Layer {
                name: "upper".into(),
                on: vec!["base".into()],
                ..plan.layers[0].clone()
            };
            change(&mut upper);
            change(&mut plan.layers[0]);
            layer_key(&plan, &upper)
        };
        let base = of(&|_| {});
        let named = |name: &'static str, change: fn(&mut Layer)| {
            of(&move |layer| {
                if layer.name == name {
                    change(layer);
                }
            })
        };
        assert_eq!(base, named("upper", |layer| layer.name = "other".into()));
        assert_ne!(base, named("upper", |layer| layer.on.clear()));
        assert_ne!(base, named("upper", |layer| layer.kind = LayerKind::Tools));
        assert_ne!(base, named("base", |layer| layer.parts[0].1 = "x".into()));
        assert_ne!(base, named("upper", |layer| layer.parts[0].0 = "x".into()));
        assert_ne!(base, named("upper", |layer| layer.parts.clear()));
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_no_text_differ_from_each_other_and_from_text() {
        use std::os::unix::ffi::OsStringExt as _;

        let of = |bytes: &[u8]| env_value(&OsString::from_vec(bytes.to_vec()));
        let text = of(b"\xff").len();
        assert_ne!(of(b"\xff"), of(b"\xfe"));
        assert_ne!(of(b"\xff"), of("\u{fffd}".as_bytes()));
        assert!(text > 0 && of(b"\xff").starts_with('\0'));
        assert_eq!(of(b"plain"), "plain");
    }

    #[test]
    fn outside_files_are_named_as_people_write_them() {
        let at = |up| {
            outside_name(&OutsideFile {
                up,
                path: RelPath::from_normal("rustfmt.toml".into()),
                digest: Digest::of(b""),
            })
        };
        assert_eq!(at(0), "rustfmt.toml");
        assert_eq!(at(2), "../../rustfmt.toml");
    }

    #[derive(Debug)]
    struct Named(&'static str, u32, &'static str);

    impl crate::plan::Builtin for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn version(&self) -> u32 {
            self.1
        }

        fn params(&self) -> Vec<(String, String)> {
            vec![("strict".to_owned(), self.2.to_owned())]
        }

        fn check(
            &self,
            _: &dyn crate::plan::InputView,
        ) -> std::io::Result<Vec<crate::finding::Finding>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn built_ins_on_the_same_files_share_no_key() {
        let of = |name, version, strict| {
            key(|check, _| check.work = Work::Builtin(Arc::new(Named(name, version, strict))))
        };
        let base = of("a", 1, "no");
        for other in [of("b", 1, "no"), of("a", 2, "no"), of("a", 1, "yes")] {
            assert_ne!(base.whole, other.whole);
            assert_ne!(base.common, other.common);
        }
    }

    #[test]
    fn a_checked_file_changes_the_whole_and_its_own_part_only() {
        let before = key(|_, _| {});
        let edited = [("a", "1"), ("b", "2"), ("c", "9")];
        let after = key_on(&edited, &Env::default(), |_, _| {});
        assert_ne!(before.whole, after.whole);
        assert_eq!(before.common, after.common);
        let other = key_on(
            &[("a", "9"), ("b", "2"), ("c", "3")],
            &Env::default(),
            |_, _| {},
        );
        assert_ne!(before.common, other.common);
        // No two of them: other content, the same content at another path, under another common key.
        let files = Snapshot::in_memory(&[("a", "1"), ("b", "1"), ("c", "2")]);
        let part = |common, file| part_key(common, files.entry(file), []);
        let keys = BTreeSet::from([
            part(&before.common, 0),
            part(&before.common, 1),
            part(&before.common, 2),
            part(&other.common, 0),
            part_key(&before.common, files.entry(0), [files.entry(1)]),
            part_key(&before.common, files.entry(0), [files.entry(2)]),
        ]);
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn products_are_shared_by_checks_that_differ_in_files_only() {
        let before = key(|_, _| {});
        let edited = [("a", "9"), ("b", "8"), ("c", "7")];
        let outside = key_on(&edited, &Env::default(), |check, _| {
            check.inputs.outside = vec![OutsideFile {
                up: 1,
                path: RelPath::from_normal("x".into()),
                digest: Digest::of(b""),
            }];
        });
        assert_eq!(before.products, outside.products);
        assert_ne!(before.products, with(|c| c.network = true).products);
    }

    #[test]
    fn a_fingerprint_without_a_version_is_of_the_first() {
        let print: Fingerprint = serde_json::from_str(r#"{"parts":[]}"#).expect("JSON");
        assert_eq!(print.version, 1);
        assert_eq!(Fingerprint::default().version, KEY_VERSION);
    }

    #[test]
    fn versions_of_programs_ride_along() {
        let print = with(|c| {
            c.tools = vec![Tool::Host {
                name: "ruff".into(),
                path: "/bin/ruff".into(),
                identity: Digest::of(b"ruff"),
                version: Some("0.5.7".into()),
            }];
        })
        .fingerprint;
        let tool = print.parts.iter().find(|part| part.kind == PartKind::Tool);
        let detail = &tool.expect("a program").detail;
        assert_eq!(*detail, [("version".to_owned(), "0.5.7".to_owned())]);
        let layer = print.parts.iter().find(|part| part.kind == PartKind::Layer);
        let detail = &layer.expect("a layer").detail;
        assert_eq!(*detail, [("os".to_owned(), "linux".to_owned())]);
        let command = print.value(PartKind::Command);
        assert_eq!(command, Some("[\"sh\",\"x\",\"y\"]"));
        assert_eq!(print.value(PartKind::Names), None);
    }
}
