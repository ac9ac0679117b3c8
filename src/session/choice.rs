//! Chooses the engine of a run from the command line, the environment, the configuration and a stat or two.
//!
//! Does not connect: that happens on the first miss, and the caller decides what to do if it fails.

use std::path::Path;

use crate::config::EngineKind;
use crate::env::DAGGER_RUNNER_HOST;
use crate::visible::Shown as _;

/// Dagger's default address.
pub(crate) const DEFAULT_SOCKET: &str = "/run/dagger/engine.sock";

/// The settings that matter for the choice.
#[derive(Debug, Clone)]
pub(crate) struct Wish<'a> {
    /// From the command line.
    pub(crate) typed: Option<EngineKind>,
    pub(crate) configured: EngineKind,
    /// From the environment; takes precedence over the configuration. Empty counts as unset.
    pub(crate) runner_host: Option<&'a str>,
    pub(crate) address: Option<&'a str>,
    /// Why the address must not be used, if the user did not accept it.
    pub(crate) refused: Option<String>,
}

/// What the choice depends on besides settings.
pub(crate) struct Host<'a> {
    /// Whether this path exists.
    pub(crate) exists: &'a dyn Fn(&Path) -> bool,
    /// Whether `dagger` is on PATH.
    pub(crate) has_program: &'a dyn Fn() -> bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The address of Dagger; `None` for the local engine.
    pub(crate) dagger: Option<String>,
    /// Whether the user named the engine, so that there is no fallback.
    pub(crate) fixed: bool,
    /// The reason, for use after the engine's name.
    pub(crate) why: String,
    /// Whether it would be another one if the user had accepted its address.
    pub(crate) refused: bool,
}

impl Choice {
    /// The engine's class, as in keys and records.
    #[must_use]
    pub(crate) fn class(&self) -> &'static str {
        if self.dagger.is_some() {
            "dagger"
        } else {
            "local"
        }
    }

    #[must_use]
    pub(crate) fn local(fixed: bool, why: impl Into<String>) -> Self {
        Self {
            dagger: None,
            fixed,
            why: why.into(),
            refused: false,
        }
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.dagger {
            Some(address) => write!(f, "dagger at {address} ({})", self.why),
            None => write!(f, "local ({})", self.why),
        }
    }
}

pub(crate) fn choose(wish: &Wish<'_>, host: &Host<'_>) -> Result<Choice, String> {
    let kind = wish.typed.unwrap_or(wish.configured);
    let asked = match wish.typed {
        Some(kind) => format!("--engine {}", kind.as_str()),
        None => format!("kind = \"{}\" in [engine]", kind.as_str()),
    };
    let runner_host = wish.runner_host.filter(|address| !address.is_empty());
    let named = runner_host
        .map(|address| (address, format!("${DAGGER_RUNNER_HOST}")))
        .or(wish
            .address
            .map(|address| (address, "address in [engine]".to_owned())));
    let refused = wish.refused.as_ref().filter(|_| runner_host.is_none());
    match (kind, refused) {
        (EngineKind::Dagger, Some(why)) => return Err(why.clone()),
        (EngineKind::Auto, Some(_)) => {
            let why = "`[engine] address` is not accepted";
            return Ok(Choice {
                refused: true,
                ..Choice::local(false, why)
            });
        }
        _ => {}
    }
    let default = || format!("unix://{DEFAULT_SOCKET}");
    let default_is_there = || (host.exists)(Path::new(DEFAULT_SOCKET));
    let dagger = |address: String, fixed, why| Choice {
        dagger: Some(address),
        fixed,
        why,
        refused: false,
    };
    match (kind, named) {
        (EngineKind::Local, _) => Ok(Choice::local(true, asked)),
        (EngineKind::Dagger, Some((address, from))) => {
            let why = format!("{asked}, address from {from}");
            Ok(dagger(address.to_owned(), true, why))
        }
        (EngineKind::Dagger, None) if default_is_there() => Ok(dagger(default(), true, asked)),
        (EngineKind::Dagger, None) => Err(format!(
            "{asked}, but no address of a Dagger engine is configured, and {DEFAULT_SOCKET} does not exist: set `address` in [engine] or \
             ${DAGGER_RUNNER_HOST} (unix://…, tcp://…; image://… makes Dagger start one), or use --engine local"
        )),
        (EngineKind::Auto, Some((address, from))) => {
            let socket = address.strip_prefix("unix://").map(Path::new);
            Ok(match socket {
                Some(socket) if !(host.exists)(socket) => Choice::local(
                    false,
                    format!("{} from {from} does not exist", socket.shown()),
                ),
                _ if !(host.has_program)() => {
                    Choice::local(false, format!("{from} is set, but `dagger` is not on PATH"))
                }
                _ => dagger(address.to_owned(), false, from),
            })
        }
        (EngineKind::Auto, None) if !default_is_there() => Ok(Choice::local(
            false,
            "no Dagger engine is configured or running",
        )),
        (EngineKind::Auto, None) if !(host.has_program)() => Ok(Choice::local(
            false,
            format!("{DEFAULT_SOCKET} exists, but `dagger` is not on PATH"),
        )),
        (EngineKind::Auto, None) => Ok(dagger(default(), false, "it is running".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EngineKind::{Auto, Dagger, Local};

    const SET: Option<&str> = Some("tcp://a:1");
    const HERE: Option<&str> = Some("unix:///here");
    const AWAY: Option<&str> = Some("unix:///away");
    const DEFAULT: &str = "unix:///run/dagger/engine.sock";

    /// `there` are the sockets, `program` is whether `dagger` is on PATH.
    fn taken(
        (typed, configured): (Option<EngineKind>, EngineKind),
        (runner_host, address): (Option<&str>, Option<&str>),
        there: &[&str],
        program: bool,
    ) -> Result<Choice, String> {
        let wish = Wish {
            typed,
            configured,
            runner_host,
            address,
            refused: None,
        };
        let host = Host {
            exists: &|path| there.iter().any(|known| Path::new(known) == path),
            has_program: &|| program,
        };
        choose(&wish, &host)
    }

    #[test]
    fn the_table() {
        let all = ["/here", DEFAULT_SOCKET];
        let auto = (None, Auto);
        let dagger = (None, Dagger);
        for (kinds, addresses, there, program, expect) in [
            // Of its own accord only what is configured or at hand, and only with the program.
            (auto, (None, None), &[][..], true, None),
            (auto, (None, None), &all[..], true, Some(DEFAULT)),
            (auto, (None, None), &all, false, None),
            (auto, (None, SET), &[], true, SET),
            (auto, (None, SET), &[], false, None),
            (auto, (None, HERE), &all, true, HERE),
            (auto, (None, AWAY), &all, true, None),
            (
                auto,
                (None, Some("image://x")),
                &[],
                true,
                Some("image://x"),
            ),
            // The environment wins, also if nothing is there; empty is unset.
            (auto, (SET, HERE), &all, true, SET),
            (auto, (AWAY, SET), &all, true, None),
            (auto, (Some(""), HERE), &all, true, HERE),
            // Who asks for it gets it, or an error when it is needed.
            (dagger, (None, SET), &[], false, SET),
            (dagger, (None, AWAY), &[], false, AWAY),
            (dagger, (SET, AWAY), &[], false, SET),
            (dagger, (None, None), &all, false, Some(DEFAULT)),
            ((None, Local), (SET, SET), &all, true, None),
            // What is typed wins over what is configured.
            ((Some(Local), Dagger), (SET, SET), &all, true, None),
            ((Some(Dagger), Local), (None, SET), &[], false, SET),
            ((Some(Auto), Dagger), (None, SET), &[], false, None),
        ] {
            let choice = taken(kinds, addresses, there, program).expect("a choice");
            assert_eq!(
                choice.dagger.as_deref(),
                expect,
                "{kinds:?} {addresses:?} {there:?} {program}"
            );
            let kind = kinds.0.unwrap_or(kinds.1);
            assert_eq!(choice.fixed, kind != Auto, "{kinds:?}");
        }
    }

    #[test]
    fn an_address_that_is_not_accepted_is_not_used() {
        let choose = |configured, runner_host| {
            let wish = Wish {
                typed: None,
                configured,
                runner_host,
                address: SET,
                refused: Some("why".to_owned()),
            };
            let host = Host {
                exists: &|_| true,
                has_program: &|| true,
            };
            choose(&wish, &host)
        };
        let auto = choose(Auto, None).expect("a choice");
        assert!(auto.dagger.is_none() && auto.refused && !auto.fixed);
        assert_eq!(choose(Dagger, None), Err("why".to_owned()));
        assert!(choose(Local, None).is_ok_and(|choice| !choice.refused));
        // The user's own word.
        let own = choose(Auto, HERE).expect("a choice");
        assert_eq!(own.dagger.as_deref(), HERE);
    }

    #[test]
    fn dagger_without_an_address_says_what_to_set() {
        let error = taken((Some(Dagger), Auto), (None, None), &["/here"], true).unwrap_err();
        for said in [
            "--engine dagger",
            "`address` in [engine]",
            "$_EXPERIMENTAL_DAGGER_RUNNER_HOST",
            "--engine local",
        ] {
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_choice_says_where_and_why() {
        let choice = taken((None, Auto), (SET, None), &[], true).expect("a choice");
        assert_eq!(
            choice.to_string(),
            "dagger at tcp://a:1 ($_EXPERIMENTAL_DAGGER_RUNNER_HOST)"
        );
        let choice = taken((None, Auto), (AWAY, None), &[], true).expect("a choice");
        assert!(
            choice.to_string().starts_with("local (/away from $"),
            "{choice}"
        );
    }
}
