//! What threads may do with each public type.

/// `tests/tidy.rs` sees to it that none is left out.
#[test]
fn every_public_type_can_be_sent_shared_and_kept() {
    fn is_free<T: Send + Sync + 'static>() {}
    is_free::<uds_ipc::Address>();
    is_free::<uds_ipc::error::AddressError>();
    is_free::<uds_ipc::event::BadReceipt>();
    is_free::<uds_ipc::error::BindError>();
    is_free::<uds_ipc::BoundReader>();
    is_free::<uds_ipc::event::CloseCause>();
    is_free::<uds_ipc::event::ConnectError>();
    is_free::<uds_ipc::event::CrashProofError>();
    is_free::<uds_ipc::Credentials>();
    is_free::<uds_ipc::Delivery>();
    is_free::<uds_ipc::error::DescriptorKind>();
    is_free::<uds_ipc::metrics::Dropped>();
    is_free::<uds_ipc::metrics::Failed>();
    is_free::<uds_ipc::error::FlushError>();
    is_free::<uds_ipc::Flushed>();
    is_free::<uds_ipc::FlushLevel>();
    is_free::<uds_ipc::metrics::Exposition>();
    #[cfg(feature = "metrics")]
    is_free::<uds_ipc::metrics::Publisher>();
    #[cfg(feature = "calls")]
    {
        is_free::<uds_ipc::calls::BoundResponder>();
        is_free::<uds_ipc::calls::Call>();
        is_free::<uds_ipc::calls::CallError>();
        is_free::<uds_ipc::calls::Caller>();
        is_free::<uds_ipc::calls::CallerBuilder>();
        is_free::<uds_ipc::calls::CallerFigures>();
        is_free::<uds_ipc::calls::ConnectionInfo>();
        is_free::<uds_ipc::calls::OpenCall>();
        is_free::<uds_ipc::calls::Refusal>();
        is_free::<uds_ipc::calls::Replies>();
        is_free::<uds_ipc::calls::Reply>();
        is_free::<uds_ipc::calls::ReplyError>();
        is_free::<uds_ipc::calls::Responder>();
        is_free::<uds_ipc::calls::ResponderBuilder>();
        is_free::<uds_ipc::calls::ResponderFigures>();
        is_free::<uds_ipc::calls::ResponderReport>();
    }
    #[cfg(all(feature = "async", feature = "calls"))]
    is_free::<uds_ipc::calls::AsyncCaller>();
    #[cfg(all(feature = "async", feature = "calls"))]
    is_free::<uds_ipc::calls::AsyncReplies>();
    #[cfg(feature = "async")]
    is_free::<uds_ipc::AsyncWriter>();
    #[cfg(feature = "async")]
    is_free::<uds_ipc::MessageSink<Vec<u8>>>();
    #[cfg(feature = "async")]
    is_free::<uds_ipc::SinkError<Vec<u8>>>();
    is_free::<uds_ipc::ShutdownGuard>();
    is_free::<uds_ipc::Batch>();
    is_free::<uds_ipc::Batches>();
    is_free::<uds_ipc::BatchesIntoIter>();
    is_free::<uds_ipc::FrameCodec>();
    is_free::<uds_ipc::error::FrameError>();
    is_free::<uds_ipc::Lines>();
    is_free::<uds_ipc::DropNotice>();
    is_free::<uds_ipc::event::LostCause>();
    is_free::<uds_ipc::Overflow>();
    is_free::<uds_ipc::Identity>();
    is_free::<uds_ipc::Peer>();
    is_free::<uds_ipc::metrics::ProtocolErrors>();
    is_free::<uds_ipc::Reader>();
    is_free::<uds_ipc::ReaderBuilder>();
    is_free::<uds_ipc::event::ReaderEvent>();
    is_free::<uds_ipc::metrics::ReaderMetrics>();
    is_free::<uds_ipc::ReaderReport>();
    is_free::<uds_ipc::Recover>();
    is_free::<uds_ipc::event::RefuseCause>();
    is_free::<uds_ipc::SendError<String>>();
    is_free::<uds_ipc::error::SettingError>();
    is_free::<uds_ipc::error::ServeError>();
    is_free::<uds_ipc::event::Severity>();
    is_free::<uds_ipc::error::ShutdownError>();
    is_free::<uds_ipc::error::StartError>();
    is_free::<uds_ipc::error::SystemError>();
    is_free::<uds_ipc::metrics::Tally>();
    is_free::<uds_ipc::EncodeError<()>>();
    is_free::<uds_ipc::Flushed>();
    is_free::<uds_ipc::Writer>();
    is_free::<uds_ipc::WriterBuilder>();
    is_free::<uds_ipc::event::WriterEvent>();
    is_free::<uds_ipc::metrics::WriterMetrics>();
    is_free::<uds_ipc::WriterReport>();
    #[cfg(feature = "systemd")]
    {
        is_free::<uds_ipc::event::NotifyError>();
        is_free::<uds_ipc::systemd::Activation>();
        is_free::<uds_ipc::systemd::ActivationError>();
        is_free::<uds_ipc::systemd::Service>();
    }
}
