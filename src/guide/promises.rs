//! Each promise of the crate, and the tests that show it.
//!
//! The front page and the README say what is promised; [`delivery`](super::delivery) says what that
//! means for messages, case by case. Here each promise is one sentence. A test (`tests/tidy.rs`)
//! checks that every test that is named here exists.
//!
//! # The wire
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | A connection carries frames one after the other: a length as a varint, then so many bytes. The Go library and Protocol Buffers have the same frames | `the_vectors_of_the_format_are_read`, `every_kind_of_message_arrives_as_the_frames_of_the_contract` |
//! | However a stream is cut, its frames are the same | `any_fragmentation_and_coalescing_brings_the_same_messages`, `a_mutated_stream_is_read_as_the_definition_says_and_never_resynchronised` |
//! | An empty frame is no message, and shows that the peer lives | `zero_lengths_are_no_messages`, `a_peer_that_sends_empty_frames_is_not_silent` |
//! | A padded length is accepted | `padded_lengths_are_accepted` |
//! | A length that is above the limit, or is no 64-bit varint, ends its connection; nothing behind it is read as frames | `a_message_at_the_limit_is_delivered_and_one_above_is_never_read`, `a_length_that_is_no_number_is_refused_at_its_tenth_byte`, `nothing_behind_a_length_above_the_limit_is_read_as_frames` |
//! | Half a message is never delivered | `half_frame_is_never_delivered`, `a_half_frame_of_a_writer_that_died_is_never_delivered` |
//! | The crate, and the clients in other languages, read and write what the vectors of [the page on the wire](super::wire) say | `the_codec_agrees_with_the_vectors`, `the_reader_agrees_with_the_vectors`, `the_writer_agrees_with_the_vectors`, `the_clients_in_python_agree_with_the_vectors`, `the_clients_in_c_agree_with_the_vectors` |
//! | A client in another language that is killed, or whose reader or writer is killed, loses nothing at least once, and brings nothing twice at most once | `python_sends_at_least_once_to_readers_that_are_killed`, `c_sends_at_least_once_to_readers_that_are_killed`, `python_sends_at_most_once_to_readers_that_are_killed`, `c_sends_at_most_once_to_readers_that_are_killed`, `python_is_killed_and_loses_nothing_that_the_writer_sends_at_least_once`, `c_is_killed_and_loses_nothing_that_the_writer_sends_at_least_once`, `python_is_killed_and_gets_nothing_twice_that_the_writer_sends_at_most_once`, `c_is_killed_and_gets_nothing_twice_that_the_writer_sends_at_most_once` |
//! | When either end stops as planned, a client in another language loses nothing (Linux) | `readers_that_stop_lose_nothing_that_clients_send`, `clients_that_stop_lose_nothing_that_the_writer_sends` |
//!
//! # Sending
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | `try_send` waits neither for the socket nor for the reader | `a_message_is_refused_without_a_wait`, `a_peer_that_never_reads_does_not_block_a_sender_and_memory_stays_bounded` |
//! | The queue is bounded in messages and in bytes | `the_queue_is_bounded_in_messages`, `the_queue_is_bounded_in_bytes_whatever_the_messages` |
//! | A message that does not fit is refused, comes back in the error, and is counted; with `DropOldest` the oldest messages are evicted instead | `without_a_reader_what_fits_is_kept_and_the_rest_is_refused`, `the_oldest_make_room_where_that_was_asked_for` |
//! | `send_timeout` waits for room, and no longer than its timeout | `send_timeout_waits_for_room_and_no_longer` |
//! | An encoder sends one message, or nothing where it fails, and its error comes back | `an_encoder_sends_one_message_or_nothing_and_its_error_comes_back` |
//! | An empty message is refused and counted | `an_empty_message_is_refused_and_counted` |
//! | A message above the limit is refused at once | `a_message_above_the_limit_is_refused_at_once_with_both_numbers` |
//! | Messages of one thread arrive in the order in which it sent them, on one connection | `each_thread_keeps_its_order_among_eight`, `every_message_of_every_thread_counts_once_and_in_order_whenever_leases_end` |
//! | A message is accepted before the first connection and during an outage; after a shutdown it is refused as closed | `messages_sent_before_the_first_connection_arrive`, `without_a_reader_what_fits_is_kept_and_the_rest_is_refused`, `after_shutdown_a_message_comes_back_and_is_counted` |
//!
//! # Delivery with `AtMostOnce`
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | A message counts as sent once the kernel has its last byte | `a_killed_writer_has_sent_what_it_counted` |
//! | A message that the kernel did not take whole is sent again from its first byte, in order, on the next connection; one that it took whole is not | `a_message_the_kernel_took_in_part_is_sent_again_from_its_start`, `nothing_is_lost_twice_or_out_of_order_when_connections_break_between_reads` |
//! | A planned stop of the reader loses and repeats nothing (Linux) | `fifty_planned_stops_under_load_lose_and_repeat_nothing`, `a_reader_stopped_as_planned_thirty_times_loses_nothing_and_repeats_nothing`, `a_planned_stop_serves_those_who_wait_in_the_backlog` |
//! | A reader that closes an idle connection loses and repeats nothing | `a_reader_that_closes_idle_connections_loses_and_repeats_nothing`, `connections_closed_for_silence_cost_nothing` |
//! | A message that the reader always refuses does not block those behind it | `a_message_that_the_reader_refuses_is_given_up_after_three_probes` |
//! | A reader that is killed costs what it had read and not handled, and what lay in its socket | `a_reader_killed_ten_times_costs_what_was_on_its_way_without_receipts` |
//! | On Linux the writer notices that its reader was killed with bytes unread | `a_writer_whose_peer_died_with_bytes_unread_says_so` |
//!
//! # Delivery with `AtLeastOnce`
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | Each connection opens with `80 00` | `each_connection_opens_with_the_word_that_it_delivers_at_least_once` |
//! | A receipt says how many messages of its connection have been handled; one answers all requests before it | `an_empty_frame_is_answered_with_the_number_of_messages_so_far`, `the_peer_reads_rising_numbers` |
//! | A reader sends no receipt to a peer that never asked, and never blocks to send one | `a_connection_that_never_asks_gets_no_byte`, `a_peer_that_asks_and_does_not_read_gets_its_answer_when_it_does`, `questions_without_end_cost_no_memory_and_hold_up_nobody` |
//! | A message on which the handler fails is not confirmed, and comes again with what is behind it; what was stored before it is confirmed | `what_was_stored_before_a_message_that_fails_is_confirmed_and_nothing_behind_it_is_handled`, `a_message_that_fails_comes_again_until_it_is_dealt_with` |
//! | A batch whose end fails is not confirmed, and comes again | `a_batch_that_was_not_stored_gets_no_receipt_and_ends_the_connection`, `a_batch_comes_again_until_it_is_stored` |
//! | A batch that a receiver has taken away is confirmed when it says so; receipts cover what is confirmed without a gap | `receipts_cover_what_is_confirmed_without_a_gap_in_whatever_order`, `whatever_the_order_and_whatever_is_dropped_nothing_that_is_confirmed_is_lost` |
//! | A batch that is dropped comes again, with what is behind it | `what_came_before_a_batch_that_is_dropped_is_confirmed_and_what_came_behind_is_void` |
//! | What is out with a receiver is bounded | `a_connection_with_too_many_batches_out_waits_for_one_and_is_not_idle`, `a_receiver_that_takes_nothing_holds_up_its_senders_and_no_memory_grows` |
//! | The writer keeps a message until a receipt covers it, within the bounds of the queue | `the_bounds_count_what_no_receipt_covers`, `every_message_is_confirmed_in_the_end_and_none_is_sent_twice` |
//! | After a loss exactly the messages that no receipt covers are sent again, the oldest first | `exactly_what_no_receipt_covers_is_sent_again_in_order` |
//! | A reader may be killed at any moment, and no message is lost | `a_reader_killed_thirty_times_loses_nothing_that_waits_for_receipts`, `both_ends_killed_at_once_keep_what_was_confirmed` |
//! | A reader that was asked for receipts names the message that it refuses, and the writer gives that one up | `a_reader_that_was_asked_says_which_message_it_refuses` |
//! | A receipt that cannot be true ends the connection, and costs no message | `a_false_receipt_ends_the_connection_and_the_rest_is_sent_again`, `no_message_is_given_up_because_its_reader_lies` |
//! | A peer that sends no receipt causes an event, and messages are kept | `a_silent_peer_is_told_of_once_and_its_messages_are_kept`, `a_peer_that_closes_its_sending_side_is_a_silent_one_and_costs_no_work` |
//!
//! # Connections
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | The writer connects, and connects again after every loss, with a wait that grows | `backoff_grows_on_every_loss_of_a_short_connection`, `a_reader_that_comes_back_at_another_file_is_found` |
//! | A reader whose backlog is full counts as alive | `a_full_backlog_is_a_reader_that_lives` |
//! | A peer that went away is noticed before the next message is written | `a_peer_that_goes_away_while_idle_is_noticed_before_the_next_message`, `a_reader_killed_while_idle_costs_nothing_and_is_not_said_to` |
//! | When a peer takes no byte for the write timeout the writer makes a new connection; when it takes some, the writer does not | `a_reader_that_takes_no_byte_is_given_up_at_the_write_timeout`, `a_reader_that_reads_steadily_but_never_empties_its_buffer_is_no_dead_reader` |
//! | SIGPIPE ends no process, and calls that a signal interrupts go on | `a_writer_never_ends_a_process_whose_sigpipe_is_at_its_default`, `calls_that_signals_interrupt_go_on`, `an_interrupted_accept_is_called_again` |
//! | With `expect_peer_uid` a reader of another user gets no byte | `a_reader_of_another_user_gets_no_byte_where_one_is_expected` |
//! | With `keepalive` an idle connection is kept alive | `an_idle_connection_is_kept_alive_by_empty_frames_on_request`, `an_idle_connection_is_kept_alive_in_either_delivery` |
//!
//! # Receiving
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | The reader takes the socket that systemd passed; where it passed none, the reader binds the path | `a_reader_takes_what_is_for_it_and_binds_its_own_otherwise` |
//! | Messages of one connection come in order and one at a time; connections are handled side by side | `messages_of_one_connection_come_in_order_and_one_at_a_time`, `connections_are_handled_side_by_side` |
//! | A handler that blocks holds up its own connection only | `a_blocked_handler_holds_up_its_own_connection_only`, `more_blocked_handlers_than_processors_do_not_hold_up_others` |
//! | A handler is told the peer of each message, and the end of each batch | `the_peers_identity_is_known`, `a_batch_ends_after_its_messages_and_there_is_none_without` |
//! | With `AtMostOnce` a handler's error or panic costs that message only | `with_at_most_once_an_error_or_a_panic_costs_that_message_only` |
//! | A handler's error or panic is counted, and an event tells of it | `a_handlers_errors_are_counted_and_told_once_an_episode`, `a_handlers_panics_are_survived_counted_and_told_once_an_episode` |
//! | An idle connection costs no buffer and no thread | `an_idle_connection_costs_less_than_two_kib_and_no_thread` |
//! | A silent peer is closed, and a frame that comes too slowly is an error | `a_silent_peer_is_closed_and_that_is_no_error`, `a_frame_that_comes_byte_by_byte_is_too_slow`, `a_frame_has_the_time_of_the_bytes_that_came_whatever_it_announced`, `a_long_message_that_comes_slowly_but_steadily_lives` |
//! | Memory follows the bytes that have come, not a length that was announced, and has a bound | `ten_mib_announced_on_each_of_a_thousand_connections_cost_next_to_nothing`, `half_messages_never_hold_much_more_than_they_may`, `at_the_bound_of_memory_the_slowest_is_closed_and_the_others_go_on` |
//! | Connections are limited, in all and for each user | `above_the_connection_limit_more_wait_and_are_served_when_one_ends`, `above_its_limit_a_user_is_refused_until_one_of_its_connections_ends`, `where_others_may_connect_one_user_has_half_of_the_connections` |
//! | At the process's file limit the reader goes on serving, and accepts again when it can | `at_the_file_limit_the_reader_serves_on_and_accepts_again_as_soon_as_it_can` |
//!
//! # Life cycle
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | A writer's shutdown sends what is queued, reconnects where needed, keeps its timeout, and says what is left | `a_shutdown_while_the_reader_is_away_reconnects_and_drains`, `a_shutdown_keeps_its_timeout_whatever_the_reader_does`, `what_was_left_at_the_end_is_counted_as_failed` |
//! | A reader's shutdown handles what the kernel holds, and keeps its timeout; a handler that never returns is left behind | `a_planned_stop_handles_all_that_the_kernel_holds`, `a_handler_that_never_returns_is_left_behind_at_the_deadline`, `a_stop_does_not_wait_for_idle_peers_or_halves_of_frames` |
//! | A shutdown may be called again, and from any thread | `shutdowns_from_several_threads_and_again_all_tell_the_same_end`, `shutdowns_again_and_from_four_threads_all_tell_the_same_end` |
//! | A shutdown from inside a callback is an error, not a deadlock | `calls_from_inside_the_observer_are_errors_not_deadlocks`, `a_shutdown_from_inside_a_callback_is_an_error_not_a_deadlock` |
//! | Dropping either end stops it in a short time | `a_drop_sends_what_is_queued`, `a_drop_handles_what_was_sent_and_removes_the_file`, `a_drop_does_not_wait_for_a_handler_that_never_returns` |
//! | In a forked child nothing is sent, removed or waited for: each call returns at once with an error | `a_forked_child_neither_sends_nor_removes_the_socket`, `a_forked_child_that_drops_both_keeps_its_own_threads`, `every_call_in_a_forked_child_returns_at_once_whatever_the_parents_threads_hold`, `a_forked_child_can_start_anew` |
//! | A file system that refuses to change a mode, and a missing `/proc`, are no hindrance | `a_mode_that_the_file_has_already_needs_no_change`, `a_mode_that_cannot_be_had_is_an_error_with_both_modes`, `nothing_needs_proc` |
//! | Signals are left to the program's own threads | `signals_are_left_to_the_programs_own_threads` |
//! | No descriptor keeps the number of a standard stream | `what_a_daemon_without_standard_streams_prints_is_in_no_stream` |
//! | `flush` returns once all messages that were accepted before have come to its level | `each_level_is_reached_with_a_reader`, `read_waits_until_the_peer_has_taken_the_last_byte`, `handled_waits_for_a_handler_that_blocks` |
//! | `shutdown` waits for the level that the writer was built with | `a_shutdown_waits_for_the_level_that_the_writer_was_built_with` |
//!
//! # Memory that outlives the process
//!
//! [The page on it](super::crash_proof) says what can be saved and what cannot. Linux only.
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | What a crash-proof writer accepted arrives however its process dies, once and in order | `deaths_at_random_lose_nothing_and_repeat_nothing`, `ten_lines_before_a_sigkill_arrive`, `a_process_that_becomes_another_program_leaves_what_it_had`, `of_a_queue_that_drops_the_oldest_the_newest_arrive` |
//! | It is recovered by one only | `of_two_that_have_an_arena_one_recovers`, `shared_memory_is_claimed_once_and_its_owner_goes_on`, `what_a_reader_is_to_recover_is_not_inherited` |
//! | With a [descriptor store](super::crash_proof#over-a-restart-of-a-service) it arrives though the collector is just restarting, or no reader is there and the writer's service is started again | `what_a_writer_leaves_between_two_collectors_is_recovered_by_the_second`, `what_a_writer_with_receipts_leaves_between_two_collectors_is_recovered_by_the_second`, `what_a_writer_leaves_without_a_collector_is_sent_by_its_successor`, `what_a_writer_with_receipts_leaves_without_a_collector_is_sent_by_its_successor`, `what_a_writer_leaves_whose_collector_died_is_sent_by_its_successor`, `what_a_writer_with_receipts_leaves_whose_collector_died_is_sent_by_its_successor` |
//! | A successor sends nothing that a reader has, and nonsense in the store harms nobody | `what_a_collector_has_of_a_writer_is_not_sent_by_its_successor`, `what_a_collector_has_of_a_writer_with_receipts_is_not_sent_by_its_successor`, `nonsense_in_the_store_is_removed_and_changes_nothing` |
//! | Nothing is recovered of a writer that lives, or was shut down | `a_writer_that_lives_is_left_alone_whatever_its_process_closes`, `what_a_shutdown_left_is_nobodys` |
//! | A reader that lives through a reconnect does not give its handler what it had | `what_a_failing_handler_gets_again_is_what_it_failed_on_and_nothing_that_it_had` |
//! | What a peer passes harms nobody: garbage, holes, millions of records, descriptors of any kind | `garbage_harms_nobody`, `what_is_no_arena_is_given_back`, `a_huge_arena_of_holes_is_no_burden`, `many_arenas_at_once_take_little`, `memory_that_changes_while_it_is_read_harms_nobody`, `orphans_are_few_and_cost_nothing`, `what_is_slow_to_close_holds_up_nobody` |
//! | Memory is taken of this user and root, unless a setting says otherwise, and belongs to whoever passed it | `memory_is_taken_of_whom_the_reader_says`, `an_arena_that_another_process_passes_is_not_its_writers` |
//! | A reader cannot change what the writer sends, and other readers see the same bytes as without | `a_hostile_reader_cannot_change_what_the_writer_sends`, `a_reader_that_knows_nothing_of_it_sees_the_same_bytes`, `python_that_knows_nothing_of_it_sees_the_same_bytes` |
//! | Where memory cannot be had or passed, all is as without, and an event says why | `where_memory_cannot_be_passed_the_writer_says_so_and_works`, `a_limit_on_the_size_of_files_is_told_and_ends_nobody`, `a_filter_that_refuses_the_memory_is_told`, `what_the_kernel_does_not_have_is_told`, `a_writer_in_the_readers_own_process_passes_nothing_and_says_so` |
//! | A quiet writer gives its memory back | `a_quiet_writer_gives_memory_back_and_goes_on` |
//!
//! # Other streams
//!
//! [The page on streams](super::streams) has a table of what differs.
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | The same frames, in order, over Unix sockets, TCP, socketpairs and pipes | `messages_of_all_sizes_arrive_over_each_kind_of_stream_in_order`, `at_least_once_all_is_confirmed_wherever_there_is_a_way_back` |
//! | TCP is bound and connected to on loopback addresses unless a setting says otherwise | `tcp_leads_to_this_machine_unless_more_is_allowed` |
//! | A try to connect over TCP, and the look-up of a name, hold nobody up | `a_backlog_that_is_full_ends_a_try_to_connect_over_tcp_in_time`, `a_name_is_looked_up_anew_for_each_connection` |
//! | A stream that was given is one connection; its end is told, and nothing is reconnected | `a_stream_that_was_given_is_read_to_its_end_when_the_reader_stops` |
//! | A stream that is handed to a reader has its limits | `streams_that_are_given_count_against_the_limits`, `an_idle_stream_of_each_kind_does_not_hold_a_stop_up` |
//! | What is no stream is refused in words | `what_is_no_stream_is_refused_in_words` |
//!
//! # Sockets and security
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | A path is checked when the object is built | `what_is_no_address_is_refused_when_the_reader_is_built`, `a_path_at_the_limit_is_taken_and_one_above_is_refused_with_both_numbers` |
//! | `@name` is an abstract address (Linux) | `an_abstract_name_works_is_exclusive_and_free_again_after_a_stop` |
//! | A file that is no socket is left alone, and a socket on which a process listens is in use | `a_regular_file_is_refused_and_left_alone`, `a_live_socket_is_in_use_and_goes_on`, `a_live_socket_whose_backlog_is_full_is_in_use_not_stale` |
//! | A stale socket is replaced | `a_stale_socket_is_replaced`, `a_killed_reader_leaves_a_stale_socket_that_is_replaced` |
//! | Of several readers that start at once exactly one succeeds | `of_two_that_start_at_once_exactly_one_wins`, `of_many_processes_that_start_at_once_exactly_one_wins` |
//! | The socket has its mode, owner and group before any peer can connect | `the_mode_is_never_wider_for_a_moment`, `the_mode_is_just_as_asked_whatever_the_umask`, `the_owner_and_group_are_as_asked` |
//! | When the socket's file is removed or replaced, an event tells of it | `a_socket_file_that_is_unlinked_is_told`, `a_socket_file_that_is_replaced_is_told` |
//! | A reader that stops removes its own file only | `a_stop_removes_its_own_file_only`, `the_file_of_a_given_socket_stays_as_it_was` |
//! | A peer can be refused before a byte of it is read | `not_one_byte_of_a_refused_peer_is_read`, `a_refused_peer_is_closed_before_a_byte_of_it_is_read` |
//! | No descriptor is left to child processes | `no_descriptor_is_left_for_children_to_inherit` |
//!
//! # systemd
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | A passed socket is chosen by its name, and the variables are not left to child processes | `a_reader_takes_what_is_for_it_and_binds_its_own_otherwise`, `each_reader_of_a_process_takes_a_socket_of_its_own` |
//! | A descriptor that is no listening socket is an error that says what to change | `what_does_not_listen_is_named_by_its_number_with_what_to_change`, `a_socket_of_another_kind_is_an_error_that_names_the_setting_to_change` |
//! | `READY=1` comes once connections are accepted, `STOPPING=1` when a stop begins | `a_service_is_ready_when_it_says_so_and_stops_before_it_has_stopped`, `a_service_is_active_once_it_is_ready_and_reloads` |
//! | `STATUS=` has the figures | `the_figures_are_told_when_they_have_changed` |
//! | `WATCHDOG=1` comes only while the reader makes progress | `a_service_shows_signs_of_life`, `a_service_that_hangs_shows_no_signs_of_life_until_it_goes_on`, `a_collector_that_hangs_is_restarted_by_the_watchdog_and_a_slow_one_is_not` |
//! | A notify socket may have a path or an abstract name; a service manager that does not read delays nothing | `a_manager_with_an_abstract_name_is_told_too`, `a_manager_that_never_reads_holds_nothing_up` |
//! | A bare file name lies in the `RUNTIME_DIRECTORY` | `a_bare_file_name_is_in_the_first_runtime_directory` |
//!
//! # Figures and events
//!
//! | promise | shown by the tests |
//! | --- | --- |
//! | There is an event for each transition, never one for each message | `a_failed_connect_is_told_once_and_again_when_the_cause_changes`, `silence_is_told_again_after_an_answer_and_on_the_next_connection` |
//! | An observer that panics or blocks is survived | `a_panicking_observer_is_survived_and_counted`, `an_observer_that_panics_is_survived_and_counted`, `an_observer_that_blocks_holds_up_one_connection_only` |
//! | Every accepted message is sent (with `AtLeastOnce`: confirmed), or one kind of failed, or evicted, or queued: the sums are equal | `a_send_that_races_with_a_shutdown_is_in_the_books_either_way`, `a_peer_that_reads_and_never_answers_leaves_everything_counted`, `no_simulated_history_breaks_a_promise` |
//! | Reading the figures delays no sender | `figures_are_read_while_threads_send` |
