//! The words of `muster doctor`.

use clap::Args;
use muster_types::{ByteSize, Span};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The room that must be free where Muster writes. Default: 10GB
    #[arg(long, value_name = "SIZE")]
    pub free: Option<ByteSize>,
    /// The time that all looks have together. Default: 1m
    #[arg(long, value_name = "SPAN")]
    pub deadline: Option<Span>,
}
