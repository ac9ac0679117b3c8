//! A check that runs a Python tool.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::{CacheMode, Check, Command, Inputs, Parse, Work};
use crate::scope::id_at;

use super::environment::Ready;
use super::project::Site;

/// A check of `site` that runs a Python tool.
pub(crate) fn tool_check(
    site: &Site,
    id: &str,
    ecosystem: &'static str,
    ready: &Ready,
    argv: Vec<String>,
    parse: Arc<dyn Parse>,
) -> Check {
    let command = Command {
        set_env: set_env(),
        ..Command::new(argv, site.dir.clone(), vec![ready.tool.clone()], parse)
    };
    let mut check = check(site, id, ecosystem, Work::Command(Box::new(command)));
    check.layers.clone_from(&ready.layers);
    check.not_cached.clone_from(&ready.not_cached);
    check
}

/// A lint check of `site`.
pub(crate) fn check(site: &Site, id: &str, ecosystem: &'static str, work: Work) -> Check {
    Check {
        id: id_at(id, &site.dir),
        tags: vec!["lint".to_owned()],
        ecosystem,
        work,
        inputs: Inputs::default(),
        layers: vec!["base".to_owned()],
        cache: CacheMode::default(),
        not_cached: None,
        max_age: None,
        timeout: None,
    }
}

/// Nothing of the user's: no bytecode written into a shared environment, no packages of the user's site folder, and
/// messages wrapped at one width.
fn set_env() -> BTreeMap<String, String> {
    [
        ("COLUMNS", "80"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
