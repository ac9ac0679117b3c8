//! The named parts of a key, before hashing. Stored beside each entry, so that a miss can name what changed.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::env::Env;
use crate::key::encode::{self, Encoder};
use crate::key::tree::{self, Trees};
use crate::plan::check::OutsideFile;
use crate::plan::{Check, Command, Layer, Plan, Tool, Work};
use crate::rule::Rule;
use crate::snapshot::Entry;

/// What a part of a fingerprint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PartKind {
    /// Engine class and platform.
    Engine,
    /// A layer, by its key.
    Layer,
    /// What runs: argv, earlier commands, or a built-in and its version.
    Command,
    /// The working directory.
    Dir,
    /// A variable of the user, by declared name.
    Env,
    /// A variable set to a fixed value.
    SetEnv,
    /// A program on the check's PATH.
    Tool,
    /// Anything else from the configuration.
    Option,
    /// The tree of shared files.
    Inputs,
    /// Files from outside the snapshot.
    Outside,
    /// The tree of checked files.
    Files,
    /// Instead of `Inputs`: paths, kinds and link targets of the shared files.
    Names,
    /// Instead of `Inputs`: the tree of the files that were read.
    Reads,
}

/// One named part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// What it is about.
    pub(crate) kind: PartKind,
    /// Which one of its kind; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Its value; `None` = unset or absent, which differs from empty.
    pub(crate) value: Option<String>,
    /// What a layer is made of; the version of a program. Not hashed (the value is a digest): only words reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) detail: Vec<(String, String)>,
}

/// All named parts of a key, in their fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// [`KEY_VERSION`](crate::key::KEY_VERSION) of who made it: parts of another version say nothing about these.
    #[serde(default = "first_version")]
    pub(crate) version: u32,
    /// The parts.
    pub(crate) parts: Vec<Part>,
}

/// The one version that did not write itself down.
const fn first_version() -> u32 {
    1
}

impl Default for Fingerprint {
    /// Of this version, without parts.
    fn default() -> Self {
        Self {
            version: encode::version(),
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

    /// Canonical digest of the parts for which `keep` holds.
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

    /// The value of a part that there is one of.
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
    /// Everything but the checked files: what part keys start from.
    pub(crate) common: Digest,
    /// Everything but files of any kind: products of earlier runs may be reused where it is equal.
    pub(crate) products: Digest,
    /// The parts, for storing and for reasons.
    pub(crate) fingerprint: Fingerprint,
}

/// Key of a layer: its parts and the layers below it. Its name is not in, so that equal layers are shared.
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

/// Key of one part of a check: the common key and its file.
#[must_use]
pub(crate) fn part_key(common: &Digest, file: &Entry) -> Digest {
    let mut encoder = Encoder::new("part");
    if Rule::PartPath.holds() {
        encoder.digest(common).bytes(&tree::entry(file));
    } else {
        encoder.digest(common).digest(&file.digest);
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
    for layer in check.layers.iter().filter_map(|name| plan.layer(name)) {
        print.parts.push(Part {
            kind: PartKind::Layer,
            name: layer.name.clone(),
            value: Some(layer_key(plan, layer).to_string()),
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
    if let Some(files) = &check.inputs.parts {
        print.push(PartKind::Files, "", Some(trees.digest(files).to_string()));
    }
    let no_files = |kind| !matches!(kind, PartKind::Inputs | PartKind::Files | PartKind::Outside);
    CheckKey {
        whole: print.digest("check", |_| true),
        common: print.digest("common", |kind| {
            kind != PartKind::Files || !Rule::PartsApart.holds()
        }),
        products: print.digest("products", no_files),
        fingerprint: print,
    }
}

fn push_command(print: &mut Fingerprint, command: &Command, env: &Env) {
    for earlier in &command.before {
        print.push(PartKind::Command, "before", Some(argv(earlier)));
    }
    print.push(PartKind::Command, "", Some(argv(&command.argv)));
    if Rule::WorkingDirectory.holds() {
        print.push(PartKind::Dir, "", Some(command.dir.to_string()));
    }
    let declared = command.env.iter().filter(|_| Rule::DeclaredEnv.holds());
    for name in declared {
        let mut value = env.var_os(name).map(env_value);
        if !Rule::UnsetEnv.holds() {
            value = Some(value.unwrap_or_default());
        }
        print.push(PartKind::Env, name, value);
    }
    for secret in &command.secrets {
        let mac = secret.mac.filter(|_| Rule::SecretsAreKeyed.holds());
        print.push(PartKind::Env, &secret.name, mac.map(|mac| mac.to_string()));
    }
    let fixed = command.set_env.iter().filter(|_| Rule::SetEnv.holds());
    for (name, value) in fixed {
        print.push(PartKind::SetEnv, name, Some(value.clone()));
    }
    for name in command.grants.keys() {
        print.push(PartKind::Option, "grant", Some(name.clone()));
    }
    for tool in &command.tools {
        let value = match tool {
            Tool::Host { identity, .. } => Some(identity.to_string()),
            // The layer's key is in already; the path tells which of its programs.
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
        print.push(PartKind::Option, "product", Some(product.to_string()));
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
    print.push(PartKind::Option, "findings", Some(command.parse.identity()));
}

/// Words in their order and with their bounds, as text.
fn argv(words: &[String]) -> String {
    let mut words = words.to_vec();
    if !Rule::ArgumentOrder.holds() {
        words.sort();
    }
    if !Rule::ArgumentBounds.holds() {
        return words.join(" ");
    }
    serde_json::to_string(&words).unwrap_or_default()
}

/// A value as text, so that no two are the same: what is no UTF-8 is written after a NUL, which no value holds.
fn env_value(value: &OsString) -> String {
    match value.to_str() {
        Some(text) => text.to_owned(),
        None => format!("\0{value:?}"),
    }
}

/// Where an outside file lies, as people write it: `../../rustfmt.toml`.
#[must_use]
pub(crate) fn outside_name(file: &OutsideFile) -> String {
    format!("{}{}", "../".repeat(file.up as usize), file.path)
}

#[cfg(test)]
mod tests {

    use std::sync::Arc;

    use super::*;
    use crate::path::RelPath;
    use crate::plan::output::NoFindings;
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
        assert_eq!(keys.whole.short(), "573e2accf13e");
        assert_eq!(keys.common.short(), "f13bf163aa7e");
        let snapshot = Snapshot::in_memory(FILES);
        let part = part_key(&keys.common, snapshot.entry(1));
        assert_eq!(part.short(), "c275fa344245");
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

    #[test]
    fn every_row_of_the_table_changes_the_key() {
        let base = key(|_, _| {}).whole;
        let differs = |name: &str, other: CheckKey| assert_ne!(base, other.whole, "{name}");
        differs(
            "argument order",
            key(|c, _| with_command(c, |c| c.argv.swap(1, 2))),
        );
        differs(
            "directory",
            key(|c, _| with_command(c, |c| c.dir = RelPath::from_normal("d".into()))),
        );
        differs(
            "earlier command",
            key(|c, _| with_command(c, |c| c.before = vec![vec!["z".into()]])),
        );
        differs(
            "fixed variable",
            key(|c, _| with_command(c, |c| c.set_env = [("A".into(), "1".into())].into())),
        );
        differs("network", key(|c, _| with_command(c, |c| c.network = true)));
        differs(
            "outputs",
            key(|c, _| with_command(c, |c| c.outputs = vec!["o".into()])),
        );
        let absent = || vec![Tool::Absent { name: "sh".into() }];
        differs(
            "absent tool",
            key(|c, _| with_command(c, |c| c.tools = absent())),
        );
        differs("layer", key(|_, p| p.layers[0].parts[0].1 = "macos".into()));
        differs(
            "shared content",
            key_on(
                &[("a", "9"), ("b", "2"), ("c", "3")],
                &Env::default(),
                |_, _| {},
            ),
        );
        differs(
            "part name",
            key_on(
                &[("a", "1"), ("bb", "2"), ("c", "3")],
                &Env::default(),
                |_, _| {},
            ),
        );
        let empty = key_on(FILES, &Env::from_pairs(&[("MODE", "")]), |_, _| {});
        differs("variable set to empty", empty.clone());
        assert_ne!(
            empty.whole,
            key_on(FILES, &Env::from_pairs(&[("MODE", "1")]), |_, _| {}).whole
        );
        let other_class = check_key(
            &plan(),
            &check(command(&["sh", "x", "y"])),
            &mut Trees::new(&Snapshot::in_memory(FILES)),
            &Env::default(),
            "dagger",
            "linux-x86_64-gnu",
        );
        differs("engine class", other_class);
    }

    #[derive(Debug)]
    struct Named(&'static str);

    impl crate::plan::Builtin for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn version(&self) -> u32 {
            1
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
        let of = |name| key(|check, _| check.work = Work::Builtin(Arc::new(Named(name))));
        assert_ne!(of("a").whole, of("b").whole);
        assert_ne!(of("a").common, of("b").common);
    }

    #[test]
    fn an_undeclared_variable_changes_nothing() {
        let env = Env::from_pairs(&[("OTHER", "1")]);
        assert_eq!(key(|_, _| {}).whole, key_on(FILES, &env, |_, _| {}).whole);
    }

    #[test]
    fn a_checked_file_changes_the_whole_and_its_own_part_only() {
        let before = key(|_, _| {});
        let after = key_on(
            &[("a", "1"), ("b", "2"), ("c", "9")],
            &Env::default(),
            |_, _| {},
        );
        assert_ne!(before.whole, after.whole);
        assert_eq!(before.common, after.common);
        let old = Snapshot::in_memory(FILES);
        assert_ne!(
            part_key(&before.common, old.entry(1)),
            part_key(&before.common, old.entry(2))
        );
    }
}
