//! The request to a launcher and its wire format.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::fs::sealed::{Reader, Writer};

/// Restrictions for a command. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Whether the namespaces require a user namespace.
    pub(crate) user: bool,
    /// Whether the only network is a private loopback interface.
    pub(crate) offline: bool,
    /// The file system it sees; `None` for the host's.
    pub(crate) root: Option<Root>,
    /// What it may open; everything else is refused. `None` allows everything.
    pub(crate) files: Option<Vec<(Access, PathBuf)>>,
}

/// A private file system: the directories of the host's root, modified in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Root {
    /// Private, empty directories.
    pub(crate) covers: Vec<PathBuf>,
    /// (path, target) of links in covered directories.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// (host path, visible path): inside a covered directory, or in a directory of `/` that the host does not have.
    pub(crate) binds: Vec<(PathBuf, PathBuf)>,
}

/// What may be done with a path and everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
    /// Read and write existing files: for devices.
    Device,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::process) struct Spec {
    pub(crate) bounds: Bounds,
    pub(crate) dir: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Whether a descriptor is attached that stays open in the command.
    pub(crate) hold: bool,
    /// Whether a further descriptor is attached that becomes standard input.
    pub(crate) stdin: bool,
}

impl Spec {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let bounds = &self.bounds;
        for flag in [bounds.user, bounds.offline, self.hold, self.stdin] {
            out.u8(u8::from(flag));
        }
        out.u8(u8::from(bounds.root.is_some()));
        if let Some(root) = &bounds.root {
            list(&mut out, &root.covers, |out, path| text(out, path));
            list(&mut out, &root.links, pair);
            list(&mut out, &root.binds, pair);
        }
        out.u8(u8::from(bounds.files.is_some()));
        if let Some(files) = &bounds.files {
            list(&mut out, files, |out, (access, path)| {
                out.u8(*access as u8);
                text(out, path);
            });
        }
        text(&mut out, &self.dir);
        text(&mut out, &self.program);
        list(&mut out, &self.args, |out, arg| text(out, arg));
        list(&mut out, &self.env, pair);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let [user, offline, hold, stdin] = reader.array()?.map(|flag| flag != 0);
        let root = match reader.u8()? {
            0 => None,
            _ => Some(Root {
                covers: items(&mut reader, |r| read(r).map(PathBuf::from))?,
                links: items(&mut reader, |r| Some((read(r)?.into(), read(r)?.into())))?,
                binds: items(&mut reader, |r| Some((read(r)?.into(), read(r)?.into())))?,
            }),
        };
        let files = match reader.u8()? {
            0 => None,
            _ => Some(items(&mut reader, |r| {
                Some((access(r.u8()?)?, read(r)?.into()))
            })?),
        };
        let spec = Self {
            bounds: Bounds {
                user,
                offline,
                root,
                files,
            },
            dir: read(&mut reader)?.into(),
            program: read(&mut reader)?.into(),
            args: items(&mut reader, read)?,
            env: items(&mut reader, |r| Some((read(r)?, read(r)?)))?,
            hold,
            stdin,
        };
        reader.is_empty().then_some(spec)
    }
}

fn text(out: &mut Writer, value: impl AsRef<OsStr>) {
    out.bytes(value.as_ref().as_bytes());
}

fn pair<A: AsRef<OsStr>, B: AsRef<OsStr>>(out: &mut Writer, (one, two): &(A, B)) {
    text(out, one);
    text(out, two);
}

fn list<T>(out: &mut Writer, all: &[T], write: impl Fn(&mut Writer, &T)) {
    out.u32(u32::try_from(all.len()).unwrap_or(u32::MAX));
    for one in all {
        write(out, one);
    }
}

fn read(reader: &mut Reader<'_>) -> Option<OsString> {
    reader
        .bytes()
        .map(|bytes| OsString::from_vec(bytes.to_vec()))
}

fn items<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = reader.u32()?;
    (0..count).map(|_| read(reader)).collect()
}

const fn access(code: u8) -> Option<Access> {
    match code {
        0 => Some(Access::Read),
        1 => Some(Access::Write),
        2 => Some(Access::Device),
        _ => None,
    }
}

/// Moves an absolute path below another root.
pub(super) fn below(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_given() {
        let spec = Spec {
            bounds: Bounds {
                user: true,
                offline: true,
                root: Some(Root {
                    covers: vec!["/a".into()],
                    links: vec![("/a/l".into(), "b".into())],
                    binds: vec![("/h".into(), "/a/h".into())],
                }),
                files: Some(vec![(Access::Device, "/dev/null".into())]),
            },
            dir: "/d".into(),
            program: "/p".into(),
            args: vec![OsString::from_vec(vec![0xff]), "'\n".into()],
            env: vec![("A".into(), OsString::new())],
            hold: true,
            stdin: false,
        };
        let bytes = spec.encode();
        assert_eq!(Spec::decode(&bytes), Some(spec));
        assert_eq!(Spec::decode(&bytes[..bytes.len() - 1]), None);
        let plain = Spec::default();
        assert_eq!(Spec::decode(&plain.encode()), Some(plain));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Spec::decode(&bytes);
        }
    }
}
