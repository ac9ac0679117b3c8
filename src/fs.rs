//! Files, with the path in every error.

use std::io;
use std::io::Write as _;
use std::path::Path;

/// Writes a file so that it appears whole or not at all: temporary file in the same folder, then rename.
/// Missing folders are made.
///
/// # Errors
/// If the disk refuses; the message names the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = match tempfile::NamedTempFile::new_in(dir) {
        Ok(file) => file,
        Err(_) => {
            std::fs::create_dir_all(dir).map_err(named)?;
            tempfile::NamedTempFile::new_in(dir).map_err(named)?
        }
    };
    file.write_all(bytes).map_err(named)?;
    file.persist(path).map_err(|error| named(error.error))?;
    Ok(())
}
