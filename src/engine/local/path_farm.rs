//! The closed PATH of a check: one directory that contains only its tools.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::plan::Tool;

/// Fills the empty directory `bin`. `layer` returns the directory of a layer by name.
pub(crate) fn fill(
    bin: &Path,
    tools: &[Tool],
    layer: impl Fn(&str) -> Option<PathBuf>,
) -> io::Result<()> {
    for tool in tools {
        let target = match tool {
            Tool::Host { path, .. } => path.clone(),
            Tool::Layer {
                layer: name, path, ..
            } => layer(name)
                .ok_or_else(|| io::Error::other(format!("no layer `{name}`")))?
                .join(path),
            Tool::Image { .. } | Tool::Absent { .. } => continue,
        };
        let name = tool.name();
        if name.is_empty() || name.contains('/') || name.starts_with("..") {
            let message = format!("`{name}` is not a program name");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        place(&bin.join(name), &target)?;
    }
    Ok(())
}

/// Creates a link, because multi-call programs look at the name they were called by, and others find their files by
/// resolving it. Only the interpreter of a virtual environment must be called at its own path: it looks for
/// `pyvenv.cfg` beside the link.
fn place(link: &Path, target: &Path) -> io::Result<()> {
    let in_venv = target.is_symlink()
        && target
            .ancestors()
            .nth(2)
            .is_some_and(|root| root.join("pyvenv.cfg").is_file());
    match target.to_str() {
        Some(text) if in_venv => {
            let quoted = crate::process::quoted(text);
            let _apart = crate::process::writing_a_program();
            std::fs::write(link, format!("#!/bin/sh\nexec {quoted} \"$@\"\n"))?;
            std::fs::set_permissions(link, Permissions::from_mode(0o755))
        }
        _ => symlink(target, link),
    }
}

/// The path of a check's program: in the farm, or with `/` relative to the working directory.
pub(crate) fn resolve(bin: &Path, dir: &Path, program: &str) -> Result<PathBuf, String> {
    let (call, file) = if program.contains('/') {
        (PathBuf::from(program), dir.join(program))
    } else {
        (bin.join(program), bin.join(program))
    };
    let Ok(meta) = file.metadata() else {
        return Err(if program.contains('/') {
            "not an input of the check; add it to `inputs`".to_owned()
        } else {
            "not a program of the check; add it to `tools`".to_owned()
        });
    };
    if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
        return Err("not executable; try `chmod +x`".to_owned());
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::digest::Digest;

    fn host(name: &str, path: &Path) -> Tool {
        Tool::Host {
            name: name.to_owned(),
            path: path.to_owned(),
            identity: Digest::of(b""),
            version: None,
        }
    }

    #[test]
    fn names_that_leave_the_farm_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "..", "../x", "a/b"] {
            let tools = [host(name, Path::new("/bin/sh"))];
            assert!(fill(dir.path(), &tools, |_| None).is_err(), "{name}");
        }
    }

    #[test]
    fn host_and_layer_tools_are_there_and_absent_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, layer) = (dir.path().join("bin"), dir.path().join("layer"));
        std::fs::create_dir_all(layer.join("bin")).unwrap();
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy("/bin/sh", layer.join("bin/other")).unwrap();
        let tools = [
            host("sh", Path::new("/bin/sh")),
            Tool::Layer {
                name: "tool".to_owned(),
                layer: "tools:x".to_owned(),
                path: "bin/other".to_owned(),
                version: None,
            },
            Tool::Absent {
                name: "gone".to_owned(),
            },
        ];
        fill(&bin, &tools, |name| {
            (name == "tools:x").then(|| layer.clone())
        })
        .unwrap();
        assert_eq!(resolve(&bin, dir.path(), "sh"), Ok(bin.join("sh")));
        assert_eq!(resolve(&bin, dir.path(), "tool"), Ok(bin.join("tool")));
        let missing = resolve(&bin, dir.path(), "gone").unwrap_err();
        assert!(missing.contains("add it to `tools`"), "{missing}");
    }

    #[test]
    fn a_program_of_the_tree_must_be_an_executable_input() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::write(dir.path().join("run.sh"), "").unwrap();
        let error = |program| resolve(&bin, dir.path(), program).unwrap_err();
        assert!(error("./run.sh").contains("chmod +x"));
        assert!(error("./gone.sh").contains("`inputs`"));
        let mode = Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("run.sh"), mode).unwrap();
        let found = resolve(&bin, dir.path(), "./run.sh");
        assert_eq!(found, Ok(PathBuf::from("./run.sh")));
    }

    #[test]
    fn the_interpreter_of_an_environment_is_called_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, venv) = (dir.path().join("bin"), dir.path().join("it's a venv"));
        std::fs::create_dir_all(venv.join("bin")).unwrap();
        std::fs::create_dir(&bin).unwrap();
        std::fs::write(venv.join("pyvenv.cfg"), "").unwrap();
        symlink("/bin/sh", venv.join("bin/python")).unwrap();
        let tools = [host("python", &venv.join("bin/python"))];
        fill(&bin, &tools, |_| None).unwrap();
        let said = Command::new(bin.join("python"))
            .args(["-c", "echo $0; echo \"$1\"", "zero", "one two"])
            .output()
            .unwrap();
        assert_eq!(said.stdout, b"zero\none two\n");
        let script = std::fs::read_to_string(bin.join("python")).unwrap();
        assert!(script.contains("venv/bin/python'"), "{script}");
    }
}
