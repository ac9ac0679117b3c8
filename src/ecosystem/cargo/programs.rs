//! Where the programs of the Rust toolchain come from: this host, or the check's container; and the environment that
//! cargo needs there.

use std::collections::BTreeMap;

use crate::plan::check::Tool;
use crate::tool::rustup::Toolchain;

/// Where a workspace's checks run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Programs<'a> {
    Host(&'a Toolchain),
    /// In a container; holds the version of its rustc, if known.
    Image(Option<&'a str>),
}

impl<'a> Programs<'a> {
    /// The version of rustc.
    pub(crate) fn version(self) -> Option<&'a str> {
        match self {
            Self::Host(toolchain) => toolchain.version.as_deref(),
            Self::Image(version) => version,
        }
    }

    pub(crate) const fn host(self) -> Option<&'a Toolchain> {
        match self {
            Self::Host(toolchain) => Some(toolchain),
            Self::Image(_) => None,
        }
    }

    /// The program of this name, which is part of a component.
    pub(crate) fn tool(self, name: &str, component: &str) -> Result<Tool, String> {
        let Self::Host(toolchain) = self else {
            return Ok(Tool::Image {
                name: name.to_owned(),
            });
        };
        let path = toolchain.program(name).ok_or_else(|| {
            let way = toolchain.add_component(component);
            format!(
                "`{name}` is not part of the Rust toolchain: run `{way}`, or use `--engine dagger`"
            )
        })?;
        Ok(Tool::Host {
            name: name.to_owned(),
            path: path.to_path_buf(),
            identity: toolchain.identity,
            version: toolchain.version.clone(),
        })
    }
}

/// The variables of a cargo that builds in `target`, so that it recognises its products.
pub(crate) fn environment(target: &str) -> BTreeMap<String, String> {
    let set = [
        // Otherwise configuration files could lead out of the room or to programs that are not in it.
        ("CARGO_BUILD_BUILD_DIR", target),
        ("CARGO_TARGET_DIR", target),
        ("RUSTC_WRAPPER", ""),
        ("CARGO_INCREMENTAL", "0"),
        ("CARGO_NET_OFFLINE", "true"),
        ("CARGO_TERM_COLOR", "always"),
        ("CARGO_TERM_PROGRESS_WHEN", "never"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    set.into_iter().map(owned).collect()
}

/// Whether cargo supports `--keep-going`, judging by the version of rustc; an unknown version counts as new.
pub(crate) fn keeps_going(version: Option<&str>) -> bool {
    let number = version.and_then(|text| text.split_whitespace().nth(1));
    let mut parts = number.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 74),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cargo_that_can_is_told_to_keep_going() {
        for (version, can) in [
            (Some("rustc 1.95.0 (59807616e 2026-04-14)"), true),
            (Some("rustc 1.73.0"), false),
            (Some("rustc 1.98.0-nightly (x)"), true),
            (Some("?"), true),
            (None, true),
        ] {
            assert_eq!(keeps_going(version), can, "{version:?}");
        }
    }
}
