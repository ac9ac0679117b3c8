//! Action keys: what a check's result depends on, named, encoded and hashed.
//!
//! | input | where it enters |
//! |---|---|
//! | format of keys | [`KEY_VERSION`], first in every encoding |
//! | engine class, platform | `engine` |
//! | layers (base, tools, deps) | `layer NAME` = [`layer_key`]; its parts ride along unhashed, to word reasons |
//! | argv and earlier commands, in order | `command` |
//! | working directory | `dir` |
//! | declared variables: value, empty, unset | `env NAME` |
//! | secret variables: HMAC of the value ([`secret`]), unset | `env NAME` |
//! | fixed variables | `set-env NAME` |
//! | programs on PATH, also absent ones | `tool NAME` |
//! | output parser, outputs, network, products, incremental | `option NAME` |
//! | shared files: path, kind, content | `inputs` (digest of their [`tree`]) |
//! | files outside the snapshot the tool finds | `outside` |
//! | checked files of a check with parts | `files` (digest of their tree); each part's key holds its own file only |
//!
//! Not in: mtimes, owners, umask, absolute paths, undeclared variables, the order of configuration keys.
//!
//! A check without parts has one key. A check with parts has a *common* key (everything but `files`), from which
//! each part's key follows with the path, kind and digest of its file, and a whole key (everything).
//!
//! Where a run can tell what it read, its result is stored under a key that holds the content of only those files
//! ([`reads`]).
//!
//! Pure: stays free of IO and of reading the environment; the caller brings values.

pub(crate) mod diff;
pub(crate) mod encode;
pub(crate) mod fingerprint;
pub(crate) mod reads;
pub(crate) mod secret;
pub(crate) mod tree;

pub(crate) use diff::{Miss, MissKind};
pub(crate) use fingerprint::{CheckKey, Fingerprint, check_key, layer_key, part_key};

/// Version of everything that decides a key. Raised whenever an encoding, a rule or a built-in environment changes:
/// every entry of every user then misses once.
pub(crate) const KEY_VERSION: u32 = 2;
