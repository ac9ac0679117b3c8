//! `lock [--update]`: pins the images of containers in `dagcache.lock`.
//!
//! Without `--update`, only missing images are resolved. Images that are no longer needed are removed; entries of
//! needed images for other platforms stay, because they were written there.

use std::collections::BTreeSet;

use crate::cli::args::LockArgs;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::lock::{Lock, NAME};
use crate::plan::{Image, Work};
use crate::report::shell::Tone;
use crate::session::project::Needed;

/// Digits of a digest that distinguish versions of an image.
const SHORT: usize = 12;

/// Writes the lock and prints the changes.
pub(crate) fn lock(context: &Context<'_>, args: &LockArgs) -> Result<Exit, Failure> {
    let project = context.open()?;
    let needed = project.images(args.update)?;
    project.remember();
    // An error in planning hides which other images would be needed.
    let mut said = BTreeSet::new();
    for check in &needed.plan.checks {
        if let Work::Missing(why) = &check.work
            && said.insert(why)
        {
            context.shell.warning(why);
        }
    }
    let lock = next(&needed);
    for (verb, what) in changes(&needed.locked, &lock) {
        context.shell.status(Tone::Good, verb, &what);
    }
    let count = match lock.images().len() {
        1 => "1 image".to_owned(),
        count => format!("{count} images"),
    };
    if lock == needed.locked {
        let message = match lock.images() {
            [] => "no check needs an image".to_owned(),
            _ => format!("{NAME} ({count})"),
        };
        context.shell.status(Tone::Good, "Fresh", &message);
    } else {
        lock.write(&project.root).map_err(anyhow::Error::from)?;
        let message = format!("{count} in {NAME}");
        context.shell.status(Tone::Good, "Locked", &message);
    }
    Ok(Exit::Passed)
}

/// The images in use, plus their entries for other platforms.
fn next(needed: &Needed) -> Lock {
    let names: BTreeSet<&str> = needed.used.iter().map(|image| &*image.name).collect();
    let elsewhere =
        needed.locked.images().iter().filter(|image| {
            image.platform != needed.platform && names.contains(image.name.as_str())
        });
    // The first entry for a name and platform wins.
    Lock::new(needed.used.iter().chain(elsewhere).cloned().collect())
}

/// Changes to images, as verb and object.
fn changes(before: &Lock, after: &Lock) -> Vec<(&'static str, String)> {
    let short = |image: &Image| {
        let hex = image.digest.trim_start_matches("sha256:");
        hex.get(..SHORT).unwrap_or(hex).to_owned()
    };
    let mut changes = Vec::new();
    for image in after.images() {
        let name = &image.name;
        match before.find(name, &image.platform) {
            None => changes.push(("Adding", format!("{name} at {}", short(image)))),
            Some(old) if old.digest != image.digest => {
                let (old, new) = (short(old), short(image));
                changes.push(("Updating", format!("{name} from {old} to {new}")));
            }
            Some(old) if old != image => {
                let what = format!("programs of {name}");
                changes.push(("Updating", what));
            }
            Some(_) => {}
        }
    }
    for image in before.images() {
        if after.find(&image.name, &image.platform).is_none() {
            let what = format!("{} ({})", image.name, image.platform);
            changes.push(("Removing", what));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn image(name: &str, digest: &str, platform: &str) -> Image {
        Image {
            name: name.to_owned(),
            digest: format!("sha256:{}", digest.repeat(64)),
            platform: platform.to_owned(),
            holds: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn images_come_change_and_go_and_other_platforms_stay() {
        let needed = Needed {
            platform: "linux/amd64".to_owned(),
            used: vec![
                image("new", "1", "linux/amd64"),
                image("old", "2", "linux/amd64"),
                image("same", "3", "linux/amd64"),
            ],
            plan: Plan::default(),
            locked: Lock::new(vec![
                image("gone", "4", "linux/amd64"),
                image("gone", "4", "linux/arm64"),
                image("old", "5", "linux/amd64"),
                image("same", "3", "linux/amd64"),
                image("same", "6", "linux/arm64"),
            ]),
        };
        let lock = next(&needed);
        let lines = changes(&needed.locked, &lock).into_iter();
        let lines: Vec<String> = lines.map(|(verb, what)| format!("{verb} {what}")).collect();
        assert_eq!(
            lines,
            [
                "Adding new at 111111111111",
                "Updating old from 555555555555 to 222222222222",
                "Removing gone (linux/amd64)",
                "Removing gone (linux/arm64)",
            ]
        );
        assert!(lock.find("same", "linux/arm64").is_some());
    }
}
