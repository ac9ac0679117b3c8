//! Checks that run a Python tool: found on the host, in the image or built from the lock; an error if it is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalogue;
use crate::plan::{Check, Command, Parse, Plan, Work};
use crate::scope::{PlanError, Scope};

use super::project::Site;
use super::ready::{Ready, Resolved};
use super::{container, environment};

/// The tool `name`, ready to run for a site that declares it; its layer joins the plan. If it is missing, or what
/// declares it cannot be read, its checks join the plan with the reason.
pub(crate) fn ready(
    scope: &Scope<'_>,
    plan: &mut Plan,
    site: &Site,
    name: &str,
) -> Result<Option<Ready>, PlanError> {
    let resolved = match (&site.unread, scope.images) {
        (Some(why), _) => Ok(Resolved::Missing(why.clone())),
        (None, Some(images)) => container::resolve(scope, images, plan, site, name),
        (None, None) => environment::resolve(scope, plan, site, name),
    };
    match resolved.unwrap_or_else(|error| Resolved::Missing(error.message)) {
        Resolved::Ready(ready) => Ok(Some(*ready)),
        Resolved::Missing(why) => {
            let missing = |id| catalogue::planned(id, &site.dir, Work::Missing(why.clone()));
            plan.checks.extend(catalogue::checks_of(name).map(missing));
            Ok(None)
        }
    }
}

impl Ready {
    /// The tool with these arguments, in the folder of the site.
    #[must_use]
    pub(crate) fn command(
        &self,
        site: &Site,
        argv: &[&str],
        parse: impl Parse + 'static,
    ) -> Command {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let tools = vec![self.tool.clone()];
        Command {
            set_env: set_env(),
            ..Command::new(argv, site.dir.clone(), tools, Arc::new(parse))
        }
    }

    /// The built-in check `id` of the site, which runs `command`.
    #[must_use]
    pub(crate) fn check(&self, id: &str, site: &Site, command: Command) -> Check {
        catalogue::planned(id, &site.dir, command.into())
            .on(self.layers.clone())
            .not_cached(self.not_cached.clone())
    }
}

/// Isolates the tool from the user: writes no bytecode into a shared environment, ignores the user's site folder, and
/// wraps messages at a fixed width.
fn set_env() -> BTreeMap<String, String> {
    [
        ("COLUMNS", "80"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONNOUSERSITE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
