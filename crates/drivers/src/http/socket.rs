//! HTTP over a socket of this host, for scratch servers that nobody else may reach.
//!
//! In: a path. Out: what `ureq` needs to talk through it. The path may be longer than a socket's address: it is opened
//! through its folder. Nothing here knows a server.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
};

use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

/// Connects to one socket, whatever the address says.
#[derive(Debug)]
pub(super) struct SocketConnector {
    path: PathBuf,
}

impl SocketConnector {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn open(&self) -> io::Result<UnixStream> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = std::fs::File::open(folder)?;
        let short = format!("/proc/self/fd/{}", folder.as_raw_fd());
        UnixStream::connect(Path::new(&short).join(name))
    }
}

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = SocketTransport;

    fn connect(&self, details: &ConnectionDetails, _chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(SocketTransport { stream: self.open()?, buffers }))
    }
}

/// An open socket.
#[derive(Debug)]
pub(super) struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|one| *one))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok((&self.stream).write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|one| *one))?;
        let amount = (&self.stream).read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // A scratch server is asked a few times: each question gets a connection of its own.
        false
    }
}

/// Nothing is looked up.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Ok(addresses)
    }
}
