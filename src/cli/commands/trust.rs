//! `trust`: shows what the repository asks for beyond a closed room, and records the user's consent.

use std::io::IsTerminal as _;

use anyhow::Context as _;

use crate::cli::args::{EngineArg, TrustArgs};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::plan::trust::Ask;
use crate::report::shell::Tone;
use crate::report::text::count;

pub(crate) fn trust(mut context: Context<'_>, args: &TrustArgs) -> Result<Exit, Failure> {
    // No engine is needed to look, least of all the one that is asked for.
    context.global.engine = Some(EngineArg::Local);
    let project = context.open()?;
    let (store, shell) = (&project.store, context.shell);
    let failed = || {
        format!(
            "cannot write to the store {}",
            store.base().to_string_lossy()
        )
    };
    if args.revoke {
        store.distrust_all(&project.id).with_context(failed)?;
        shell.status(Tone::Good, "Revoked", "nothing is accepted any more");
        return Ok(Exit::Passed);
    }
    let asks = project.look()?.plan.asks;
    project.remember();
    let known = |ask: &&Ask| project.trusted.digests.contains(&ask.digest);
    for ask in &asks {
        let verb = if known(&ask) { "Accepted" } else { "Asked" };
        shell.status(Tone::Note, verb, &ask.what);
    }
    let new: Vec<&Ask> = asks.iter().filter(|ask| !known(ask)).collect();
    if new.is_empty() {
        shell.status(Tone::Good, "Finished", "nothing needs your consent");
        return Ok(Exit::Passed);
    }
    if !args.yes && !agreed(&context)? {
        shell.status(Tone::Bad, "Finished", "nothing was accepted");
        return Ok(Exit::Failed);
    }
    if !store.writable() {
        return Err(anyhow::anyhow!(failed()).into());
    }
    let digests = new.iter().map(|ask| ask.digest);
    store.trust(&project.id, digests).with_context(failed)?;
    let said = count(new.len(), "request", "requests");
    shell.status(Tone::Good, "Accepted", &format!("{said} of this project"));
    Ok(Exit::Passed)
}

fn agreed(context: &Context<'_>) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask for your consent: look at the list above, then use `--yes`",
        ));
    }
    context.shell.line("Do you accept this? [y/N]");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.context("cannot read the answer")?;
    Ok(matches!(&*answer.trim().to_lowercase(), "y" | "yes"))
}
