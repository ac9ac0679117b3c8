//! The programs a check names: found on PATH, or a reason why it cannot run.
//!
//! Stays free of running anything.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::config::Place;
use crate::digest::{Digest, Hasher};
use crate::ecosystem::Scope;
use crate::plan::check::Tool;
use crate::snapshot::{Entry, FileId};
use crate::tool::Program;

/// Looks a name up on the user's PATH.
pub(super) type Find<'a> = &'a dyn Fn(&str) -> Option<Program>;

/// Files that stand in for other programs; which one they start depends on more than the file.
const SHIMS: &[&str] = &["rustup", "mise", "volta-shim", "proto-shim", "asdf"];
/// A longer first line than Linux reads is no interpreter line.
const SHEBANG_LIMIT: usize = 256;

/// Programs that were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    by_name: BTreeMap<String, Tool>,
    /// Why results that depend on them cannot be stored, if so.
    pub(super) not_cached: Option<String>,
}

impl Found {
    /// Sorted by name.
    pub(super) fn into_tools(self) -> Vec<Tool> {
        self.by_name.into_values().collect()
    }

    /// Finds the program called `name`. `user` says who needs it: `` `tools` of check `x` ``.
    ///
    /// # Errors
    /// The message for a program that is not there.
    pub(super) fn add(
        &mut self,
        scope: &Scope<'_>,
        find: Find<'_>,
        name: &str,
        user: &str,
        place: &Place,
    ) -> Result<(), String> {
        let Some(program) = find(name) else {
            return Err(missing(name, user, place));
        };
        if self.not_cached.is_none() {
            self.not_cached = hidden_identity(scope, &program);
        }
        self.insert(name, program.path, program.digest);
        Ok(())
    }

    /// The interpreter that the first line of a script names, as a tool of the script's check.
    ///
    /// # Errors
    /// The message for an interpreter that is not there.
    pub(super) fn add_interpreter(
        &mut self,
        scope: &Scope<'_>,
        find: Find<'_>,
        script: FileId,
        place: &Place,
    ) -> Result<(), String> {
        let entry = scope.snapshot.entry(script);
        let Some(interpreter) = interpreter(scope, script, entry) else {
            return Ok(());
        };
        let user = format!("the first line of {}", entry.path);
        let path = Path::new(&interpreter);
        if !path.is_absolute() {
            return self.add(scope, find, &interpreter, &user, place);
        }
        let digest = scope
            .tools
            .digest(path)
            .map_err(|_| missing(&interpreter, &user, place))?;
        let name = interpreter.rsplit('/').next().unwrap_or(&interpreter);
        self.insert(name, path.to_path_buf(), digest);
        Ok(())
    }

    /// The first of a name is the one on PATH; another of the same name only adds to its identity.
    fn insert(&mut self, name: &str, path: std::path::PathBuf, identity: Digest) {
        match self.by_name.get_mut(name) {
            Some(Tool::Host {
                identity: known, ..
            }) if *known != identity => {
                let mut hasher = Hasher::new();
                hasher.update(known.as_bytes());
                hasher.update(identity.as_bytes());
                *known = hasher.finish();
            }
            Some(_) => {}
            None => {
                let tool = Tool::Host {
                    name: name.to_owned(),
                    path,
                    identity,
                    version: None,
                };
                self.by_name.insert(name.to_owned(), tool);
            }
        }
    }
}

fn missing(name: &str, user: &str, place: &Place) -> String {
    let lack = if name.starts_with('/') {
        "not there"
    } else {
        "not on PATH"
    };
    format!("`{name}` is {lack}, {user} needs it ({place}): install it, or use `--engine dagger`")
}

/// Why the digest of a program does not tell what it does, if so.
fn hidden_identity(scope: &Scope<'_>, program: &Program) -> Option<String> {
    let name = &program.name;
    let real = program.real.file_name()?.to_str()?;
    if real != name && SHIMS.contains(&real) {
        return Some(format!(
            "`{name}` is a shim of {real}, which program it starts cannot be told"
        ));
    }
    let script = scope.facts.derive("custom-script/1", program.digest, || {
        is_script(&program.real)
    });
    match script {
        Ok(false) => None,
        Ok(true) => Some(format!("`{name}` is a script, what it uses cannot be told")),
        Err(error) => Some(format!("`{name}` cannot be read: {error}")),
    }
}

fn is_script(path: &Path) -> std::io::Result<bool> {
    let mut head = [0; 2];
    let mut file = std::fs::File::open(path)?;
    Ok(file.read_exact(&mut head).is_ok() && head == *b"#!")
}

fn interpreter(scope: &Scope<'_>, id: FileId, entry: &Entry) -> Option<String> {
    scope
        .facts
        .derive("custom-interpreter/1", entry.digest, || {
            let bytes = scope.snapshot.read(id)?;
            let head = bytes.get(..SHEBANG_LIMIT).unwrap_or(&bytes);
            Ok::<_, std::io::Error>(shebang(&String::from_utf8_lossy(head)))
        })
        .ok()?
}

/// The program in `#!/bin/sh -e` (an absolute path) or `#!/usr/bin/env -S bash -e` (a name).
fn shebang(text: &str) -> Option<String> {
    let line = text.strip_prefix("#!")?.lines().next()?;
    let mut words = line.split_whitespace();
    let program = words.next()?;
    if !program.starts_with('/') {
        return None;
    }
    if !program.ends_with("/env") {
        return Some(program.to_owned());
    }
    words
        .find(|word| !word.starts_with('-') && !word.contains('='))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ecosystem::custom::testing::World;

    #[test]
    fn the_first_line_names_the_interpreter() {
        for (text, expect) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! /bin/sh -e\r\necho", Some("/bin/sh")),
            ("#!/usr/bin/env bash", Some("bash")),
            ("#!/usr/bin/env -S A=1 python3 -u\n", Some("python3")),
            ("#!/usr/bin/env", None),
            ("#!sh", None),
            ("echo", None),
            ("", None),
        ] {
            assert_eq!(shebang(text).as_deref(), expect, "{text}");
        }
    }

    fn identity(found: &Found) -> Option<Digest> {
        match found.by_name.values().next() {
            Some(Tool::Host { identity, .. }) => Some(*identity),
            _ => None,
        }
    }

    #[test]
    fn two_programs_of_one_name_are_both_in_the_identity() {
        let digests = [Digest::of(b"a"), Digest::of(b"b")];
        let found = |digests: &[Digest]| {
            let mut found = Found::default();
            for digest in digests {
                found.insert("sh", "/bin/sh".into(), *digest);
            }
            identity(&found)
        };
        assert_eq!(found(&[digests[0], digests[0]]), Some(digests[0]));
        assert_ne!(found(&digests), found(&digests[..1]));
    }

    #[test]
    fn what_is_behind_scripts_and_shims_is_not_stored() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let world = World::new(&[], "");
        let reason = |name: &str, file: &str, content: &[u8]| {
            let real = folder.path().join(file);
            std::fs::write(&real, content).expect("written");
            let program = Program {
                name: name.to_owned(),
                path: real.clone(),
                real,
                digest: Digest::of(content),
            };
            hidden_identity(&world.scope(), &program)
        };
        assert_eq!(reason("grep", "grep", b"\x7fELF"), None);
        assert_eq!(reason("sh", "busybox", b"\x7fELF2"), None);
        assert!(reason("cargo", "rustup", b"\x7fELF3").is_some_and(|r| r.contains("shim")));
        assert!(reason("pyenv", "pyenv", b"#!/bin/sh").is_some_and(|r| r.contains("script")));
    }

    proptest! {
        #[test]
        fn arbitrary_first_lines_never_panic(bytes in any::<Vec<u8>>(), tail in ".*") {
            let _ = shebang(&String::from_utf8_lossy(&bytes));
            let _ = shebang(&format!("#!/usr/bin/env {tail}"));
        }
    }
}
