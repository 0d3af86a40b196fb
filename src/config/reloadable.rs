//! The trait of a table's settings by which a reload keeps the old values of keys that need a restart.

/// The settings of a table, as a reload compares and replaces them.
///
/// A table needs a method of its own only for keys that take a restart, and for secrets and files. The tests of
/// `changes` try every key.
pub(super) trait Reloadable {
    /// Puts the settings that take a restart back to those of the running daemon.
    fn restore_fixed(&mut self, _running: &Self) {}

    /// The paths of keys whose secret, or whose file's content, is another in `_new`. A reload compares other keys as
    /// they were read, without a line here.
    fn different_contents(&self, _new: &Self) -> Vec<&'static str> {
        Vec::new()
    }
}
