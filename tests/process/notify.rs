//! What a service tells its manager. The test is the manager: it has a socket, and says what the
//! service is to do.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::Mutex;
use tempfile::TempDir;
use uds_ipc::Reader;
use uds_ipc::error::ShutdownError;
use uds_ipc::event::ReaderEvent;
use uds_ipc::systemd::Service;

use crate::stage::{PATIENCE, Role, in_forked_child, lines, part, stage, wait_until};

const STOPPING: &str = "STOPPING=1\nEXTEND_TIMEOUT_USEC=6000000";

/// A service and its manager, in a folder of their own.
struct Scene {
    place: TempDir,
    manager: UnixDatagram,
    role: Role,
}

impl Scene {
    /// Runs the test `name` as a service, after `setup`.
    fn start(name: &str, setup: &str) -> Self {
        Self::start_part(name, "s", setup)
    }

    /// Likewise; `socket` is the name of the reader's.
    fn start_part(name: &str, socket: &str, setup: &str) -> Self {
        let place = tempfile::Builder::new().prefix("uds").tempdir().unwrap();
        let manager = UnixDatagram::bind(place.path().join("notify")).unwrap();
        let setup = format!("export NOTIFY_SOCKET=\"$PWD/notify\"; {setup}");
        let mut command = Role::command(name, place.path(), socket, &setup);
        command.current_dir(&place);
        let role = Role::spawn(command, place.path());
        Self {
            place,
            manager,
            role,
        }
    }

    /// What the service says next. Waits for it.
    #[track_caller]
    fn next(&self) -> String {
        let mut next = None;
        wait_until("the service says something", || {
            next = self.at_once();
            next.is_some()
        });
        next.unwrap()
    }

    /// Likewise, but for the figures, which come every five seconds, and for what is said while a
    /// stop drains.
    #[track_caller]
    fn next_state(&self) -> String {
        loop {
            let said = self.next();
            if !said.starts_with("STATUS=") && !said.starts_with("EXTEND_TIMEOUT_USEC=") {
                return said;
            }
        }
    }

    /// What the service has said already, and nobody has heard.
    fn at_once(&self) -> Option<String> {
        let mut buffer = [0; 8192];
        self.manager.set_nonblocking(true).unwrap();
        let len = self.manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    /// Listens until the service says just that; what it said before.
    #[track_caller]
    fn listen_until(&self, text: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.next() {
                said if said == text => return before,
                said => before.push(said),
            }
        }
    }

    /// Listens to the first word of a service, that of its start.
    #[track_caller]
    fn meet(&self) {
        let said = self.next();
        assert!(said.starts_with("READY=1\nSTATUS="), "{said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Sends messages on a connection that goes on as long as it is kept.
    fn send(&self, messages: &[&str]) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("s")).unwrap();
        let frame =
            |message: &&str| [&[u8::try_from(message.len()).unwrap()], message.as_bytes()].concat();
        stream
            .write_all(&messages.iter().flat_map(frame).collect::<Vec<_>>())
            .unwrap();
        stream
    }

    /// What the service has noted.
    fn noted(&self) -> String {
        fs::read_to_string(self.path("notes")).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for_note(&self, note: &str) {
        wait_until(&format!("{note:?} is noted"), || {
            self.noted().contains(note)
        });
    }

    /// Lets those in the service go on that hang.
    fn let_go(&self) {
        fs::write(self.path("go"), "").unwrap();
    }

    /// Ends the service, and listens to the last that it says.
    #[track_caller]
    fn end(self) -> Vec<String> {
        let Self {
            place,
            manager,
            role,
        } = self;
        role.succeed();
        let mut buffer = [0; 8192];
        manager.set_nonblocking(true).unwrap();
        let said = std::iter::from_fn(|| {
            manager
                .recv(&mut buffer)
                .ok()
                .map(|len| buffer[..len].to_vec())
        });
        let said = said.map(|said| String::from_utf8(said).unwrap()).collect();
        drop(place);
        said
    }
}

/// A service, in a role.
struct Play {
    place: PathBuf,
    notes: Arc<Notes>,
    /// For its own handlers.
    service: Arc<OnceLock<Arc<Service>>>,
}

struct Notes(Mutex<fs::File>);

impl Notes {
    fn add(&self, note: &str) {
        writeln!(self.0.lock(), "{note}").unwrap();
    }
}

/// Waits until the test lets go. It ends for that with the test.
fn hang(place: &Path) {
    wait_until("the test lets go", || place.join("go").exists());
}

impl Play {
    fn new(place: &Path) -> Self {
        let notes = OpenOptions::new()
            .append(true)
            .create(true)
            .open(place.join("notes"))
            .unwrap();
        Self {
            place: place.into(),
            notes: Arc::new(Notes(Mutex::new(notes))),
            service: Arc::default(),
        }
    }

    /// A reader with one thread, whose handler does what a message says.
    fn reader(&self) -> Reader {
        let (place, notes, service) = (
            self.place.clone(),
            Arc::clone(&self.notes),
            Arc::clone(&self.service),
        );
        let events = Arc::clone(&self.notes);
        let builder = Reader::builder(self.place.join(part())).max_threads(1);
        let builder = builder.on_event(move |event| {
            if let ReaderEvent::NotifyFailed { .. } = event {
                events.add(&format!("NotifyFailed: {event}"));
            }
        });
        let act = move |message: &[u8]| {
            let message = String::from_utf8_lossy(message).into_owned();
            notes.add(&format!("handles {message}"));
            match &*message {
                "hang" => hang(&place),
                "be slow" => thread::park_timeout(std::time::Duration::from_millis(5)),
                "stop" => {
                    let stopped = service.get().unwrap().shutdown(PATIENCE);
                    notes.add(&format!("stopped inside: {stopped:?}"));
                }
                _ => {}
            }
        };
        builder.bind().unwrap().start(act).unwrap()
    }

    /// Does what the test says, to its end.
    fn run(&self) {
        self.run_service(Service::start([self.reader()]));
    }

    fn run_service(&self, service: Service) {
        let service = Arc::new(service);
        let _ = self.service.set(Arc::clone(&service));
        self.notes.add("started");
        let mut aside = Vec::new();
        for line in lines() {
            match &*line {
                "reload" => service.reload(|| self.notes.add("reloads")),
                "reload in vain" => {
                    let caught = catch_unwind(AssertUnwindSafe(|| {
                        service.reload(|| {
                            assert!(self.place.join("settings").exists(), "no settings");
                        });
                    }));
                    assert!(caught.is_err());
                }
                "reload and hang" => {
                    let (service, place) = (Arc::clone(&service), self.place.clone());
                    aside.push(thread::spawn(move || service.reload(|| hang(&place))));
                }
                "stop" => drop(service.shutdown(PATIENCE).unwrap()),
                "stop aside" => {
                    let service = Arc::clone(&service);
                    aside.push(thread::spawn(move || {
                        drop(service.shutdown(PATIENCE).unwrap());
                    }));
                }
                other => unreachable!("{other}"),
            }
            self.notes.add(&format!("done: {line}"));
        }
        for thread in aside {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_service_is_ready_when_it_says_so_and_stops_before_it_has_stopped() {
    let Some(place) = stage() else {
        let mut scene = Scene::start(
            "notify::a_service_is_ready_when_it_says_so_and_stops_before_it_has_stopped",
            "",
        );
        scene.wait_for_note("reads");
        let _here = scene.send(&["one"]);
        scene.wait_for_note("handles one");
        assert_eq!(scene.at_once(), None, "nobody has said that it is ready");
        scene.role.say("begin");
        let figures = "1 message (3 bytes) received, 1 connection open";
        let path = scene.path("s").display().to_string();
        assert_eq!(scene.next(), format!("READY=1\nSTATUS={path}: {figures}"));
        let hangs = scene.send(&["hang"]);
        scene.wait_for_note("handles hang");
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING, "while a handler still hangs");
        assert!(!scene.noted().contains("stopped"));
        scene.let_go();
        let figures = "2 messages (7 bytes) received, 0 connections open";
        scene.listen_until(&format!("STATUS={path}: {figures}"));
        drop(hangs);
        scene.wait_for_note("stopped");
        assert_eq!(scene.end(), [""; 0]);
        return;
    };
    let play = Play::new(&place);
    let reader = play.reader();
    play.notes.add("reads");
    assert_eq!(lines().next().unwrap(), "begin");
    wait_until("what was handled is counted", || {
        reader.metrics().received.messages == 1
    });
    let service = Service::start([reader]);
    assert_eq!(lines().next().unwrap(), "stop");
    let reports = service.shutdown(PATIENCE).unwrap();
    assert_eq!((reports.len(), reports[0].cut), (1, 0));
    // It has told its end once.
    let again = service.shutdown(PATIENCE).unwrap();
    assert_eq!(reports, again);
    play.notes.add("stopped");
}

#[test]
fn the_figures_are_told_when_they_have_changed() {
    let Some(place) = stage() else {
        let scene = Scene::start("notify::the_figures_are_told_when_they_have_changed", "");
        scene.meet();
        let _here = scene.send(&["one", "two"]);
        let said = scene.next();
        assert!(said.starts_with("STATUS="), "{said}");
        assert!(
            said.ends_with(": 2 messages (6 bytes) received, 1 connection open"),
            "{said}"
        );
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let Some(place) = stage() else {
        let mut scene = Scene::start("notify::a_reload_is_told_from_its_beginning_to_its_end", "");
        scene.meet();
        let mut before = 0;
        for line in ["reload", "reload in vain", "reload and hang"] {
            scene.role.say(line);
            let said = scene.next_state();
            let moment = said
                .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
                .expect(&said);
            let moment: u64 = moment.parse().unwrap();
            assert!(moment > before, "the clock goes on");
            before = moment;
            scene.wait_for_note(&format!("done: {line}"));
            if line == "reload and hang" {
                assert!(
                    !scene
                        .at_once()
                        .is_some_and(|said| said.starts_with("READY")),
                    "it has not reloaded yet"
                );
                scene.role.say("reload");
                assert!(scene.next_state().starts_with("RELOADING=1"));
                wait_until("it has reloaded", || {
                    scene.noted().matches("done: reload\n").count() == 2
                });
                assert!(
                    !scene
                        .at_once()
                        .is_some_and(|said| said.starts_with("READY")),
                    "one goes on"
                );
                scene.let_go();
            }
            assert_eq!(scene.next_state(), "READY=1", "{line}");
        }
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING);
        return;
    };
    Play::new(&place).run();
}

#[test]
fn nothing_is_ready_again_after_the_end_was_told() {
    let Some(place) = stage() else {
        let mut scene = Scene::start("notify::nothing_is_ready_again_after_the_end_was_told", "");
        scene.meet();
        scene.role.say("reload and hang");
        assert!(scene.next_state().starts_with("RELOADING=1"));
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING);
        scene.let_go();
        scene.role.say("reload");
        scene.wait_for_note("done: reload\n");
        let last = scene.end();
        assert!(
            last.iter().all(|said| said.starts_with("STATUS=")),
            "{last:?}"
        );
        return;
    };
    Play::new(&place).run();
}

/// How long the services that show signs of life are waited for: they are due at half of it.
const WATCHED: &str = "export WATCHDOG_USEC=20000";

#[test]
fn a_service_shows_signs_of_life() {
    let Some(place) = stage() else {
        for setup in [WATCHED, "export WATCHDOG_USEC=20000 WATCHDOG_PID=$$"] {
            let scene = Scene::start("notify::a_service_shows_signs_of_life", setup);
            scene.meet();
            for _ in 0..10 {
                assert!(
                    scene
                        .listen_until("WATCHDOG=1")
                        .iter()
                        .all(|said| said.starts_with("STATUS="))
                );
            }
        }
        return;
    };
    Play::new(&place).run();
}

/// Another service that is well is the measure of time.
#[test]
fn a_service_that_nobody_watches_shows_no_signs_of_life() {
    let Some(place) = stage() else {
        let name = "notify::a_service_that_nobody_watches_shows_no_signs_of_life";
        let clock = Scene::start(name, WATCHED);
        let of_another = Scene::start(name, "export WATCHDOG_USEC=20000 WATCHDOG_PID=$PPID");
        let of_nobody = Scene::start(name, "export WATCHDOG_USEC=0");
        let of_no_number = Scene::start(name, "export WATCHDOG_USEC=often");
        for scene in [&clock, &of_another, &of_nobody, &of_no_number] {
            scene.meet();
        }
        for _ in 0..20 {
            clock.listen_until("WATCHDOG=1");
        }
        for scene in [of_another, of_nobody, of_no_number] {
            assert_eq!(scene.at_once(), None);
        }
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_service_that_hangs_shows_no_signs_of_life_until_it_goes_on() {
    let Some(place) = stage() else {
        let name = "notify::a_service_that_hangs_shows_no_signs_of_life_until_it_goes_on";
        let (clock, scene) = (Scene::start(name, WATCHED), Scene::start(name, WATCHED));
        clock.meet();
        scene.meet();
        scene.listen_until("WATCHDOG=1");
        let _here = scene.send(&["hang"]);
        scene.wait_for_note("handles hang");
        while scene.at_once().is_some() {}
        for _ in 0..20 {
            clock.listen_until("WATCHDOG=1");
        }
        // At the first look it had hung for less than the time between two, and that may have been
        // under way already.
        let signs = std::iter::from_fn(|| scene.at_once())
            .filter(|said| said == "WATCHDOG=1")
            .count();
        assert!(signs <= 2, "{signs} signs of life");
        scene.let_go();
        for _ in 0..3 {
            scene.listen_until("WATCHDOG=1");
        }
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_service_that_is_slow_is_alive() {
    let Some(place) = stage() else {
        // Time for many messages between two looks, but never for all of them.
        let scene = Scene::start(
            "notify::a_service_that_is_slow_is_alive",
            "export WATCHDOG_USEC=400000",
        );
        scene.meet();
        let _here = scene.send(&vec!["be slow"; 20_000]);
        scene.wait_for_note("handles be slow");
        for _ in 0..5 {
            scene.listen_until("WATCHDOG=1");
        }
        scene.role.kill();
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_stop_asks_for_more_time_as_long_as_it_comes_nearer_to_its_end() {
    let Some(place) = stage() else {
        let name = "notify::a_stop_asks_for_more_time_as_long_as_it_comes_nearer_to_its_end";
        let (mut slow, mut hangs) = (Scene::start(name, ""), Scene::start(name, ""));
        slow.meet();
        hangs.meet();
        let here = (slow.send(&vec!["be slow"; 20_000]), hangs.send(&["hang"]));
        slow.wait_for_note("handles be slow");
        hangs.wait_for_note("handles hang");
        for scene in [&mut hangs, &mut slow] {
            scene.role.say("stop aside");
            scene.listen_until(STOPPING);
        }
        for _ in 0..3 {
            slow.listen_until("EXTEND_TIMEOUT_USEC=6000000");
        }
        let asked = std::iter::from_fn(|| hangs.at_once())
            .filter(|said| said.starts_with("EXTEND"))
            .count();
        assert!(asked <= 1, "{asked} times");
        drop(here);
        slow.role.kill();
        hangs.let_go();
        // It comes nearer to its end now.
        let last = hangs.end();
        assert!(
            last.iter()
                .all(|said| said.starts_with("STATUS=") || said.starts_with("EXTEND")),
            "{last:?}"
        );
        return;
    };
    Play::new(&place).run();
}

/// How many threads of this process tell a manager. Only Linux shows their names.
fn telling_threads() -> usize {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let names = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names
        .filter(|name| name.trim_end() == "uds-ipc-systemd")
        .count()
}

#[test]
fn where_nobody_listens_there_is_no_thread_to_tell() {
    let Some(place) = stage() else {
        let name = "notify::where_nobody_listens_there_is_no_thread_to_tell";
        for (setup, threads) in [
            (":", 1),
            ("unset NOTIFY_SOCKET", 0),
            ("NOTIFY_SOCKET=", 0),
            ("NOTIFY_SOCKET=vsock:2:1", 0),
        ] {
            let setup = format!("{WATCHED}; {setup}; echo {threads} >threads");
            let scene = Scene::start(name, &setup);
            let said = scene.end();
            assert_eq!(said.is_empty(), threads == 0, "{setup}: {said:?}");
        }
        return;
    };
    let play = Play::new(&place);
    let service = Service::start([play.reader()]);
    if cfg!(target_os = "linux") {
        let threads = fs::read_to_string(place.join("threads")).unwrap();
        let threads: usize = threads.trim().parse().unwrap();
        wait_until("the thread has its name", || telling_threads() == threads);
    }
    service.reload(|| ());
    let _ = service.shutdown(PATIENCE).unwrap();
    // A thread that was joined is listed for a moment longer: its exit wakes who joins it first.
    wait_until("the thread has gone", || telling_threads() == 0);
}

#[test]
fn a_manager_that_cannot_be_told_is_one_event_and_no_more() {
    let Some(place) = stage() else {
        let name = "notify::a_manager_that_cannot_be_told_is_one_event_and_no_more";
        for (address, words) in [
            ("$PWD/missing", "missing\": No such file or directory"),
            ("$PWD/dead", "dead\": Connection refused"),
            ("$PWD/stream", "stream\": Protocol wrong type for socket"),
            ("$PWD", ": Connection refused"),
            (
                "vsock:2:1",
                "NOTIFY_SOCKET is \"vsock:2:1\", which is not supported: only a path or @name is",
            ),
            (
                "notify",
                "NOTIFY_SOCKET is \"notify\", which is not supported",
            ),
            (
                "/$(printf %0200d 0)",
                "cannot notify the service manager at",
            ),
            ("@", "cannot notify the service manager at \"@\""),
            (
                "@uds-ipc-nobody-has-this-name",
                "cannot notify the service manager at",
            ),
        ] {
            let mut scene = Scene::start(
                name,
                &format!("until [ -e set ]; do :; done; export NOTIFY_SOCKET={address}"),
            );
            drop(UnixDatagram::bind(scene.path("dead")).unwrap());
            let _stream = UnixListener::bind(scene.path("stream")).unwrap();
            fs::write(scene.path("set"), "").unwrap();
            for _ in 0..3 {
                scene.role.say("reload");
            }
            scene.role.say("stop");
            scene.wait_for_note("done: stop");
            let noted = scene.noted();
            let told: Vec<_> = noted
                .lines()
                .filter(|line| line.contains("NotifyFailed"))
                .collect();
            assert_eq!(
                (told.len(), noted.matches("reloads").count()),
                (1, 3),
                "{address}: {noted}"
            );
            assert!(told[0].contains(words), "{noted}");
            assert_eq!(scene.end(), [""; 0]);
        }
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_manager_that_was_there_in_between_is_missed_once_more() {
    let Some(place) = stage() else {
        let mut scene = Scene::start(
            "notify::a_manager_that_was_there_in_between_is_missed_once_more",
            "NOTIFY_SOCKET=$PWD/late",
        );
        for failures in 1..=2 {
            scene.role.say("reload");
            wait_until("a failure is told", || {
                scene.noted().matches("NotifyFailed").count() == failures
            });
            let late = UnixDatagram::bind(scene.path("late")).unwrap();
            scene.role.say("reload");
            scene.manager = late;
            scene.listen_until("READY=1");
            fs::remove_file(scene.path("late")).unwrap();
        }
        return;
    };
    Play::new(&place).run();
}

/// How many datagrams wait in a socket is bounded, by default to ten.
#[test]
fn what_a_busy_manager_has_no_room_for_comes_later_and_in_order() {
    const RELOADS: usize = 100;

    let Some(place) = stage() else {
        let name = "notify::what_a_busy_manager_has_no_room_for_comes_later_and_in_order";
        let mut scene = Scene::start(name, "export WATCHDOG_USEC=1000");
        for _ in 0..RELOADS {
            scene.role.say("reload");
        }
        wait_until("all is done", || {
            scene.noted().matches("done: reload").count() == RELOADS
        });
        let mut said = Vec::new();
        scene.meet();
        while said.len() < 2 * RELOADS {
            said.extend(Some(scene.next()).filter(|said| said != "WATCHDOG=1"));
        }
        for pair in said.chunks(2) {
            assert!(
                pair[0].starts_with("RELOADING=1") && pair[1] == "READY=1",
                "{pair:?}"
            );
        }
        let moments = said
            .iter()
            .filter_map(|said| said.strip_prefix("RELOADING=1\nMONOTONIC_USEC="));
        assert!(
            moments
                .map(|moment| moment.parse::<u64>().unwrap())
                .is_sorted(),
            "{said:?}"
        );
        scene.role.say("stop");
        scene.listen_until(STOPPING);
        assert!(
            !scene.noted().contains("NotifyFailed"),
            "a busy manager is no failure"
        );
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_manager_that_never_reads_holds_nothing_up() {
    let Some(place) = stage() else {
        let mut scene = Scene::start(
            "notify::a_manager_that_never_reads_holds_nothing_up",
            "export WATCHDOG_USEC=1000",
        );
        for line in ["reload"; 20].into_iter().chain(["stop"]) {
            scene.role.say(line);
        }
        scene.wait_for_note("done: stop");
        assert!(!scene.noted().contains("NotifyFailed"));
        scene.role.succeed();
        return;
    };
    Play::new(&place).run();
}

#[test]
#[cfg(target_os = "linux")]
fn a_manager_with_an_abstract_name_is_told_too() {
    use std::os::linux::net::SocketAddrExt;

    let Some(place) = stage() else {
        let name = "notify::a_manager_with_an_abstract_name_is_told_too";
        let mut scene = Scene::start(
            name,
            "until [ -e set ]; do :; done; NOTIFY_SOCKET=@$PWD/abstract",
        );
        let address = scene.path("abstract").to_str().unwrap().to_owned();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(address).unwrap();
        scene.manager = UnixDatagram::bind_addr(&address).unwrap();
        fs::write(scene.path("set"), "").unwrap();
        scene.meet();
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING);
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_line_break_in_a_path_adds_no_line_to_what_is_said() {
    let Some(place) = stage() else {
        let scene = Scene::start_part(
            "notify::a_line_break_in_a_path_adds_no_line_to_what_is_said",
            "s\nMAINPID=1\rSTOPPING=1",
            "",
        );
        let said = scene.next();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(
            said.contains("/s MAINPID=1 STOPPING=1: 0 messages"),
            "{said}"
        );
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_stop_inside_a_handler_is_refused_and_not_told() {
    let Some(place) = stage() else {
        let mut scene = Scene::start(
            "notify::a_stop_inside_a_handler_is_refused_and_not_told",
            "",
        );
        scene.meet();
        scene.wait_for_note("started");
        let _here = scene.send(&["stop"]);
        scene.wait_for_note("stopped inside: Err(InCallback)");
        scene.role.say("reload");
        assert!(scene.next().starts_with("RELOADING=1"), "and not the end");
        assert_eq!(scene.next(), "READY=1");
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING);
        return;
    };
    Play::new(&place).run();
}

#[test]
fn a_service_that_is_dropped_stops_and_says_so() {
    let Some(place) = stage() else {
        let scene = Scene::start("notify::a_service_that_is_dropped_stops_and_says_so", "");
        scene.meet();
        let _here = scene.send(&["one"]);
        scene.wait_for_note("handles one");
        assert_eq!(scene.end()[0], STOPPING);
        return;
    };
    let play = Play::new(&place);
    let service = Service::start([play.reader()]);
    assert!(lines().next().is_none());
    drop(service);
    assert!(!place.join(part()).exists());
}

/// There it cannot wait for the end, but begin it.
#[test]
fn a_service_that_is_dropped_inside_a_handler_stops_and_says_so() {
    let Some(place) = stage() else {
        let scene = Scene::start(
            "notify::a_service_that_is_dropped_inside_a_handler_stops_and_says_so",
            "",
        );
        scene.meet();
        let _here = scene.send(&["one"]);
        assert_eq!(scene.next_state(), STOPPING);
        wait_until("the socket is gone", || !scene.path("s").exists());
        assert!(scene.end().iter().all(|said| said.starts_with("STATUS=")));
        return;
    };
    let kept = Arc::new(Mutex::new(None));
    let service = Arc::clone(&kept);
    let drop_it = move |_: &[u8]| {
        drop(service.lock().take());
    };
    let reader = Reader::builder(place.join(part()))
        .bind()
        .unwrap()
        .start(drop_it)
        .unwrap();
    kept.lock().replace(Service::start([reader]));
    assert!(lines().next().is_none());
}

#[test]
fn a_service_in_a_forked_child_tells_nothing() {
    let Some(place) = stage() else {
        let mut scene = Scene::start("notify::a_service_in_a_forked_child_tells_nothing", "");
        scene.meet();
        assert_eq!(
            scene.next(),
            "READY=1\nSTATUS=",
            "of the one without a reader"
        );
        scene.wait_for_note("the child has ended");
        assert_eq!(
            scene.next_state(),
            STOPPING,
            "of the same one, which is dropped"
        );
        scene.role.say("reload");
        assert!(
            scene
                .listen_until("READY=1")
                .last()
                .unwrap()
                .starts_with("RELOADING=1")
        );
        scene.role.say("stop");
        assert_eq!(scene.next_state(), STOPPING);
        return;
    };
    let play = Play::new(&place);
    let mut services = Some([Service::start([play.reader()]), Service::start([])]);
    let is_refused = in_forked_child(|| {
        // A copy of the parent's, which has its own.
        let services = services.take().unwrap();
        let refuses = |service: &Service| {
            matches!(
                service.shutdown(PATIENCE),
                Err(ShutdownError::InForkedChild)
            )
        };
        services
            .iter()
            .all(|service| refuses(service) && service.reload(|| true))
    });
    assert!(is_refused);
    play.notes.add("the child has ended");
    let [service, other] = services.unwrap();
    drop(other);
    play.run_service(service);
}
