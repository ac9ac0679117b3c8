//! Attacks that must not succeed, one file per wall.

mod planning;
mod secrets;
mod store;
mod terminal;
mod trust;
