//! `config show|schema`.

use crate::cli::args::ConfigCommand;
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::config;

pub(crate) fn config(context: &Context<'_>, command: ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Schema => context.shell.data(&config::schema()),
        ConfigCommand::Show => {
            let view = context.open()?.look()?;
            for warning in &view.loaded.warnings {
                context.shell.warning(warning);
            }
            context.shell.data(&config::show(&view.loaded));
        }
    }
    Ok(Exit::Passed)
}
