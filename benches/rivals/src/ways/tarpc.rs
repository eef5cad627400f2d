//! tarpc over a Unix socket, with bincode, the faster of the codecs that it brings.

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use futures_util::StreamExt;
use serde_bytes::ByteBuf;
use tarpc::serde_transport::unix;
use tarpc::server::{BaseChannel, Channel};
use tarpc::{client, context};
use tokio_serde::formats::Bincode;

use crate::work::{Awaited, TIMEOUT};

#[tarpc::service]
trait Echo {
    async fn echo(body: ByteBuf) -> ByteBuf;
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, body: ByteBuf) -> ByteBuf {
        body
    }
}

/// Listens, and gives what answers. Each call has a task of its own, as in tarpc's examples: a
/// handler that waits holds up no other.
pub(super) async fn answer(path: &Path) -> impl Future<Output = ()> + Send + 'static {
    let incoming = unix::listen(path, Bincode::default).await;
    let mut incoming = incoming.expect("a socket");
    async move {
        while let Some(transport) = incoming.next().await {
            let channel = BaseChannel::with_defaults(transport.expect("a peer"));
            tokio::spawn(channel.execute(Server.serve()).for_each(async |call| {
                tokio::spawn(call);
            }));
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Client(EchoClient);

impl Awaited for Client {
    async fn connect(path: &Path) -> Self {
        let transport = unix::connect(path, Bincode::default).await;
        let transport = transport.expect("it listens");
        Self(EchoClient::new(client::Config::default(), transport).spawn())
    }

    async fn call(&mut self, body: &[u8]) {
        let mut context = context::current();
        context.deadline = Instant::now() + TIMEOUT;
        let answer = self.0.echo(context, ByteBuf::from(body)).await;
        assert_eq!(answer.expect("an answer").len(), body.len());
    }
}
