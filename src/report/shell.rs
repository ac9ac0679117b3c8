//! All output goes through here: status lines on stderr, data on stdout, colour, verbosity, progress. So it is here
//! that nothing from elsewhere controls the terminal: every method shows control characters, see [`visible`].
//!
//! Looks like cargo: a verb right-aligned in 12 columns, green for progress, yellow for notes, red for failures. A
//! closed stdout or stderr is ignored: the run still exits with the code of its verdict.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::OwoColorize as _;

use crate::env::Env;
use crate::report::text;
use crate::visible;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// Where the output goes to a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Verbosity {
    /// Failures only.
    Quiet,
    /// Changes, failures and warnings of tools.
    #[default]
    Normal,
    /// Also Fresh checks and the output of passing tools.
    Verbose,
}

#[derive(Debug)]
pub(crate) struct Shell {
    verbosity: Verbosity,
    progress: Option<ProgressBar>,
}

/// The colour of a status verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Green: progress, success.
    Good,
    /// Yellow: notes.
    Note,
    /// Red: failed.
    Bad,
}

impl Shell {
    /// Decides about colour (`--color`, else `CARGO_TERM_COLOR`, else like cargo) and progress.
    #[must_use]
    pub(crate) fn new(color: Option<Color>, verbosity: Verbosity, env: &Env) -> Self {
        let choice = color.or_else(|| match env.var("CARGO_TERM_COLOR")? {
            "always" => Some(Color::Always),
            "never" => Some(Color::Never),
            _ => None,
        });
        match choice.unwrap_or_default() {
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
            Color::Auto => anstream::ColorChoice::Auto.write_global(),
        }
        let wanted = verbosity > Verbosity::Quiet
            && std::io::stderr().is_terminal()
            && env.var("CI").is_none()
            && env.var("TERM") != Some("dumb")
            && env.var("CARGO_TERM_PROGRESS_WHEN") != Some("never");
        Self {
            verbosity,
            progress: wanted.then(hidden_bar),
        }
    }

    #[must_use]
    pub(crate) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Prints `        Verb message` on stderr.
    pub(crate) fn status(&self, tone: Tone, verb: &str, message: &str) {
        let padded = format!("{verb:>12}");
        let message = visible::text(message);
        let line = match tone {
            Tone::Good => format!("{} {message}", padded.green().bold()),
            Tone::Note => format!("{} {message}", padded.yellow().bold()),
            Tone::Bad => format!("{} {message}", padded.red().bold()),
        };
        self.write(&line);
    }

    /// Prints a line on stderr if verbose.
    pub(crate) fn verbose(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.line(line);
        }
    }

    /// Prints `warning: message` on stderr unless quiet.
    pub(crate) fn warning(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            let message = visible::text(message);
            self.write(&format!("{}: {message}", "warning".yellow().bold()));
        }
    }

    /// Prints `error: message` on stderr.
    pub(crate) fn error(&self, message: &str) {
        let message = visible::text(message);
        self.write(&format!("{}: {message}", "error".red().bold()));
    }

    /// Prints a line on stderr.
    pub(crate) fn line(&self, line: &str) {
        self.write(&visible::text(line));
    }

    /// Prints what a tool printed on stderr, in its colours.
    pub(crate) fn output(&self, text: &str) {
        self.write(&visible::output(text));
    }

    fn write(&self, line: &str) {
        let write = || {
            let _ = writeln!(anstream::stderr(), "{line}");
        };
        match &self.progress {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Prints text on stdout.
    pub(crate) fn data(&self, text: &str) {
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(visible::text(text).as_bytes());
        let _ = stdout.flush();
    }

    /// Prints a JSON object in a line on stdout.
    pub(crate) fn json(&self, value: &serde_json::Value) {
        let line = format!("{}\n", visible::json(&value.to_string()));
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(line.as_bytes());
        let _ = stdout.flush();
    }

    /// Reports a built layer and the time in milliseconds, unless quiet.
    pub(crate) fn built(&self, layer: &str, duration_ms: u64) {
        if self.verbosity > Verbosity::Quiet {
            let took = text::duration(duration_ms);
            self.status(Tone::Good, "Built", &format!("layer {layer} in {took}"));
        }
    }

    /// Shows the progress line: `done` of `total`, and what is running. Only on a terminal.
    pub(crate) fn progress(&self, done: usize, total: usize, running: &[String]) {
        let Some(bar) = &self.progress else { return };
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(visible::name(&running.join(", ")).into_owned());
    }

    /// Clears the progress line.
    pub(crate) fn end_progress(&self) {
        if let Some(bar) = &self.progress {
            bar.finish_and_clear();
        }
    }
}

fn hidden_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let template = "     Running [{bar:20}] {pos}/{len} {elapsed}: {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
