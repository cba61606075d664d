//! The words of `muster network`.

use std::path::PathBuf;

use clap::Args;
use muster_types::Span;

#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Servers: a URL, `host:port` or a name. Default: all that the configuration names
    pub targets: Vec<String>,
    /// Look from within: a Compose service, the id of a process, or the path of a network namespace. Needs root
    #[arg(long, value_name = "WHERE")]
    pub inside: Option<String>,
    /// A prober elsewhere, a URL with `{{ target }}` in it. Default: `network.outside` of the configuration
    #[arg(long, value_name = "URL")]
    pub outside: Option<String>,
    /// A file with the authorities that TLS trusts, instead of the usual ones
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long one look may take. Default: 3s
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<Span>,
    /// How long all of them may take together; what is known by then is told. Default: 30s
    #[arg(long, value_name = "SPAN")]
    pub deadline: Option<Span>,
}
