//! The store of the service manager of this process.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;

use super::name::End;
use crate::activation;
use crate::address::Address;
use crate::event::NotifyError;
use crate::sys::{BorrowedDescriptor, OwnedDescriptor, StoreSocket};

/// Why something is not stored.
pub(crate) type StoreError = NotifyError;

/// What one end of an address has there.
#[derive(Debug)]
pub(crate) struct Store {
    socket: StoreSocket,
    /// The manager's address, as it was given.
    manager: OsString,
    prefix: String,
}

impl Store {
    /// `None` outside of a service that may notify its manager.
    pub(crate) fn open(end: End, address: &Address) -> Result<Option<Self>, StoreError> {
        let Some(manager) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let address: &OsStr = address.as_ref();
        let prefix = end.prefix(address.as_encoded_bytes());
        match StoreSocket::new(&manager) {
            Ok(Some(socket)) => Ok(Some(Self {
                socket,
                manager,
                prefix,
            })),
            Ok(None) => Err(NotifyError::Unsupported { address: manager }),
            Err(source) => Err(NotifyError::Io {
                address: manager,
                source: source.into(),
            }),
        }
    }

    /// Takes what was stored, with what its names say. It is not to be passed to another process.
    pub(crate) fn take(&self) -> Vec<(String, OwnedDescriptor)> {
        activation::take_stored(&self.prefix)
    }

    /// Has a copy of it kept under this name. It waits for room for a second at most.
    pub(crate) fn add(
        &self,
        name: &str,
        descriptor: BorrowedDescriptor<'_>,
    ) -> Result<(), StoreError> {
        let text = format!("FDSTORE=1\nFDNAME={}{name}", self.prefix);
        self.told(self.socket.send(&text, Some(descriptor)))
    }

    /// Has what is kept under this name closed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let text = format!("FDSTOREREMOVE=1\nFDNAME={}{name}", self.prefix);
        self.told(self.socket.send(&text, None))
    }

    fn told(&self, sent: io::Result<()>) -> Result<(), StoreError> {
        sent.map_err(|source| NotifyError::Io {
            address: self.manager.clone(),
            source: source.into(),
        })
    }
}
