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
    /// Whether its process ids, System V objects and host name are its own.
    pub(crate) processes: bool,
    /// The file system it sees; `None` for the host's.
    pub(crate) root: Option<Root>,
    /// What it may open; everything else is refused. `None` allows everything.
    pub(crate) files: Option<Vec<(Access, PathBuf)>>,
    /// Whether system calls are refused that lead around the rest.
    pub(crate) calls: bool,
    /// The directories, as the command sees them, of which is recorded what it uses. `None` does not trace it.
    pub(crate) trace: Option<Vec<PathBuf>>,
    pub(crate) limits: Limits,
}

/// A private file system: nothing but this, made in this order. All of it is read-only except where it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Root {
    /// Directories of the host that are visible as they are.
    pub(crate) shown: Vec<PathBuf>,
    /// Private, empty directories; writable.
    pub(crate) scratch: Vec<PathBuf>,
    /// Private, empty directories that hide parts of shown ones.
    pub(crate) covers: Vec<PathBuf>,
    /// (path, target) of links outside shown directories.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// (host path, visible path) outside shown directories.
    pub(crate) binds: Vec<(PathBuf, PathBuf)>,
    /// The same; writable.
    pub(crate) writable: Vec<(PathBuf, PathBuf)>,
    /// (path, content) of files that are the same on every machine, where the host has a file.
    pub(crate) fixed: Vec<(PathBuf, String)>,
}

/// What a command may use. The default has no limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Processes at a time.
    pub(crate) processes: Option<u64>,
    /// Bytes of memory, if the system can bound it.
    pub(crate) memory: Option<u64>,
    /// Bytes of a file.
    pub(crate) file_size: Option<u64>,
    /// Open files of a process.
    pub(crate) open_files: Option<u64>,
    /// Bytes written below a host directory.
    pub(crate) disk: Option<(u64, PathBuf)>,
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
    /// Whether a locked file is attached that stays open until nothing of the command is left.
    pub(crate) hold: bool,
    /// Whether a further descriptor is attached that becomes standard input.
    pub(crate) stdin: bool,
    /// Whether that is a terminal for the command alone.
    pub(crate) terminal: bool,
    /// Whether a last descriptor is attached, of a file that takes what tracing saw.
    pub(crate) answer: bool,
}

impl Spec {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let bounds = &self.bounds;
        let flags = [
            bounds.user,
            bounds.offline,
            bounds.processes,
            bounds.calls,
            self.hold,
            self.stdin,
            self.terminal,
            self.answer,
            bounds.root.is_some(),
            bounds.files.is_some(),
            bounds.trace.is_some(),
        ];
        for flag in flags {
            out.u8(u8::from(flag));
        }
        if let Some(root) = &bounds.root {
            for all in [&root.shown, &root.scratch, &root.covers] {
                list(&mut out, all, |out, path| text(out, path));
            }
            for all in [&root.links, &root.binds, &root.writable] {
                list(&mut out, all, pair);
            }
            list(&mut out, &root.fixed, pair);
        }
        if let Some(files) = &bounds.files {
            list(&mut out, files, |out, (access, path)| {
                out.u8(*access as u8);
                text(out, path);
            });
        }
        if let Some(watched) = &bounds.trace {
            list(&mut out, watched, |out, path| text(out, path));
        }
        bounds.limits.encode(&mut out);
        text(&mut out, &self.dir);
        text(&mut out, &self.program);
        list(&mut out, &self.args, |out, arg| text(out, arg));
        list(&mut out, &self.env, pair);
        out.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let flags: [u8; 11] = *reader.array()?;
        let [
            user,
            offline,
            processes,
            calls,
            hold,
            stdin,
            terminal,
            answer,
            root,
            files,
            trace,
        ] = flags.map(|flag| flag != 0);
        let root = match root {
            false => None,
            true => Some(Root::decode(&mut reader)?),
        };
        let files = match files {
            false => None,
            true => Some(items(&mut reader, |r| {
                Some((access(r.u8()?)?, read(r)?.into()))
            })?),
        };
        let trace = match trace {
            false => None,
            true => Some(items(&mut reader, |r| read(r).map(PathBuf::from))?),
        };
        let spec = Self {
            bounds: Bounds {
                user,
                offline,
                processes,
                root,
                files,
                calls,
                trace,
                limits: Limits::decode(&mut reader)?,
            },
            dir: read(&mut reader)?.into(),
            program: read(&mut reader)?.into(),
            args: items(&mut reader, read)?,
            env: items(&mut reader, |r| Some((read(r)?, read(r)?)))?,
            hold,
            stdin,
            terminal,
            answer,
        };
        reader.is_empty().then_some(spec)
    }
}

impl Root {
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let paths = |r: &mut Reader<'_>| items(r, |r| read(r).map(PathBuf::from));
        let pairs = |r: &mut Reader<'_>| items(r, |r| Some((read(r)?.into(), read(r)?.into())));
        Some(Self {
            shown: paths(reader)?,
            scratch: paths(reader)?,
            covers: paths(reader)?,
            links: pairs(reader)?,
            binds: pairs(reader)?,
            writable: pairs(reader)?,
            fixed: items(reader, |r| {
                Some((read(r)?.into(), read(r)?.into_string().ok()?))
            })?,
        })
    }
}

impl Limits {
    /// No limit is written as the largest number.
    const NONE: u64 = u64::MAX;

    fn encode(&self, out: &mut Writer) {
        let disk = self.disk.as_ref();
        let all = [
            self.processes,
            self.memory,
            self.file_size,
            self.open_files,
            disk.map(|(limit, _)| *limit),
        ];
        for limit in all {
            out.u64(limit.unwrap_or(Self::NONE));
        }
        text(out, disk.map_or(Path::new(""), |(_, place)| place));
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut next = || {
            let limit = reader.u64()?;
            Some((limit != Self::NONE).then_some(limit))
        };
        let [processes, memory, file_size, open_files, disk] =
            [next()?, next()?, next()?, next()?, next()?];
        let place = PathBuf::from(read(reader)?);
        Some(Self {
            processes,
            memory,
            file_size,
            open_files,
            disk: disk.map(|limit| (limit, place)),
        })
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
                processes: true,
                root: Some(Root {
                    shown: vec!["/usr".into()],
                    scratch: vec!["/tmp".into()],
                    covers: vec!["/a".into()],
                    links: vec![("/a/l".into(), "b".into())],
                    binds: vec![("/h".into(), "/a/h".into())],
                    writable: vec![("/w".into(), "/a/w".into())],
                    fixed: vec![("/etc/hostname".into(), "name\n".to_owned())],
                }),
                files: Some(vec![(Access::Device, "/dev/null".into())]),
                calls: true,
                trace: Some(vec!["/room".into()]),
                limits: Limits {
                    processes: Some(3),
                    disk: Some((4, "/room".into())),
                    ..Limits::default()
                },
            },
            dir: "/d".into(),
            program: "/p".into(),
            args: vec![OsString::from_vec(vec![0xff]), "'\n".into()],
            env: vec![("A".into(), OsString::new())],
            hold: true,
            stdin: false,
            terminal: true,
            answer: true,
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
