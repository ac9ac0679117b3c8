//! Python tools as a project locks them: which folders declare which tool, and the environment it runs in.
//!
//! - [`project`]: which folders declare which tool. - [`lock`], [`uv`], [`requirements`], [`closure`], [`marker`],
//!   [`version`]: what is locked for a tool (pure). - [`interpreter`], [`installed`], [`packages`], [`environment`]:
//!   where the tool comes from on the host; [`container`]: in containers. - [`ready`]: what both yield.
//! - [`tool`]: checks with it.

pub(crate) mod closure;
mod container;
pub(crate) mod environment;
pub(crate) mod install;
pub(crate) mod installed;
pub(crate) mod interpreter;
pub(crate) mod lock;
pub(crate) mod marker;
pub(crate) mod packages;
pub(crate) mod project;
pub(crate) mod ready;
pub(crate) mod requirements;
pub(crate) mod tool;
pub(crate) mod uv;
pub(crate) mod version;
