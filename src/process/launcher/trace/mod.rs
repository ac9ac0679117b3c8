//! Observes what a command does with files: which it reads, asks about, lists, looks for in vain and executes, it and
//! everything it starts.
//!
//! The inner launcher puts a filter on itself that stops every call of the table ([`calls`]); the outer one has attached
//! to it before and looks at each call as it is about to be made. Nothing is learnt from the result of a call: what is
//! there is known from the disk, and a call that fails depends on the same facts.
//!
//! - `calls`: which calls, and what they do with paths. - `filter`: stops them. - `follow`: the loop of stops.
//! - `paths`: what a path means. - [`seen`]: what is learnt. - `tracing`: all of it, for the outer launcher. - `none`: the
//!   same where it is not to be had.
//!
//! A command that cannot be followed ([`Seen::lost`]) is ended; what was seen of it means nothing.
//!
//! Does not know which files are inputs.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod follow;
#[cfg(not(target_os = "linux"))]
mod none;
#[cfg(target_os = "linux")]
mod paths;
pub(crate) mod seen;
#[cfg(target_os = "linux")]
mod tracing;

#[cfg(target_os = "linux")]
pub(super) use calls::NEWEST;
#[cfg(target_os = "linux")]
pub(super) use filter::install;
#[cfg(not(target_os = "linux"))]
pub(super) use none::{Tracing, unblock};
pub(crate) use seen::{Seen, Uses};
#[cfg(target_os = "linux")]
pub(super) use tracing::{Tracing, unblock};
