//! Determines which products of workspace packages to remove before a run, because cargo would wrongly trust them.
//!
//! | changed since the last run | cargo alone | removed |
//! |---|---|---|
//! | content of a `*.rs` file in a package | sees it, unless a build script or a macro read it | that package, and all packages with code that runs at build time |
//! | a path added, removed or renamed in a package (`mod.rs` beside `mod`) | stays Fresh | as above, if it is a `*.rs` file; else all |
//! | anything else that was read: data, configuration, manifests | stays Fresh, if a build script or a macro read it undeclared | all of the project's packages |
//! | a file of a vendored package | stays Fresh | everything |
//! | unknown (a run was killed), or nothing | | all of the project's packages |
//!
//! Cargo itself rebuilds what depends on a removed package, and notices changes to files it knows: the room gives
//! them newer times than all products. Products of registry packages do not depend on the project's files, except for
//! build scripts that search the project for a file without telling cargo; a procedural macro from a registry that
//! reads another package's `*.rs` files has to depend on that package.

use std::collections::BTreeSet;

use crate::path::RelPath;
use crate::plan::check::{Change, Changes, Refresh};
use crate::process::quoted;
use crate::rule::Rule;
use crate::scope::Scope;

use super::manifests::vendored;
use super::workspace::{Member, Workspace};

/// The packages of a workspace, for [`Refresh`].
#[derive(Debug)]
pub(crate) struct Packages {
    pub(crate) members: Vec<Member>,
    /// Folders of path dependencies outside the workspace.
    pub(crate) others: Vec<RelPath>,
    /// Folders of vendored packages.
    pub(crate) vendored: Vec<RelPath>,
}

/// What has to be removed.
#[derive(Debug, PartialEq, Eq)]
enum Stale<'a> {
    Members(BTreeSet<&'a str>),
    Own,
    Everything,
}

impl Refresh for Packages {
    fn before(&self, before: &[Vec<String>], changes: &Changes) -> Vec<Vec<String>> {
        if !Rule::MemberUnits.holds() {
            return Vec::new();
        }
        let stale = match changes {
            Changes::NoProducts => return Vec::new(),
            Changes::Unknown if self.vendored.is_empty() => Stale::Own,
            Changes::Unknown => Stale::Everything,
            Changes::Known(changes) => self.stale(changes),
        };
        match stale {
            Stale::Own => before.to_vec(),
            Stale::Everything => before.iter().map(|argv| whole(argv)).collect(),
            Stale::Members(names) => before.iter().map(|argv| only(argv, &names)).collect(),
        }
    }
}

impl Packages {
    /// Those of a workspace.
    pub(crate) fn of(scope: &Scope<'_>, workspace: &Workspace) -> Self {
        Self {
            members: workspace.members.clone(),
            others: workspace.path_dependencies.clone(),
            vendored: vendored(scope),
        }
    }

    fn stale<'a>(&'a self, changes: &[Change]) -> Stale<'a> {
        let mut stale: BTreeSet<&str> = BTreeSet::new();
        let mut own = changes.is_empty();
        for change in changes {
            let path = change.path.as_str();
            if self.vendored.iter().any(|dir| is_below(path, dir)) {
                return Stale::Everything;
            }
            match self.owner(path) {
                Some(member) if path.ends_with(".rs") => _ = stale.insert(&member.name),
                _ => own = true,
            }
        }
        if own {
            return Stale::Own;
        }
        let builders = self.members.iter().filter(|member| member.runs_at_build);
        stale.extend(builders.map(|member| member.name.as_str()));
        Stale::Members(stale)
    }

    /// The same for a place in a container, as shell text for [`Command::keep`](crate::plan::Command::keep). Changes
    /// of `passed` are ignored. Vendored packages belong to the initial content of the place.
    pub(crate) fn narrow(&self, passed: Option<&RelPath>) -> String {
        let pattern = |dir: &RelPath| match dir.is_root() {
            true => "*".to_owned(),
            false => format!("{}/*", quoted(dir.as_str())),
        };
        let mut owners: Vec<(&RelPath, String)> = Vec::new();
        let of_others = self
            .others
            .iter()
            .map(|dir| (dir, "exec \"$@\"".to_owned()));
        owners.extend(of_others);
        let of_members = self.members.iter();
        owners.extend(of_members.map(|m| (&m.dir, format!("stale=\"${{stale}}{} \"", m.name))));
        // Innermost first; folders of other packages precede members in the same folder.
        owners.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.len()));
        let owners = owners.iter();
        let owners = owners.map(|(dir, then)| format!("{}) {then} ;;\n    ", pattern(dir)));
        let builders = self.members.iter().filter(|member| member.runs_at_build);
        let builders: String = builders.map(|member| format!("{} ", member.name)).collect();
        let passed = passed.map(|path| format!("{}) continue ;;\n    ", quoted(path.as_str())));
        let (passed, owners) = (passed.unwrap_or_default(), owners.collect::<String>());
        format!(
            r#"[ "$1 $2" = 'cargo clean' ] || exec "$@"
stale=' {builders}' changed=
while IFS= read -r path; do
    case $path in
    {passed}../*) exec "$@" ;;
    *.rs) changed=1 ;;
    *) exec "$@" ;;
    esac
    case $path in
    {owners}*) exec "$@" ;;
    esac
done <"$0" || exit
[ -n "$changed" ] || exec "$@"
left=$#
while [ "$left" -gt 0 ]; do
    word=$1 left=$((left - 1))
    shift
    if [ "$word" = -p ]; then
        name=$1 left=$((left - 1))
        shift
        case $stale in *" $name "*) set -- "$@" -p "$name" ;; esac
    else
        set -- "$@" "$word"
    fi
done
exec "$@"
"#
        )
    }

    /// The member whose folder contains a path, unless it is in another package's folder below that.
    fn owner(&self, path: &str) -> Option<&Member> {
        let inside = self.members.iter().filter(|m| is_below(path, &m.dir));
        let owner = inside.max_by_key(|member| member.dir.len())?;
        let mut others = self.others.iter().filter(|dir| is_below(path, dir));
        (!others.any(|dir| dir.len() > owner.dir.len())).then_some(owner)
    }
}

fn is_below(path: &str, dir: &RelPath) -> bool {
    let below = path.strip_prefix(dir.as_str());
    !path.starts_with("../") && (dir.is_root() || below.is_some_and(|rest| rest.starts_with('/')))
}

/// `cargo clean` of all packages.
fn whole(argv: &[String]) -> Vec<String> {
    selected(argv, |_| false)
}

/// `cargo clean` of some packages.
fn only(argv: &[String], names: &BTreeSet<&str>) -> Vec<String> {
    selected(argv, |name| names.contains(name))
}

/// An argv with only those `-p NAME` for which `keep` returns `true`.
fn selected(argv: &[String], keep: impl Fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    let mut args = argv.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-p" => {
                if let Some(name) = args.next().filter(|name| keep(name)) {
                    kept.extend([arg.clone(), name.clone()]);
                }
            }
            _ => kept.push(arg.clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Packages {
        let dir = |path| RelPath::new(path).unwrap();
        let member = |name: &str, path, runs_at_build| Member {
            name: name.to_owned(),
            dir: dir(path),
            runs_at_build,
        };
        Packages {
            members: vec![
                member("root", "", false),
                member("a", "a", false),
                member("b", "b", true),
            ],
            others: vec![dir("a/vendor/x")],
            vendored: vec![dir("third/y")],
        }
    }

    /// What [`Packages::narrow`] makes of a command after changes of these paths.
    #[cfg(unix)]
    fn narrowed(paths: &str, command: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("changed");
        std::fs::write(&file, paths).unwrap();
        // Says what it would run.
        let text = packages().narrow(RelPath::new("Cargo.lock").ok().as_ref());
        let text = text.replace("exec \"$@\"", "{ echo \"$@\"; exit; }");
        let output = std::process::Command::new("sh")
            .args(["-c", &text])
            .arg(&file)
            .args(command.split(' '))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    #[cfg(unix)]
    fn in_a_container_the_same_is_removed() {
        let clean = "cargo clean --quiet -p root -p a -p b --profile=ci";
        for (paths, left) in [
            ("a/src/lib.rs\n", "-p a -p b"),
            ("a/src/lib.rs\nCargo.lock\n", "-p a -p b"),
            ("src/lib.rs\n", "-p root -p b"),
            ("ab/src/lib.rs\n", "-p root -p b"),
            ("b/x y.rs\n", "-p b"),
            ("a/vendor/x/src/lib.rs\n", "-p root -p a -p b"),
            ("a/src/lib.rs\na/data\n", "-p root -p a -p b"),
            ("../clippy.toml\n", "-p root -p a -p b"),
            ("../x.rs\n", "-p root -p a -p b"),
            ("Cargo.lock\n", "-p root -p a -p b"),
            ("", "-p root -p a -p b"),
        ] {
            let expected = format!("cargo clean --quiet {left} --profile=ci");
            assert_eq!(narrowed(paths, clean), expected, "{paths}");
        }
        assert_eq!(narrowed("", "cp x y"), "cp x y");
    }

    fn removed(changes: &[(&str, bool)]) -> String {
        let clean = "cargo clean --quiet -p root -p a -p b --profile=ci";
        let before = [clean.split(' ').map(str::to_owned).collect::<Vec<_>>()];
        let change = |(path, content_only): &(&str, bool)| Change {
            path: (*path).to_owned(),
            content_only: *content_only,
        };
        let changes = Changes::Known(changes.iter().map(change).collect());
        let done = packages().before(&before, &changes);
        let done = done[0].join(" ");
        done.replace("cargo clean --quiet", "")
            .replace(" --profile=ci", "")
            .trim()
            .to_owned()
    }

    #[test]
    fn a_source_file_concerns_its_package_and_those_that_run_code() {
        assert_eq!(removed(&[("a/src/lib.rs", true)]), "-p a -p b");
        assert_eq!(removed(&[("a/src/x/mod.rs", false)]), "-p a -p b");
        assert_eq!(removed(&[("src/lib.rs", true)]), "-p root -p b");
        assert_eq!(removed(&[("ab/src/lib.rs", true)]), "-p root -p b");
    }

    #[test]
    fn anything_else_concerns_all() {
        let all = "-p root -p a -p b";
        assert_eq!(removed(&[("a/data", true)]), all);
        assert_eq!(removed(&[("a/vendor/x/src/lib.rs", true)]), all);
        assert_eq!(removed(&[("../up2/up1/clippy.toml", true)]), all);
        assert_eq!(removed(&[]), all);
        assert_eq!(removed(&[("third/y/src/lib.rs", true)]), "");
    }

    #[test]
    fn without_products_nothing_is_removed() {
        let before = [vec!["cargo".to_owned(), "clean".to_owned()]];
        let done = packages().before(&before, &Changes::NoProducts);
        assert_eq!(done, [[""; 0]; 0]);
    }
}
