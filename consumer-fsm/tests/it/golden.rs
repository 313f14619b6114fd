//! Committed text, compared with the text that the code generates now.

use std::path::Path;

/// Compares `fresh` with the committed file, byte by byte. With `UPDATE=1` in the environment it
/// writes the file instead.
pub(crate) fn compare(file: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = committed
        .lines()
        .zip(fresh.lines())
        .find(|(old, new)| old != new);
    assert!(
        committed == fresh,
        "consumer-fsm/{file} is not what the code says now, first here:\n{differs:#?}\n\
         if the change is meant: UPDATE=1 cargo test -p consumer-fsm --all-features --test it, and commit the file"
    );
}
