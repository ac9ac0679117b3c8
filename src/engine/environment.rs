//! The environment of a check: fixed variables and those it declared. Nothing else of the user's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::env::{Env, HOME, PATH};
use crate::plan::Command;
use crate::room::Layout;
use crate::rule::Rule;

/// The start of 1980, the earliest time a zip archive can hold. Fixed, so that builds do not depend on the date.
const SOURCE_DATE_EPOCH: &str = "315532800";

const TMPDIR: &str = "TMPDIR";

/// Variables that the room sets even if declared: a user's value would be in the key, but what it leads to would not.
const OURS: [&str; 3] = [HOME, PATH, TMPDIR];

/// All variables of a check whose room is visible at `room`, sorted by name. Programs are looked for in the room, then
/// in `folders`.
///
/// Does not force colours: `CLICOLOR_FORCE` would also affect the programs a script calls and thereby verdicts (`ls`
/// and `grep` in pipes). A check that wants colours passes an argument.
#[must_use]
pub(crate) fn environment(
    room: &Layout,
    command: &Command,
    user: &Env,
    folders: &[PathBuf],
) -> Vec<(OsString, OsString)> {
    let home = room.home();
    let mut vars: BTreeMap<OsString, OsString> = BTreeMap::new();
    if !Rule::EnvHidden.holds() {
        vars.extend(
            user.all()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    let mut set = |name: &str, value: OsString| vars.insert(name.into(), value);
    set("LANG", "C.UTF-8".into());
    set("TZ", "UTC".into());
    set("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.into());
    // Otherwise every import would change a layer that other checks use.
    set("PYTHONDONTWRITEBYTECODE", "1".into());
    set("GIT_CEILING_DIRECTORIES", room.above(1).into());
    set("GIT_CONFIG_NOSYSTEM", "1".into());
    set(HOME, home.clone().into());
    set(TMPDIR, room.tmp().into());
    let mut path: OsString = room.bin().into();
    for folder in folders {
        path.push(":");
        path.push(folder);
    }
    set(PATH, path);
    set("XDG_CONFIG_HOME", home.join(".config").into());
    set("XDG_CACHE_HOME", home.join(".cache").into());
    set("XDG_DATA_HOME", home.join(".local/share").into());
    set("XDG_STATE_HOME", home.join(".local/state").into());
    let secrets = command.secrets.iter().map(|secret| &secret.name);
    let declared = command.env.iter().chain(secrets).filter(|name| {
        let ours = OURS.contains(&name.as_str());
        !ours
    });
    for name in declared {
        if let Some(value) = user.var_os(name) {
            vars.insert(name.into(), value.clone());
        }
    }
    for (name, value) in &command.set_env {
        vars.insert(name.into(), value.into());
    }
    for (name, path) in &command.grants {
        vars.insert(name.into(), path.into());
    }
    vars.into_iter().collect()
}
