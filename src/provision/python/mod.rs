//! Python tools locked by a project: which folders declare which tool, and the environment it runs in.
//!
//! - [`project`]: which folders declare which tool.
//! - [`mod@format`], [`poetry`], [`uv`], [`requirements`], [`lock`]: lock files. [`closure`], [`marker`], [`version`]: what
//!   is locked for a tool. All of these are pure.
//! - [`interpreter`], [`installed`], [`packages`], [`environment`]: where a tool comes from on the host; `container`: in
//!   containers. [`install`]: building it from the lock. [`ready`]: what they yield. [`tool`]: checks with it.

pub(crate) mod closure;
mod container;
pub(crate) mod environment;
pub(crate) mod format;
pub(crate) mod install;
pub(crate) mod installed;
pub(crate) mod interpreter;
pub(crate) mod lock;
pub(crate) mod marker;
pub(crate) mod packages;
pub(crate) mod poetry;
pub(crate) mod project;
pub(crate) mod ready;
pub(crate) mod requirements;
pub(crate) mod tool;
pub(crate) mod uv;
pub(crate) mod version;
