//! The option `--socket` of the client commands.

use std::path::PathBuf;

use clap::Args;

/// The daemon's socket, unless `--socket` or `CLOAKROOM_SOCKET` names another.
pub const DEFAULT_SOCKET: &str = "/run/cloakroom/cloakroom.sock";

/// The option that names the daemon's socket.
#[derive(Args, Debug)]
pub struct SocketArgs {
    /// The daemon's socket
    #[arg(
        long = "socket",
        value_name = "PATH",
        env = "CLOAKROOM_SOCKET",
        hide_env_values = true,
        default_value = DEFAULT_SOCKET
    )]
    pub path: PathBuf,
}
