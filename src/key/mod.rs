//! Action keys: everything a check's result depends on, named, encoded and hashed.
//!
//! | input | where it enters |
//! |---|---|
//! | format of keys | [`KEY_VERSION`], first in every encoding |
//! | engine class, platform | `engine` |
//! | layers (base, tools, deps) | `layer NAME` = [`layer_key`]; its parts are included unhashed, for miss reasons |
//! | argv and earlier commands, in order | `command` |
//! | working directory | `dir` |
//! | declared variables: value, empty, unset | `env NAME` |
//! | secret variables: HMAC of the value ([`secret`]), unset | `env NAME` |
//! | fixed variables | `set-env NAME` |
//! | programs on PATH, also absent ones | `tool NAME` |
//! | output parser, outputs, network, products, incremental | `option NAME` |
//! | shared files: path, kind, content | `inputs` (digest of their [`tree`]) |
//! | files outside the snapshot that the tool finds | `outside` |
//! | folders it finds without any of their files | `folder` |
//! | checked files of a check with parts | `files` (digest of their tree); each part's key holds its own file only |
//!
//! Excluded: mtimes, owners, umask, absolute paths, undeclared variables, the order of configuration keys.
//!
//! A check without parts has one key. A check with parts has a *common* key (everything except `files`), a key for
//! each part (the common key with the path, kind and digest of its file), and a whole key (everything).
//!
//! If a run was traced, its result is stored under a key that contains only what it asked about ([`facts`]). If its reads
//! can be detected by other means, the key contains all names and the content of the files it read ([`reads`]).
//!
//! Pure: performs no IO and reads no environment; callers pass all values.

pub(crate) mod diff;
pub(crate) mod encode;
pub(crate) mod facts;
pub(crate) mod fingerprint;
pub(crate) mod reads;
pub(crate) mod secret;
pub(crate) mod tree;

pub(crate) use diff::{Miss, MissKind};
pub(crate) use fingerprint::{
    CheckKey, Fingerprint, check_key, layer_key, layers_of, part_key, with_keys,
};

/// Version of everything that determines a key. Raise it whenever an encoding, a rule or a built-in environment
/// changes: every entry of every user then misses once.
pub(crate) const KEY_VERSION: u32 = 3;
