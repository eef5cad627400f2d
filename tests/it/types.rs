//! What threads may do with each public type.

/// `tests/tidy.rs` sees to it that none is left out.
#[test]
fn every_public_type_can_be_sent_shared_and_kept() {
    fn is_free<T: Send + Sync + 'static>() {}
    is_free::<uds_ipc::Address>();
    is_free::<uds_ipc::AddressError>();
    is_free::<uds_ipc::BadReceipt>();
    is_free::<uds_ipc::BindError>();
    is_free::<uds_ipc::BoundReader>();
    is_free::<uds_ipc::CloseCause>();
    is_free::<uds_ipc::ConnectError>();
    is_free::<uds_ipc::Credentials>();
    is_free::<uds_ipc::Delivery>();
    is_free::<uds_ipc::DescriptorKind>();
    is_free::<uds_ipc::Dropped>();
    is_free::<uds_ipc::Failed>();
    is_free::<uds_ipc::FlushError>();
    is_free::<uds_ipc::Flushed>();
    is_free::<uds_ipc::Level>();
    is_free::<uds_ipc::LostCause>();
    is_free::<uds_ipc::Overflow>();
    is_free::<uds_ipc::Peer>();
    is_free::<uds_ipc::ProtocolErrors>();
    is_free::<uds_ipc::Reader>();
    is_free::<uds_ipc::ReaderBuilder>();
    is_free::<uds_ipc::ReaderEvent>();
    is_free::<uds_ipc::ReaderMetrics>();
    is_free::<uds_ipc::ReaderReport>();
    is_free::<uds_ipc::RefuseCause>();
    is_free::<uds_ipc::SendError<String>>();
    is_free::<uds_ipc::SettingError>();
    is_free::<uds_ipc::ShutdownError>();
    is_free::<uds_ipc::StartError>();
    is_free::<uds_ipc::SystemError>();
    is_free::<uds_ipc::Tally>();
    is_free::<uds_ipc::EncodeError<()>>();
    is_free::<uds_ipc::Flushed>();
    is_free::<uds_ipc::Writer>();
    is_free::<uds_ipc::WriterBuilder>();
    is_free::<uds_ipc::WriterEvent>();
    is_free::<uds_ipc::WriterMetrics>();
    is_free::<uds_ipc::WriterReport>();
    #[cfg(feature = "systemd")]
    {
        is_free::<uds_ipc::NotifyError>();
        is_free::<uds_ipc::systemd::Activation>();
        is_free::<uds_ipc::systemd::ActivationError>();
        is_free::<uds_ipc::systemd::Service>();
    }
}
