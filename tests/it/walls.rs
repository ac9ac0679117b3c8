//! Attacks that must not succeed, one file per wall.

mod limits;
mod planning;
mod room;
mod secrets;
mod sizes;
mod store;
mod terminal;
mod trust;
