//! Where the programs of the Rust toolchain come from: this host, or the container a check runs in.

use crate::plan::check::Tool;
use crate::tool::rustup::Toolchain;

/// Who runs a workspace's checks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Programs<'a> {
    Host(&'a Toolchain),
    /// The one of the container; what its rustc says about its version, if that is known.
    Image(Option<&'a str>),
}

impl<'a> Programs<'a> {
    /// What rustc says about its version.
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

    /// The program of that name, which is part of a component.
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
