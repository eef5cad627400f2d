//! gRPC, by tonic, over a Unix socket. What its generator would make is written by hand, without
//! a router: one method needs none.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::path::Path;

use prost::bytes::Bytes;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::client::Grpc as Calls;
use tonic::codegen::http;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::work::{Awaited, TIMEOUT};

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

struct Echo;

impl UnaryService<Body> for Echo {
    type Response = Body;
    type Future = Ready<Result<Response<Body>, Status>>;

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// Listens, and gives what answers.
#[expect(
    clippy::unused_async,
    reason = "in a runtime: its poller is to know the socket"
)]
pub(super) async fn answer(path: &Path) -> impl Future<Output = ()> + Send + 'static {
    let listener = UnixListener::bind(path).expect("a socket");
    async move {
        let service = service_fn(|request: http::Request<tonic::body::Body>| async {
            let mut grpc = Grpc::new(ProstCodec::<Body, Body>::default());
            Ok::<_, Infallible>(grpc.unary(Echo, request).await)
        });
        let incoming = UnixListenerStream::new(listener);
        let served = Server::builder().serve_with_incoming(service, incoming);
        served.await.expect("it serves");
    }
}

#[derive(Clone, Debug)]
pub(super) struct Client(Calls<Channel>);

impl Awaited for Client {
    async fn connect(path: &Path) -> Self {
        let address = format!("unix:{}", path.display());
        let endpoint = Endpoint::from_shared(address).expect("an address");
        Self(Calls::new(endpoint.connect().await.expect("it listens")))
    }

    async fn call(&mut self, body: &[u8]) {
        let mut request = Request::new(Body {
            bytes: Bytes::copy_from_slice(body),
        });
        request.set_timeout(TIMEOUT);
        self.0.ready().await.expect("a connection");
        let path = PathAndQuery::from_static("/rivals.Echo/Echo");
        let codec = ProstCodec::<Body, Body>::default();
        let answer = self.0.unary(request, path, codec).await;
        assert_eq!(
            answer.expect("an answer").into_inner().bytes.len(),
            body.len()
        );
    }
}
