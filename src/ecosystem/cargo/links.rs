//! Follows the project's links by name in the snapshot, as the kernel would on disk.

use crate::path::RelPath;
use crate::snapshot::{FileId, Kind, Snapshot};

/// As in the kernel, a longer chain of links is a loop.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// The links on the way.
    pub(crate) links: Vec<FileId>,
    /// The file, if it is in the project.
    pub(crate) file: Option<FileId>,
    /// The target of a link that leads out of the project, if any.
    pub(crate) outside: Option<String>,
    /// Whether a link was unreadable.
    pub(crate) unread: bool,
}

/// Follows the links in all components of `path`.
pub(crate) fn follow(snapshot: &Snapshot, path: &RelPath) -> Followed {
    let mut path = path.clone();
    let mut followed = Followed::default();
    for _ in 0..MAX_LINKS {
        if let Some(id) = snapshot.find(&path)
            && snapshot.entry(id).kind != Kind::Symlink
        {
            followed.file = Some(id);
            break;
        }
        let link = std::iter::once(path.clone())
            .chain(path.ancestors())
            .find_map(|prefix| {
                let id = snapshot.find(&prefix)?;
                let rest = path.strip_prefix(&prefix)?.to_owned();
                (snapshot.entry(id).kind == Kind::Symlink).then_some((id, rest))
            });
        let Some((link, rest)) = link else { break };
        followed.links.push(link);
        let text = snapshot.read(link).ok();
        let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else {
            followed.unread = true;
            break;
        };
        let folder = snapshot.entry(link).path.parent().unwrap_or_default();
        match folder.join(&text).and_then(|to| to.join(&rest)) {
            Ok(next) => path = next,
            Err(_) => {
                followed.outside = Some(text);
                break;
            }
        }
    }
    followed
}
