//! Telemetry between the daemons of one machine, over a Unix socket.
//!
//! A program hands over log lines, metrics or events and forgets them; a collector on the same host gets them.

mod address;
mod backoff;
mod error;
mod event;
mod frame;
mod message;
mod metrics;
mod peer;
mod pool;
mod reader;
mod reentry;
mod socket_file;
mod sys;
mod writer;

pub use address::{Address, AddressError, MAX_PATH_LEN, runtime_path};
pub use error::{BindError, FlushError, SendError, SettingError, ShutdownError, StartError};
pub use event::{CloseCause, ConnectError, LostCause, ReaderEvent, RefuseCause, WriterEvent};
pub use message::Message;
pub use metrics::{Dropped, Failed, ProtocolErrors, ReaderMetrics, Tally, WriterMetrics};
pub use peer::{Credentials, Peer};
pub use reader::{BoundReader, Handler, Reader, ReaderBuilder, ReaderReport};
pub use socket_file::{create_socket_dir, remove_stale_socket};
pub use writer::{Overflow, WriteSlot, Writer, WriterBuilder, WriterReport};
