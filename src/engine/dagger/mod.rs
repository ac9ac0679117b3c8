//! Containers of a Dagger engine: base → tools → deps, each layer on the one below, and checks on the last.
//!
//! - `program`: the `dagger` command and its version. - `session`: its child `dagger session`, one for a run.
//! - `client`: what is sent to it. - `failure`: what its answers mean.
//! - `layers`: plan layers as containers. - `stage`: the files as they are uploaded. - `check`: one check in its container.
//! - `wrapper`: what runs in there before and after the check's command.
//!
//! The SDK is used nowhere else. What the engine remembers is a help, never an authority: a verdict counts because the
//! content it came from was hashed here, and whether something ran is told by a nonce, not by time.

mod client;
pub mod failure;
pub mod program;
pub mod session;
