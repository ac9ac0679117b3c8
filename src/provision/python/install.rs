//! A Python environment on the host, from hash-checked wheels:
//! `pip install --require-hashes --no-deps --only-binary :all:`.

use std::path::{Path, PathBuf};

use crate::path::RelPath;
use crate::plan::layer::{HostBuild, Sources, Step};

/// Since this version pip can install into another interpreter's environment; with an older one the environment gets
/// its own pip, which takes seconds.
const CAN_INSTALL_ELSEWHERE: &str =
    "import pip, sys; sys.exit([int(n) for n in pip.__version__.split('.')[:2]] < [22, 3])";

const REQUIREMENTS: &str = "requirements.txt";

/// Variables of the user that would make Python or pip look or install elsewhere.
const ELSEWHERE: &[&str] = &[
    "PYTHONPATH",
    "PYTHONHOME",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_DRY_RUN",
];

/// An environment to build.
#[derive(Debug)]
pub(crate) struct Install {
    /// The interpreter that creates it.
    pub(crate) python: PathBuf,
    /// A requirements file with one `name==version --hash=… …` per line.
    pub(crate) requirements: String,
}

impl HostBuild for Install {
    fn sources(&self) -> Sources {
        let path = RelPath::new(REQUIREMENTS).unwrap_or_default();
        Sources {
            made: vec![(path, self.requirements.clone().into_bytes())],
            ..Sources::default()
        }
    }

    fn next(&self, folder: &Path, ended: &[i32]) -> Result<Option<Step>, String> {
        let elsewhere = ended.first() == Some(&0);
        match ended.len() {
            0 => Ok(Some(Step {
                may_fail: true,
                ..step(&self.python, &["-c", CAN_INSTALL_ELSEWHERE])
            })),
            1 => {
                let mut create = vec!["-m", "venv"];
                create.extend(elsewhere.then_some("--without-pip"));
                let place = folder.to_string_lossy();
                create.push(&place);
                Ok(Some(step(&self.python, &create)))
            }
            2 => Ok(Some(self.install(&folder.join("bin/python"), elsewhere))),
            _ => self.installed(folder).map(|()| None),
        }
    }
}

impl Install {
    fn install(&self, inner: &Path, elsewhere: bool) -> Step {
        let place = inner.to_string_lossy();
        let mut args = vec!["-m", "pip"];
        if elsewhere {
            args.extend(["--python", &place]);
        }
        args.extend(["install", "--require-hashes", "--no-deps"]);
        args.extend(["--only-binary", ":all:", "--no-input"]);
        args.extend(["--disable-pip-version-check", "-r", REQUIREMENTS]);
        step(if elsewhere { &self.python } else { inner }, &args)
    }

    /// Whether pip installed into the environment: its configuration may name another place.
    fn installed(&self, folder: &Path) -> Result<(), String> {
        let lines = self.requirements.lines();
        let wanted = lines.filter(|line| line.contains("==")).count();
        let site = walkdir::WalkDir::new(folder.join("lib")).max_depth(3);
        let found = site
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
            .count();
        if found >= wanted {
            return Ok(());
        }
        Err(format!(
            "pip installed {found} of {wanted} packages into the environment; check its configuration \
             (`pip config list`) for `target`, `prefix`, `root` or `dry-run`"
        ))
    }
}

fn step(program: &Path, args: &[&str]) -> Step {
    Step {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        set_env: vec![("PIP_USER".to_owned(), "0".to_owned())],
        unset_env: ELSEWHERE,
        may_fail: false,
    }
}
